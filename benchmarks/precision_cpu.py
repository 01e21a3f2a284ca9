"""Speed of a model's precisions on this CPU, beside the parity that their manifests record. Needs an idle machine.

    python benchmarks/precision_cpu.py FP32 FP16 INT8 ... [--devices cpu openvino openvino-bf16] [--threads 2]
        [--images DIR]

Each argument is a model folder of `pscr export onnx --precision`. One image's patches, median of the repeats, in turns,
so that a clock that drifts is everyone's. With --images also how far scores are from the first row's, over a folder.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path

import numpy as np

import pscr


def scores(scorer: pscr.Scorer, folder: Path) -> np.ndarray:
    """The scores of a folder's images, by name."""
    return np.array([result.score for result in scorer.score_many(sorted(folder.iterdir()))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--devices", nargs="+", default=["cpu"], help="each model runs on each (default: cpu)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--images", type=Path, metavar="DIR", help="a folder of images whose scores are compared")
    given = parser.parse_args()
    pairs = itertools.product(given.models, given.devices)
    scorers = [pscr.open(model, device, given.threads) for model, device in pairs]
    times: list[list[float]] = [[] for _ in scorers]
    for turn in range(given.repeats + 3):
        for scorer, taken in zip(scorers, times, strict=True):
            sampling = scorer.manifest.sampling
            patches = np.full((1, sampling.count, sampling.patch, sampling.patch, 3), turn, np.uint8)
            started = time.perf_counter()
            scorer.infer(patches)
            taken.append(1000 * (time.perf_counter() - started))
    found = [scores(scorer, given.images) if given.images else np.zeros(0) for scorer in scorers]
    more = f" scores of {len(found[0])} images, from the first: median, 99 %, largest |" if given.images else ""
    print("| model | precision | device | ms per image, median | of the first | parity with fp32, largest |" + more)
    print("|---|---|---|---|---|---|" + "---|" * bool(given.images))
    first = statistics.median(times[0][3:])
    for scorer, taken, own in zip(scorers, times, found, strict=True):
        manifest = scorer.manifest
        largest = manifest.parity.get("largest_difference", "-") if manifest.precision != "fp32" else "-"
        median = statistics.median(taken[3:])
        what = f"{manifest.name} | {manifest.precision} | {scorer.info['device']}"
        off = np.abs(own - found[0])
        told = f" {np.median(off):.4f}, {np.quantile(off, 0.99):.4f}, {off.max():.4f} |" if given.images else ""
        print(f"| {what} | {median:.1f} | {median / first:.2f} | {largest} |{told}")
        scorer.close()


if __name__ == "__main__":
    main()
