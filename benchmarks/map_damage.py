"""Whether the quality map points where the damage is: one square of a good image is damaged, and the map is asked.

    python benchmarks/map_damage.py --data agiqa3k:DIR [--photos DIR] [--images 40] [--windows 128 192] [--workers 2]

Good images are those with the highest opinion scores among the images of --data that a split by image with --seed
holds out (the shipped model was trained on all of them, its twin of the first row in docs/models.md was not), and with
--photos the photographs of a folder, which trained nothing. Their middle 512x512 is used. Blur, noise and JPEG blocks
are put into a square at a random place, weak and strong. For each window size:

  worst   share of maps whose lowest window is a hit: it overlaps the square by more than half of what it could
  chance  share of windows that would be hits: what a map that says nothing gives
  pixel   share of maps whose lowest pixels (mean of the windows that cover them) lie in the square
  auc     probability that a pixel of the square has a lower value than one outside of it; chance is 0.5
  fall    how much the windows that are hits lose by the damage, mean, in score units

and, as `..._before`, the same of the map before the damage: what the image itself brings. Windows that the square does
not touch keep their scores and are not computed again.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import finish, opened, parser, where
from numpy.typing import NDArray

import pscr
from pscr.bench import plots
from pscr.runtime.calibration import correlation, ranks
from pscr.runtime.image import load
from pscr.runtime.samplings import Pixels
from pscr.training import databases, splits
from pscr.training.progress_bar import progress_bar

SIDE, GRID = 512, 64
KEYS = ("source", "window", "kind", "strength", "square")
FIGURES = ("worst", "worst_before", "chance", "pixel", "pixel_before", "auc", "auc_before", "fall")
Square = tuple[int, int, int]  # top, left, side
here: dict[str, Any] = {}  # of a worker process: its Scorer and the options


def blur(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Gaussian blur; sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def noise(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """White Gaussian noise; sigma of 255."""
    return np.clip(np.rint(image + rng.normal(0, sigma, image.shape)), 0, 255).astype(np.uint8)


def jpeg(image: Pixels, quality: float, rng: np.random.Generator) -> Pixels:
    """JPEG compression at a quality of 1 to 100."""
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


KINDS: dict[str, tuple[Callable[[Pixels, float, np.random.Generator], Pixels], dict[str, float]]] = {
    "blur": (blur, {"weak": 1.5, "strong": 3.5}),
    "noise": (noise, {"weak": 15, "strong": 40}),
    "jpeg": (jpeg, {"weak": 15, "strong": 5}),
}


def damaged(image: Pixels, kind: str, strength: str, square: Square, rng: np.random.Generator) -> Pixels:
    """A copy of the image with one square of it damaged; the whole is, then the square is taken, so it has no seam."""
    top, left, side = square
    change, strengths = KINDS[kind]
    result = image.copy()
    inside = np.s_[top : top + side, left : left + side]
    result[inside] = change(image, strengths[strength], rng)[inside]
    return result


def overlaps(found: pscr.QualityMap, square: Square) -> NDArray[np.int64]:
    """[rows, cols]: how many pixels of the square each window has."""
    top, left, side = square

    def along(corners: NDArray[np.int64], first: int) -> NDArray[np.int64]:
        return np.maximum(np.minimum(corners + found.window, first + side) - np.maximum(corners, first), 0)

    return np.outer(along(found.corners_y, top), along(found.corners_x, left))


def judge(before: pscr.QualityMap, after: pscr.QualityMap, square: Square) -> dict[str, float]:
    """The figures of one damaged image; see the top of this file."""
    top, left, side = square
    hits = overlaps(after, square) > min(after.window, side) ** 2 / 2
    middles = (np.arange(GRID) + 0.5) * (SIDE / GRID)
    inside = np.outer(*((first <= middles) & (middles < first + side) for first in (top, left)))
    return {
        "worst": float(hits.flat[after.values.argmin()]),
        "worst_before": float(hits.flat[before.values.argmin()]),
        "chance": float(hits.mean()),
        **points(after, inside),
        **{f"{name}_before": value for name, value in points(before, inside).items()},
        "fall": float((before.values - after.values)[hits].mean()) if hits.any() else 0.0,
    }


def points(found: pscr.QualityMap, inside: NDArray[np.bool_]) -> dict[str, float]:
    """`pixel` and `auc` of a map; inside: [GRID,GRID], the square."""
    pixels = found.dense(GRID, GRID)
    lowest = pixels <= pixels.min() + 1e-6  # a whole block of pixels has the same windows
    place = ranks(pixels.ravel())[inside.ravel()]
    above = (place.sum() - len(place) * (len(place) + 1) / 2) / (len(place) * (inside.size - len(place)))
    return {"pixel": float(inside[lowest].mean()), "auc": float(1 - above)}


def again(scorer: pscr.Scorer, before: pscr.QualityMap, image: Pixels, square: Square) -> pscr.QualityMap:
    """The map of the damaged image, with the scores that cannot have changed taken from the map before."""
    values = before.values.copy()
    for row, column in np.argwhere(overlaps(before, square) > 0):
        top, left = before.corners_y[row], before.corners_x[column]
        window = image[top : top + before.window, left : left + before.window]
        values[row, column] = scorer.score(np.ascontiguousarray(window), pixel_format="rgb").score
    return pscr.QualityMap(
        values, before.corners_y, before.corners_x, before.window, before.stride, before.width, before.height
    )


def middle(image: Pixels) -> Pixels:
    """The middle 512x512 of an image that is at least so large."""
    top, left = ((side - SIDE) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + SIDE, left : left + SIDE])


def sources(data: str, photos: Path | None, count: int, seed: int) -> dict[str, list[Pixels]]:
    """The good images, by where they come from."""
    found = {}
    if data:
        database = databases.load(data)
        held_out = splits.split(database.items, "image", 0.2, seed)[1]
        best = sorted((database.items[place] for place in held_out), key=lambda item: -item.score)[:count]
        found[database.name] = [middle(load(item.path)) for item in best]
    if photos:
        files = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".png", ".jpg"))[:count]
        if not files:
            raise SystemExit(f"{photos}: no .png or .jpg; expected a folder of photographs")
        found["photos"] = [middle(load(file)) for file in files]
    return found


def open_here(given: argparse.Namespace) -> None:
    """Open the model in this process."""
    here.update(scorer=opened(given), given=given)


def examine(task: tuple[str, int, Pixels]) -> tuple[float, list[float], list[tuple[tuple[Any, ...], dict[str, float]]]]:
    """The score of one image (its source, its number, its pixels), its maps' means, and the figures by `KEYS`."""
    source, number, image = task
    scorer, given = here["scorer"], here["given"]
    rng = np.random.default_rng([number, len(source)])  # whichever process it falls to
    before = [
        pscr.quality_map(scorer, image, window=side, stride=side // given.overlap, pixel_format="rgb")
        for side in given.windows
    ]
    judged = []
    for kind, strength, side in itertools.product(KINDS, given.strengths, given.squares):
        top, left = rng.integers(0, SIDE - side + 1, 2).tolist()
        square = (top, left, side)
        worse = damaged(image, kind, strength, square, rng)
        for one in before:
            figures = judge(one, again(scorer, one, worse, square), square)
            judged.append(((source, one.window, kind, strength, side), figures))
    score = scorer.score(image, pixel_format="rgb").score
    return score, [float(one.values.mean()) for one in before], judged


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__)
    options.add_argument("--data", default="", help=databases.EXPECTED)
    options.add_argument("--photos", type=Path, help="a folder of undamaged photographs of 512x512 or more")
    options.add_argument("--images", type=int, default=40, help="of each source (default: %(default)s)")
    options.add_argument("--seed", type=int, default=1, help="of the split (default: %(default)s)")
    options.add_argument("--windows", type=int, nargs="+", default=[192], help="default: %(default)s")
    options.add_argument("--overlap", type=int, default=2, help="the stride is window / this (default: %(default)s)")
    options.add_argument("--squares", type=int, nargs="+", default=[128, 224], help="default: %(default)s")
    options.add_argument("--strengths", nargs="+", default=["weak", "strong"], choices=("weak", "strong"))
    options.add_argument("--workers", type=int, default=1, help="processes; the figures do not depend on it")
    given = options.parse_args()
    found: dict[tuple[Any, ...], list[dict[str, float]]] = {}
    with opened(given) as scorer:
        environment = where(given, scorer)
    tasks = [
        (source, number, image)
        for source, images in sources(given.data, given.photos, given.images, given.seed).items()
        for number, image in enumerate(images)
    ]
    scores, means = [], []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.workers, context, initializer=open_here, initargs=(given,)) as pool:
        for score, mean, judged in progress_bar(pool.map(examine, tasks), len(tasks), "images"):
            scores.append(score)
            means.append(mean)
            for key, figures in judged:
                found.setdefault(key, []).append(figures)
    rows = [
        dict(zip(KEYS, key, strict=True))
        | {"images": len(some)}
        | {name: round(float(np.mean([one[name] for one in some])), 4) for name in FIGURES}
        for key, some in sorted(found.items(), key=lambda entry: entry[0][:3])
    ]
    facts: dict[str, Any] = {}
    for place, window in enumerate(given.windows):
        column = np.array(means)[:, place]
        facts[f"window {window}: mean of the map less score, mean"] = round(float(np.mean(column - scores)), 4)
        facts[f"window {window}: correlation of the map's mean with the score"] = round(correlation(column, scores), 4)
        for source, kind in itertools.product(dict.fromkeys(key[0] for key in found), KINDS):
            some = [one for key, ones in found.items() if key[:3] == (source, window, kind) for one in ones]
            summary = {name: round(float(np.mean([one[name] for one in some])), 3) for name in FIGURES}
            facts[f"{source}, window {window}, {kind}: {len(some)} maps"] = summary
    record, file = finish(given, environment, KEYS, rows, facts)
    labels = [" ".join(str(row[key]) for key in KEYS) for row in rows]
    plots.bars(file, labels, [row["worst"] for row in rows], "share of maps whose lowest window is a hit", record.name)


if __name__ == "__main__":
    sys.exit(main())
