"""From the start of a process to its first score, and what of that is Python, the import, opening and scoring.

"first score" ends where the score is there; rows of a "process" end where the process does, its clearing up included.

    python benchmarks/cold_start.py [--model MODEL] [--threads N] [--repeats 11]

Every figure is a fresh process of this interpreter, so run it with the environment that is to be measured (the [cpu]
one: others load nothing more, but their files compete for the page cache). The first processes warm that cache and do
not count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import examples, finish, opened, parser, where

from pscr.bench import plots
from pscr.bench.statistics import Timings, summary

KEYS = ("step",)
PYTHON, IMPORT = "pass", "import pscr"
FIRST = """
import json, time
marks = [time.perf_counter()]
import pscr
marks.append(time.perf_counter())
with pscr.open({model!r}, {device!r}, {threads!r}) as scorer:
    marks.append(time.perf_counter())
    scorer.score({image!r})
    marks.append(time.perf_counter())
    there = time.clock_gettime(time.CLOCK_MONOTONIC)
print(json.dumps([there, *(1000 * (b - a) for a, b in zip(marks, marks[1:]))]))
"""


def process(program: str) -> tuple[float, str]:
    """Milliseconds of one fresh process from start to end, and what it wrote."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return 1000 * (time.perf_counter() - started), done.stdout


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, what="not used here: --repeats decides")
    options.add_argument("--repeats", type=int, default=11, help="processes of each kind (default: %(default)s)")
    given = options.parse_args()
    with opened(given) as scorer:
        environment = where(given, scorer)
    names = ("python alone", "import pscr, process", "first score", "first score, process")
    inside = ("import pscr", "open", "score")
    found: dict[str, list[float]] = {name: [] for name in (*names, *inside)}
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.jpg"
        image.write_bytes(examples()[0])
        first = FIRST.format(model=given.model, device=given.device, threads=given.threads, image=str(image))
        for _ in range(given.repeats + 1):
            for name, program in zip(names[:2], (PYTHON, IMPORT), strict=True):
                found[name].append(process(program)[0])
            started = time.clock_gettime(time.CLOCK_MONOTONIC)  # one clock for all processes
            took, said = process(first)
            there, *marks = json.loads(said)
            for name, ms in zip((*names[2:], *inside), (1000 * (there - started), took, *marks), strict=True):
                found[name].append(ms)
    rows = [{"step": name, **summary(Timings(values[:1], values[1:]))} for name, values in found.items()]
    record, file = finish(given, environment, KEYS, rows)
    plots.bars(file, list(found), [row["p50_ms"] for row in rows], "ms, median", record.name)


if __name__ == "__main__":
    main()
