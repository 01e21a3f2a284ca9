"""The scores of the example images by the installed pscr, for `make check-wheel`: as JSON, or compared with such.

Run with -I in an environment that has nothing but `pscr[cpu]`, so that no source tree stands beside it:

    python -I tests/house/example_scores.py > expected.json
    python -I tests/house/example_scores.py expected.json

Compared, it prints a row for the table of docs/stability.md, and ends with 1 where a score differs by more than 1e-4
of its model's range, or a packaged model breaks the promise of its manifest.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import cv2

import pscr
from pscr.runtime import verification
from pscr.runtime.models import packaged

IMAGES = Path(__file__).parents[2] / "examples" / "images"
MOST = 1e-4  # of the score's range
LIBRARIES = ("numpy", "opencv-python-headless", "onnxruntime")
Scores = dict[str, dict[str, float]]


def scores() -> Scores:
    """By model and image. An image counts twice: as a file, and as decoded pixels in a batch of one.

    Raises:
        SystemExit: a golden score of a packaged model is not kept.
    """
    found: Scores = {}
    for model in packaged():
        with pscr.open(model, device="cpu", threads=1) as scorer:
            files = sorted(IMAGES.glob("*.jpg"))
            found[model] = {
                file.name: result.score for file, result in zip(files, scorer.score_many(files), strict=True)
            }
            for file in files:
                pixels = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
                (result,) = scorer.score_pixels(pixels[None])
                found[model][f"{file.name}, its pixels"] = result.score
            tolerance = verification.tolerance(scorer.manifest)
            for image, promised, score in verification.check(scorer):
                if abs(score - promised) > tolerance:
                    raise SystemExit(f"{model}: {image} scores {score}; its manifest promises {promised}")
    return found


def largest_difference(expected: Scores, found: Scores) -> float:
    """Between the two, as a part of each model's range.

    Raises:
        SystemExit: they are of other models or images.
    """
    if {model: list(row) for model, row in expected.items()} != {model: list(row) for model, row in found.items()}:
        raise SystemExit("the expected scores are of other models or images")
    worst = 0.0
    for model, row in expected.items():
        with pscr.open(model, device="cpu", threads=1) as scorer:
            low, high = scorer.manifest.score.range
        worst = max(worst, *(abs(found[model][image] - score) / (high - low) for image, score in row.items()))
    return worst


def main(words: list[str]) -> int:
    """Print the scores, or compare them with those of the file that is named."""
    found = scores()
    if not words:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return 0
    worst = largest_difference(json.loads(Path(words[0]).read_text("utf-8")), found)
    cells = (platform.python_version(), *map(version, LIBRARIES), f"{worst:.1g} of the range" if worst else "equal")
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
