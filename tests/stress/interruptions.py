"""`pscr score` ended at random moments and resumed: python tests/stress/interruptions.py [--rounds 300] [--seed 1]

Each round scores a folder, ends the run with SIGINT, SIGTERM or SIGKILL after a random time, again and again with
--resume until it ends by itself; then the output must have every image once, in order, in whole rows.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_model as tiny

from pscr.tables.fields import COLUMNS

# A shell starts its background jobs with Ctrl-C ignored, and the programs that are ended here would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
IMAGES = 400


def make_images(folder: Path, count: int) -> list[str]:
    """Images whose natural order is that of their numbers."""
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((64, 64, 3), number % 256, np.uint8))
    return [str(path) for path in paths]


def whole_rows(out: Path) -> list[str]:
    """The paths of the rows; fails where a row is not whole."""
    data = out.read_bytes() if out.exists() else b""
    if not data:
        return []
    assert data.endswith(b"\n"), data[-80:]
    if out.suffix == ".jsonl":
        return [json.loads(line)["path"] for line in data.splitlines()]
    _, *rows = csv.reader(data.decode().splitlines())
    assert all(len(row) == len(COLUMNS) for row in rows)
    return [row[0] for row in rows]


def wait_for_rows(run: subprocess.Popen[bytes], out: Path) -> None:
    """Until the run has begun to write: before that Python itself answers the signal, while it imports."""
    before = out.stat().st_size if out.exists() else 0
    while run.poll() is None and (not out.exists() or out.stat().st_size == before):
        time.sleep(0.01)


def one_round(model: Path, paths: list[str], out: Path, rng: random.Random, longest: float) -> Counter[str]:
    """One folder to its end, with at most eight interruptions."""
    found: Counter[str] = Counter()
    words = [sys.executable, "-m", "pscr", "score", str(Path(paths[0]).parent), "--model", str(model), "--threads", "2"]
    words += ["--batch", str(rng.choice((1, 3))), "-o", str(out), "--resume", "--device", "cpu"]
    for attempt in range(9):
        with subprocess.Popen(words, stderr=subprocess.PIPE) as run:
            if attempt < 8:
                wait_for_rows(run, out)
                time.sleep(rng.uniform(0, longest))
                sent = rng.choice(SIGNALS)
                run.send_signal(sent)
            error = run.communicate()[1]
        rows = whole_rows(out)
        assert rows == paths[: len(rows)], "a gap or a duplicate"
        assert b"Traceback" not in error, error
        if run.returncode == 0:
            found["finished"] += 1
            break
        found[signal.Signals(sent).name] += 1
        found["rows kept"] += len(rows)
    assert rows == paths, f"{len(rows)} rows of {len(paths)}"
    return found


def main() -> int:
    """Run the rounds and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="stop after so long (default: %(default)s)")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    rng, found, rounds = random.Random(options.seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, paths = tiny.write(folder / "tiny"), make_images(folder / "images", IMAGES)
        while rounds < options.rounds and time.monotonic() < deadline:
            out = folder / f"{rounds}.{rng.choice(('csv', 'jsonl'))}"
            found += one_round(model, paths, out, rng, longest=0.6)
            out.unlink()
            rounds += 1
    sys.stdout.write(f"{rounds} folders of {IMAGES} images: {dict(found)}; every output whole, no gap, no duplicate\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
