"""How long Chromium takes to open a report, and to sort, filter and turn the pages of its table.

    python benchmarks/report_page.py [PAGE.html] [--rows 5000] [--repeats 5]

Without a page it makes one of `--rows` rows: two groups, prompts, and thumbnails of examples/images, each turned and
tinted so that no two are alike. Times are milliseconds, the median of the repeats and the longest: from the click or
the typed word to the second frame after it, so with layout and painting; `open` is from navigation to the second frame
after the load event. Needs Chromium, and `pip install '.[dev]'`.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import pscr
from pscr.report.assemble import Settings, assemble
from pscr.report.data import Image, Matching
from pscr.report.page import render
from pscr.report.pictures import webp

IMAGES = Path(__file__).parents[1] / "examples" / "images"
FRAMES = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
STEPS = {
    "sort by score": "document.querySelector('th[data-key=score] button').click();",
    "sort by file": "document.querySelector('th[data-key=file] button').click();",
    "filter by a word": """const field = document.querySelector('[name=search]');
        field.value = field.value ? '' : '77'; field.dispatchEvent(new Event('input', { bubbles: true }));""",
    "next page": "document.querySelector('[name=after]').click();",
    "all rows at once": """const rows = document.querySelector('[name=rows]');
        rows.value = rows.value === '0' ? '100' : '0'; rows.dispatchEvent(new Event('change', { bubbles: true }));""",
}


def page_of(rows: int) -> bytes:
    """A report of that many rows."""
    rng = np.random.default_rng(0)
    sources = [np.asarray(cv2.imread(str(file)), np.uint8) for file in sorted(IMAGES.glob("*.jpg"))]
    images = []
    for n in range(rows):
        picture = np.rot90(sources[n % len(sources)], n // len(sources) % 4).astype(np.int16) + rng.integers(-40, 40, 3)
        group = f"generator {n % 2 + 1}"
        result = pscr.Result(
            float(rng.normal(2.5 + n % 2 / 5, 0.6)), float(rng.gamma(8, 0.02)), 512, 512, path=f"{n:05}.png"
        )
        thumbnail = webp(np.clip(picture, 0, 255).astype(np.uint8), 64)
        images.append(Image(result, group, f"the prompt with number {n // 2}", f"prompt {n // 2}", str(n), thumbnail))
    settings = Settings("", 8, maps=False, pictures=True, max_pixels=10**8, source="Made up.")
    with pscr.open(device="cpu", threads=1) as scorer:
        return render(assemble(images, Matching("prompt", rows // 2), scorer, settings, lambda: None)).encode()


def measure(file: Path, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each step, each repeat in a page of its own."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    times: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        found = shutil.which("chromium")
        if found is None:
            sys.exit("found no chromium on PATH; install it, such as: apt-get install chromium")
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        print(f"Chromium {browser.version}, {file.stat().st_size / 1e6:.1f} MB")
        for _ in range(repeats):
            tab: Any = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(file.as_uri())
            times.setdefault("open", []).append(tab.evaluate(f"async () => {{ {FRAMES} return performance.now(); }}"))
            for name, step in STEPS.items():
                program = f"const start = performance.now(); {step} {FRAMES} return performance.now() - start;"
                program = f"async () => {{ {program} }}"
                times.setdefault(name, []).append(tab.evaluate(program))
                if name in ("filter by a word", "all rows at once"):
                    tab.evaluate(program)  # back to where it was
            tab.close()
        browser.close()
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.page or Path(folder) / "report.html"
        if options.page is None:
            file.write_bytes(page_of(options.rows))
        for name, values in measure(file.resolve(), options.repeats).items():
            print(f"{name:18} median {statistics.median(values):7.0f} ms   longest {max(values):7.0f} ms")


if __name__ == "__main__":
    main()
