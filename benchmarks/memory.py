"""Memory of one process: after the import, after opening, and while it scores, by batch and by number of images.

    python benchmarks/memory.py [--model MODEL] [--threads N] [--images 200]

Each batch size is a fresh process. resident_mib: what it holds at that point; peak_mib: the most it has held so far
(Linux: VmRSS and VmHWM, pages of shared libraries included).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from common import examples, finish, opened, parser, where

from pscr.bench import plots

KEYS = ("batch", "point")
BATCHES = (1, 8)
PROGRAM = """
import itertools, json
def memory():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return [int(lines[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM")]
marks = [("python", memory())]
import pscr
marks.append(("import pscr", memory()))
with pscr.open({model!r}, {device!r}, {threads!r}) as scorer:
    marks.append(("open", memory()))
    images = itertools.islice(itertools.cycle({images!r}), {count})
    for done, result in enumerate(scorer.score_many(images, batch={batch}), 1):
        assert result.ok, result.message
        if done in (1, {count} // 10, {count}):
            marks.append((f"{{done}} images", memory()))
print(json.dumps(marks))
"""


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, what="not used here: --images decides")
    options.add_argument("--images", type=int, default=200, help="scored in each process (default: %(default)s)")
    given = options.parse_args()
    with opened(given) as scorer:
        environment = where(given, scorer)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(8)]
        for file, data in zip(files, examples(), strict=True):
            file.write_bytes(data)
        for batch in BATCHES:
            program = PROGRAM.format(
                model=given.model, device=given.device, threads=given.threads,
                images=list(map(str, files)), count=given.images, batch=batch,
            )  # fmt: skip
            done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
            for point, (resident, peak) in json.loads(done.stdout):
                row = {"batch": batch, "point": point}
                rows.append(row | {"resident_mib": round(resident, 1), "peak_mib": round(peak, 1)})
    record, file = finish(given, environment, KEYS, rows)
    labels = [f"{row['point']}, batch {row['batch']}" for row in rows]
    plots.bars(file, labels, [row["peak_mib"] for row in rows], "MiB, peak so far", record.name)


if __name__ == "__main__":
    main()
