"""What an image's number of pixels costs: milliseconds and memory of one score, from encoded JPEGs of one picture.

    python benchmarks/image_sizes.py [--model MODEL] [--threads N] [--seconds 3]

Sizes take turns, so that a clock that drifts is every size's. ratio: to the 512x512 image in the same turns. peak_mib:
the most memory that a fresh process has held that scored one such image, and above_512_mib what that is above the same
for 512x512 (Linux: VmHWM).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from common import IMAGES, finish, opened, parser, where

from pscr.bench import plots
from pscr.runtime.image import load

KEYS = ("size",)
SIZES = ((256, 256), (512, 512), (768, 768), (1024, 1024), (1536, 1536), (2048, 2048), (1920, 1080), (4032, 3024))
REFERENCE = (512, 512)
PROGRAM = """
import pscr
with pscr.open({model!r}, {device!r}, {threads!r}) as scorer:
    scorer.score({image!r})
print(next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def encoded(width: int, height: int) -> bytes:
    """An example image at this size, as a JPEG of quality 90."""
    pixels = load(sorted(IMAGES.iterdir())[1])
    scaled = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(scaled[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise SystemExit("OpenCV cannot encode a JPEG; install opencv-python-headless again")
    return data.tobytes()


def main() -> None:
    """Measure, print and write."""
    given = parser(__doc__, 3.0, "of each size").parse_args()
    images = {size: encoded(*size) for size in SIZES}
    spent: dict[tuple[int, int], list[float]] = {size: [] for size in SIZES}
    messages = {}
    with opened(given) as scorer:
        environment = where(given, scorer)
        for size, data in images.items():
            messages[size] = scorer.score(data).message
        ends = time.perf_counter() + given.seconds * len(SIZES)
        while time.perf_counter() < ends:
            for size, data in images.items():
                started = time.perf_counter()
                scorer.score(data)
                spent[size].append(1e3 * (time.perf_counter() - started))
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, data in images.items():
            file = Path(folder) / "image.jpg"
            file.write_bytes(data)
            program = PROGRAM.format(model=given.model, device=given.device, threads=given.threads, image=str(file))
            done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
            peaks[size] = float(done.stdout)
    middle = {size: statistics.median(one) for size, one in spent.items()}
    rows = [
        {
            "size": f"{size[0]}x{size[1]}",
            "p50_ms": round(middle[size], 2),
            "ratio": round(statistics.median(np.array(spent[size]) / np.array(spent[REFERENCE])), 3),
            "peak_mib": round(peaks[size], 1),
            "above_512_mib": round(peaks[size] - peaks[REFERENCE], 1),
            "what": messages[size],
        }
        for size in SIZES
    ]
    record, file = finish(given, environment, KEYS, rows)
    plots.bars(file, [row["size"] for row in rows], [row["p50_ms"] for row in rows], "ms, median", record.name)


if __name__ == "__main__":
    main()
