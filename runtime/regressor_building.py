"""Regressors from labelled images, on the features that a model's graph gives: in seconds, without training."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import calibration, golden, ridge
from .errors import PscrError, Status
from .labelled_images import Labelled, check_labels, patches_of
from .regressor import Regressor
from .ridge import Floats, Places
from .score_scale import ScoreScale
from .scorer import Scorer

FEWEST = 5  # images
SIZES = (25, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12800)  # labels of the learning curve
_REPEATS = 10  # of each size
_TESTED = 0.25  # of the groups, on which the curve's regressors are judged
_FEWEST_TESTED = 10  # images


class Point(NamedTuple):
    """What so many labels give on images that are left out: means over draws."""

    labels: int
    srcc: float
    plcc: float


@dataclass(frozen=True)
class Fit:
    """How well regressors score images that they were not fitted on, by five parts; errors in the labels' units.

    rmse_of_mean: of giving every image the mean label. strength: of the penalty. curve: see `Point`.
    """

    images: int
    groups: int
    srcc: float
    plcc: float
    rmse: float
    rmse_of_mean: float
    strength: float
    curve: tuple[Point, ...]


class Features(NamedTuple):
    """What a model finds in images: features [N,C] float32, of the first golden image [C]; and the model."""

    values: np.ndarray
    probe: np.ndarray
    about: dict[str, Any]


def features(
    model: str | os.PathLike[str],
    images: Sequence[Labelled],
    device: str = "auto",
    threads: int | None = None,
    *,
    step: Callable[[], None] = lambda: None,
) -> Features:
    """The graph's terms of each image.

    step: called after each.

    Raises:
        PscrError: those of `open` and `score`, with the image's name.
    """
    with Scorer(model, device, threads) as scorer:
        probe = scorer.terms(scorer.patches(golden.first(), pixel_format="rgb")[None])[0]
        found = np.zeros((len(images), len(probe)), np.float32)
        for place, patches in enumerate(patches_of(scorer, images, step)):
            found[place] = scorer.terms(patches)[0]
        about = {"model": scorer.manifest.name, "version": scorer.manifest.version}
    return Features(found, np.asarray(probe, np.float32), about)


def fit(
    found: Features,
    labels: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    regressors: int = 10,
    scale: ScoreScale | None = None,
    seed: int = 0,
) -> tuple[Regressor, Fit]:
    """Fit regressors on images' features and opinion scores.

    labels: [N], at least 5. groups: each image's content, such as its prompt or its original; images of one are left
        out together; None where each is one of its own. regressors: from bootstrap samples, whose mean is the score and
        whose deviation its spread; 1 for a plain one.
    scale: what the labels mean; None for an opinion score within the labels' own range, the higher the better.
    seed: of the parts, samples and draws.

    Returns the regressor, whose `about` holds the figures and, from 20 images on, the calibration.
    Raises:
        PscrError: INVALID_ARGUMENT: fewer images or groups; labels that are all the same, not finite or outside of the
            scale's range; features that are all the same or not finite.
    """
    scores, scale = check_labels(labels, scale, FEWEST)
    values = found.values.astype(np.float64)
    contents = np.arange(len(scores)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    count = len(np.unique(contents))
    if not np.isfinite(values).all() or not np.ptp(values, axis=0).any():
        raise PscrError(Status.INVALID_ARGUMENT, "the model finds the same in all of these images; look at them")
    if count < 2 or regressors < 1:
        told = f"{count} groups and {regressors} regressors"
        raise PscrError(Status.INVALID_ARGUMENT, f"{told}; expected two groups or more, and one regressor or more")
    rng = np.random.default_rng(seed)
    strength = ridge.strength_of(values, scores, contents, rng)
    lines = ridge.several(values, scores, contents, strength, regressors, rng)
    votes = _left_out(values, scores, contents, strength, regressors, rng)
    predicted, spreads = votes.mean(1), votes.std(1)
    figures = Fit(
        len(scores),
        count,
        *_agreement(predicted, scores),
        float(np.sqrt(np.mean((predicted - scores) ** 2))),
        float(scores.std()),
        strength,
        _curve(values, scores, contents, rng),
    )
    about = dict(found.about) | {
        "fit": {key: value for key, value in vars(figures).items() if key != "curve"},
        "curve": [list(point) for point in figures.curve],
    }
    if len(scores) >= calibration.FEWEST:
        protocol = f"the {len(scores)} labelled images, each left out of its own fit"
        known = spreads if regressors > 1 and (spreads > 0).all() else None
        about["calibration"] = calibration.measure(predicted, known, scores, protocol, by="constant").to_dict()
    weights = np.stack([line.weights for line in lines]).astype(np.float32)
    intercepts = np.array([line.intercept for line in lines], np.float32)
    return Regressor(weights, intercepts, scale, about, found.probe), figures


def _left_out(
    values: Floats, scores: Floats, contents: Places, strength: float, regressors: int, rng: np.random.Generator
) -> Floats:
    """The votes [N,K] for each image by regressors that were fitted without its content."""
    votes = np.zeros((len(scores), regressors))
    for left in ridge.folds(contents, rng):
        kept = np.setdiff1d(np.arange(len(scores)), left)
        lines = ridge.several(values[kept], scores[kept], contents[kept], strength, regressors, rng)
        votes[left] = np.stack([line(values[left]) for line in lines], 1)
    return votes


def _curve(values: Floats, scores: Floats, contents: Places, rng: np.random.Generator) -> tuple[Point, ...]:
    """The learning curve: of each draw a quarter of the groups judges, and the same ones judge every size."""
    different = np.unique(contents)
    tested = max(1, round(_TESTED * len(different)))
    sizes = [size for size in SIZES if size <= len(scores) * (1 - _TESTED)]
    found: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
    for _ in range(_REPEATS if sizes else 0):
        left = np.flatnonzero(np.isin(contents, rng.permutation(different)[:tested]))
        rest = rng.permutation(np.setdiff1d(np.arange(len(scores)), left))
        for size in sizes:
            drawn = rest[:size]
            if len(left) < _FEWEST_TESTED or len(drawn) < size or not np.ptp(scores[drawn]):
                continue
            strength = ridge.strength_of(values[drawn], scores[drawn], contents[drawn], rng)
            line = ridge.Ridge(values[drawn], scores[drawn]).line(strength)
            found[size].append(_agreement(line(values[left]), scores[left]))
    full = {size: each for size, each in found.items() if len(each) == _REPEATS}
    return tuple(Point(size, *map(float, np.mean(each, 0))) for size, each in full.items())


def _agreement(predicted: Floats, scores: Floats) -> tuple[float, float]:
    """SRCC and PLCC."""
    ranked = calibration.correlation(calibration.ranks(predicted), calibration.ranks(scores))
    return ranked, calibration.correlation(predicted, scores)
