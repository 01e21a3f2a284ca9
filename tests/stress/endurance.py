"""Many scores, opens and closes in one process: python tests/stress/endurance.py [--scores 100000] [--opens 1000]

Says by how much memory grows with each (least squares over the second half), and how many threads and file descriptors
there are at the end more than at the start. A tiny network: the subject is the runtime around it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_model as tiny

import pscr


def resident() -> float:
    """This process's memory in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def handles() -> tuple[int, int]:
    """Threads (of Python and of C) and open file descriptors."""
    return len(list(Path("/proc/self/task").iterdir())), len(list(Path("/proc/self/fd").iterdir()))


def grown(before: tuple[int, int], seconds: float = 5) -> tuple[int, int]:
    """What there is more of than `before`: a thread that was joined is in /proc for a moment yet, so look again."""
    deadline = time.monotonic() + seconds
    while True:
        threads, files = (max(now - then, 0) for now, then in zip(handles(), before, strict=True))
        if threads == files == 0 or time.monotonic() > deadline:
            return threads, files
        time.sleep(0.01)


def slope(steps: Iterable[object], every: int) -> tuple[float, int]:
    """KiB that a step adds to memory, by least squares over the second half of the steps; and how many there were."""
    marks, count = [], 0
    for count, _ in enumerate(steps, 1):
        if count % every == 0:
            marks.append((count, resident()))
    half = np.array(marks[len(marks) // 2 :])
    return float(np.polyfit(half[:, 0], half[:, 1], 1)[0]), count


def images() -> list[bytes]:
    """Encoded images of several sizes and formats, one of them damaged."""
    rng = np.random.default_rng(0)
    found = []
    for place, ending in enumerate((".jpg", ".png", ".webp", ".bmp", ".tiff", ".jpg", ".png", ".jpg")):
        coarse = rng.integers(0, 256, (6, 6, 3), np.uint8)
        found.append(cv2.imencode(ending, cv2.resize(coarse, (64 + 32 * place, 96)))[1].tobytes())
    return [*found, found[0][: len(found[0]) // 2]]


def endure(model: Path, scores: int, opens: int, minutes: float = 60) -> dict[str, float]:
    """The figures by name: slopes in bytes a step, growth in threads and descriptors."""
    deadline = time.monotonic() + 60 * minutes
    with pscr.open(model, device="cpu", threads=2) as scorer:
        sources = itertools.cycle(images())
        list(scorer.score_many(itertools.islice(sources, 200), batch=4))
        before = handles()
        endless = itertools.takewhile(lambda _: time.monotonic() < deadline, itertools.islice(sources, scores))
        per_score, scored = slope(scorer.score_many(endless, batch=4), max(scores // 200, 1))
        after_scores = grown(before)

    def opening() -> Iterable[None]:
        for _ in range(opens):
            if time.monotonic() > deadline:
                return
            with pscr.open(model, device="cpu", threads=2) as again:
                again.score(images()[1])
            yield

    list(itertools.islice(opening(), 5))
    start = handles()
    per_open, opened = slope(opening(), max(opens // 100, 1))
    after_opens = grown(start)
    return {
        "scores": scored,
        "bytes a score": per_score * 1024,
        "threads after scores": after_scores[0],
        "descriptors after scores": after_scores[1],
        "opens": opened,
        "bytes an open": per_open * 1024,
        "threads after opens": after_opens[0],
        "descriptors after opens": after_opens[1],
        "python threads": threading.active_count(),
    }


def main() -> int:
    """Measure and print; returns 1 where memory, threads or descriptors grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=int, default=100_000)
    parser.add_argument("--opens", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=60, help="stop after so long (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = endure(tiny.write(Path(folder) / "tiny"), options.scores, options.opens, options.minutes)
    for name, value in found.items():
        sys.stdout.write(f"{name:28} {value:12.1f}\n")
    grown = [found[name] for name in found if name.startswith(("threads", "descriptors"))]
    return 1 if any(grown) or found["bytes a score"] > 64 or found["bytes an open"] > 20_000 else 0


if __name__ == "__main__":
    sys.exit(main())
