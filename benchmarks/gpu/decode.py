"""JPEGs decoded by nvImageCodec beside OpenCV: how far the score moves, and what it saves.

    python benchmarks/gpu/decode.py IMAGES [--model MODEL] [--gpu N] [--count 64]

pixels: mean and largest difference of the decoded levels, 0 to 255. score: median and largest difference, in points of
the model, which runs on the CPU. ms: of one thread for an image, median, the copy to the host included. Images that the
library leaves to the CPU are counted and left out. --gpu -1: the library's own decoders on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

import pscr
from pscr.runtime.gpu_jpeg import JpegDecoder
from pscr.runtime.image import load
from pscr.runtime.image_header import opencv_format
from pscr.runtime.samplings import Pixels
from pscr.runtime.scorer import DEFAULT_MODEL
from pscr.tables.inputs import expand


def taken(work: Callable[[], object], turns: int = 5) -> float:
    """Milliseconds of one call, the best of some."""
    times = []
    for _ in range(turns):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


def both(data: bytes, decoder: JpegDecoder) -> tuple[Pixels, Pixels] | None:
    """An image as OpenCV decodes it and as nvImageCodec does; None where that leaves it to OpenCV."""
    return None if decoder.pixels(data) is None else (load(data), load(data, jpeg=decoder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="IMAGES", help="files or folders; other formats are passed over")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--gpu", type=int, default=0, help="its number (default: %(default)s)")
    parser.add_argument("--count", type=int, default=64, help="images at most (default: %(default)s)")
    given = parser.parse_args()
    decoder = JpegDecoder(None if given.gpu < 0 else given.gpu)
    read = (Path(item.path).read_bytes() for item in expand(given.images))
    files = list(islice((data for data in read if opencv_format(data) == "JPEG"), given.count))
    pairs = [(data, found) for data in files if (found := both(data, decoder)) is not None]
    if not pairs:
        raise SystemExit(f"none of {len(files)} JPEGs was decoded by {decoder}")
    with pscr.open(given.model, device="cpu") as scorer:
        scores = [[scorer.score(pixels, pixel_format="rgb").score for pixels in found] for _, found in pairs]
    levels = [np.abs(ours.astype(int) - theirs) for _, (ours, theirs) in pairs]
    moved = [abs(one - other) for one, other in scores]
    rows = {
        "images": f"{len(pairs)}, and {len(files) - len(pairs)} left to the CPU",
        "pixels": f"{np.mean([one.mean() for one in levels]):.3f} mean, {max(one.max() for one in levels)} largest",
        "score": f"{statistics.median(moved):.4f} median, {max(moved):.4f} largest",
        "ms, OpenCV": f"{statistics.median(taken(lambda d=data: load(d)) for data, _ in pairs):.2f}",
        f"ms, {decoder}": f"{statistics.median(taken(lambda d=data: load(d, jpeg=decoder)) for data, _ in pairs):.2f}",
    }
    print("\n".join(f"{name:<24}{value}" for name, value in rows.items()))


if __name__ == "__main__":
    main()
