"""`pscr score --engine ray` beside one plain process, and what a worker costs that is killed half-way.

    python benchmarks/ray_scaling.py [--images 5000] [--workers 2] [--threads N]

plain: one process with all threads. ray: the same threads shared by the workers. killed: the same, and the worker that
has just scored is killed (SIGKILL) as soon as half of the images have their rows. Seconds are from the program's
start to its end, so they hold what starting Ray costs; `seconds_to_first` is until the first output. Rows are compared
with those of the plain process: the program fails where one is missing, there twice, out of order or has another score.
The images: the examples, shifted by an amount of their own, 512x512 JPEGs of quality 90 in a temporary folder.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet
from common import finish, opened, parser, where, write_images

from pscr.bench import plots
from pscr.bench.record import packages

KEYS = ("way",)
TOLERANCE = 1e-4  # of scores: one network, in other processes and with other numbers of threads


def run(words: Sequence[str], output: Path, log: Path, kill_at: int | None = None) -> dict[str, float]:
    """Run `pscr score`; gives seconds, seconds_to_first and killed_at (rows that were there). kill_at: rows."""
    first, killed = 0.0, 0
    started = time.perf_counter()
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "pscr", "score", *words, "-o", str(output)]
        with subprocess.Popen(command, stderr=stream, env={**os.environ, "PSCR_DEBUG": "1"}) as running:
            while running.poll() is None:
                done = [int(rows) for rows in re.findall(r"(\d+) rows from process", log.read_text(encoding="utf-8"))]
                if not first and (done or (output.is_file() and output.stat().st_size)):
                    first = time.perf_counter() - started
                if kill_at and not killed and sum(done) >= kill_at:
                    worker = int(re.findall(r"rows from process (\d+)", log.read_text(encoding="utf-8"))[-1])
                    os.kill(worker, signal.SIGKILL)
                    killed = sum(done)
                time.sleep(0.05)
    seconds = time.perf_counter() - started
    if running.returncode != 0 or (kill_at and not killed):
        said = log.read_text(encoding="utf-8")[-2000:]
        raise SystemExit(f"{' '.join(words)}: exit code {running.returncode}, killed at {killed}\n{said}")
    return {"seconds": seconds, "seconds_to_first": first, "killed_at": killed}


def rows_of(output: Path) -> list[tuple[str, float]]:
    """Path and score of every row, in order; the score is NaN where there is none."""
    if output.is_dir():
        rows = pyarrow.parquet.read_table(output, columns=["path", "score"]).to_pylist()
    else:
        with output.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    return [(row["path"], float("nan") if row["score"] in (None, "") else float(row["score"])) for row in rows]


def compare(found: list[tuple[str, float]], expected: list[tuple[str, float]]) -> dict[str, Any]:
    """How rows differ from those expected; ends the program where they differ at all but for rounding."""
    times = Counter(path for path, _ in found)
    missing = sum(path not in times for path, _ in expected)
    twice = sum(count - 1 for count in times.values())
    ordered = [path for path, _ in found] == [path for path, _ in expected]
    same = dict(expected)
    largest = max((abs(score - same.get(path, float("nan"))) for path, score in found), default=float("nan"))
    if missing or twice or not ordered or not largest <= TOLERANCE:
        raise SystemExit(f"{missing} missing, {twice} twice, in order: {ordered}, largest difference {largest}")
    return {"rows": len(found), "missing": missing, "twice": twice, "largest_difference": round(largest, 7)}


def main() -> None:
    """Measure, compare, print and write."""
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=5000, help="how many (default: %(default)s)")
    options.add_argument("--workers", type=int, default=2, help="of Ray (default: %(default)s)")
    given = options.parse_args()
    threads = given.threads or len(os.sched_getaffinity(0))
    each = max(1, threads // given.workers)
    with opened(given) as scorer:
        environment = where(given, scorer)
    environment["packages"] |= packages(("ray", "pyarrow"))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        write_images(folder / "images", given.images)
        common = [str(folder / "images"), "--model", given.model, "--device", given.device]
        shared = [*common, "--engine", "ray", "--workers", str(given.workers), "--threads", str(each)]
        expected: list[tuple[str, float]] = []
        for way, words, workers, kill_at in (
            ("plain", [*common, "--threads", str(threads)], 1, None),
            ("ray", shared, given.workers, None),
            ("ray, a worker killed", shared, given.workers, given.images // 2),
        ):
            output = folder / (f"{len(rows)}.csv" if way == "plain" else str(len(rows)))
            found = run(words, output, folder / "log", kill_at)
            expected = expected or rows_of(output)
            rows.append(
                {
                    "way": way,
                    "processes": workers,
                    "threads_each": threads // workers if way == "plain" else each,
                    **{key: round(value, 2) for key, value in found.items()},
                    "images_per_s": round(given.images / found["seconds"], 2),
                    **compare(rows_of(output), expected),
                }
            )
            rows[-1]["to_plain"] = round(rows[-1]["images_per_s"] / rows[0]["images_per_s"], 3)
    record, file = finish(given, environment, KEYS, rows, {"images": given.images})
    labels = [row["way"] for row in rows]
    plots.bars(file, labels, [row["images_per_s"] for row in rows], "images / second", record.name)


if __name__ == "__main__":
    main()
