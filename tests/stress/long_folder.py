"""A folder of many images, scored by `pscr score`: python tests/stress/long_folder.py [--images 10000] [--model MODEL]

Says how many images a second each tenth of the run scored, and how much memory the process held at its end. A tiny
network unless a model is named: the subject is what goes on around it. Images are 512x512 JPEGs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from interruptions import whole_rows

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_model as tiny

PARTS = 10
UNLIKE = 50  # images that differ; the others are links to them


@dataclass(frozen=True)
class Part:
    """A tenth of the run: images a second, and the process's memory in MiB at its end."""

    rate: float
    memory: float


def make_images(folder: Path, count: int) -> list[str]:
    """`count` JPEGs of 512x512 in the order in which they are scored, of which `UNLIKE` are files of their own."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths[:UNLIKE]:
        coarse = rng.integers(0, 256, (32, 32, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (512, 512), interpolation=cv2.INTER_CUBIC))
    for number, path in enumerate(paths[UNLIKE:]):
        os.link(paths[number % UNLIKE], path)
    return [str(path) for path in paths]


def resident(process: int) -> float:
    """MiB of memory that a process holds; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def score(model: str, paths: list[str], out: Path) -> list[Part]:
    """Score the folder that the paths lie in; every one must have its row, in order."""
    words = [sys.executable, "-m", "pscr", "score", str(Path(paths[0]).parent), "--model", model, "--device", "cpu"]
    marks: list[tuple[float, int, float]] = []  # seconds, rows, MiB; the first rows are the start of the clock
    with subprocess.Popen([*words, "--threads", "2", "-o", str(out)], stderr=subprocess.PIPE) as run:
        while run.poll() is None:
            rows = out.read_bytes().count(b"\n") - 1 if out.exists() else 0
            if rows > 0 and (not marks or rows > marks[-1][1]):
                marks.append((time.monotonic(), rows, resident(run.pid)))
            time.sleep(0.02)
        error = run.communicate()[1]
    assert run.returncode == 0, error
    assert whole_rows(out) == paths
    found = []
    for part in range(PARTS):
        wanted = [mark for mark in marks if part <= PARTS * mark[1] / (len(paths) + 1) < part + 1 and mark[2]]
        if len(wanted) > 1:
            (began, first, _), (ended, last, memory) = wanted[0], wanted[-1]
            found.append(Part((last - first) / (ended - began), memory))
    return found


def main() -> int:
    """Score and print; returns 1 where the last tenths are slower or hold more memory than the first ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--model", default="", help="a model's name or folder (default: a tiny one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = options.model or str(tiny.write(folder / "tiny"))
        parts = score(model, make_images(folder / "images", options.images), folder / "out.csv")
    for part in parts:
        sys.stdout.write(f"{part.rate:8.1f} images/s {part.memory:8.1f} MiB\n")
    rates, memory = [part.rate for part in parts], [part.memory for part in parts]
    return 0 if min(rates[5:]) > 0.7 * min(rates[:5]) and memory[-1] < memory[1] + 20 else 1


if __name__ == "__main__":
    sys.exit(main())
