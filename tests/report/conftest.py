"""A report on images with hostile names, and headless Chromium to open it in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pscr.cli import main

HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "\"><svg onload=alert(1)>' .png",
    "{{7*7}} &amp; {% raw %}.png",
    "\u202egnp.evil.png",
    "new\nline\rreturn.png",
    "שלום 画像 é.png",
    "long " * 40 + ".png",
)
PROMPT = '</script><script>document.title = "taken"</script>, "a cat"'
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def write(path: Path, seed: int, side: int = 48) -> Path:
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", cv2.resize(coarse, (side, side)))[1].tobytes())
    return path


@pytest.fixture(scope="session")
def report(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page on two generators with 120 common names, hostile names, a copy and two files that cannot be scored."""
    folder = tmp_path_factory.mktemp("report")
    for place, generator in enumerate(("<b>first", "second")):
        for n in range(120):
            write(folder / generator / f"{n}.png", 1000 * place + n)
    for n, name in enumerate(HOSTILE):
        write(folder / "second" / name, 5000 + n)
    write(folder / "plain.png", 1).rename(folder / "second" / os.fsdecode(b"caf\xe9 \xff.png"))
    shutil.copy(folder / "second" / "7.png", folder / "second" / "copy of 7.png")
    (folder / "second" / "broken.png").write_bytes(b"no image")
    (folder / "second" / "empty.png").write_bytes(b"")
    prompts = folder / "prompts.csv"
    rows = ["path,prompt", *(f"{n}.png,prompt {n}" for n in range(1, 120)), '0.png,"' + PROMPT.replace('"', '""') + '"']
    prompts.write_text("\n".join(rows) + "\n")
    output = folder / "report.html"
    words = [folder / "<b>first", folder / "second", "--prompts", prompts, "-o", output, "--model", tiny_model, "-q"]
    assert main(["report", *map(str, words), "--show", "3", "--threads", "1"]) == 1
    return output


@dataclass
class Opened:
    """A page in the browser, and what went on while it was open."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def files(self) -> list[str]:
        """The file names in the table, in the order shown."""
        return [text.strip() for text in self.page.locator("#images tbody th bdi:first-child").all_inner_texts()]

    def scores(self) -> list[float]:
        cells = self.page.locator("#images tbody tr > td.n:not(.wide)").all_inner_texts()
        return [float(cell) for cell in cells if cell != "–"]

    def status(self) -> str:
        return str(self.page.locator("#images [role=status]").inner_text())


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright."""
    found = shutil.which("chromium")
    if not found:
        pytest.skip("no chromium on this machine")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file; width, scheme: of the window, and light or dark."""
    contexts = []

    def open_page(file: Path, width: int = 1280, scheme: str = "light") -> Opened:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("console", lambda message: found.problems.append(message.text))
        found.page.on("pageerror", lambda error: found.problems.append(str(error)))
        found.page.on("dialog", lambda dialog: (found.problems.append("dialog"), dialog.dismiss()))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(file.as_uri())
        return found

    yield open_page
    for context in contexts:
        context.close()
