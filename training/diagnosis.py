"""A classifier of distortions on a model's features: images to fit it on, the fit, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ..runtime import golden, ridge
from ..runtime.calibration import correlation, ranks
from ..runtime.diagnosis import CLEAN, Classifier
from ..runtime.ordered import results
from ..runtime.samplings import Pixels
from ..runtime.scorer import Scorer
from .distortions import LEVELS, PRISTINE, TYPES, distort
from .progress_bar import progress_bar

Floats = NDArray[np.float64]
SIDE = 512  # pixels of the squares that are distorted
# What an image does not show without its original, such as a darkened one (others are dark), or shows in a few places
# only: the classifier is to let it pass.
PASSED = frozenset(
    {
        *("brighten", "darken", "mean shift", "contrast change", "colour saturation 1"),
        *("non-eccentricity patch", "colour block"),
    }
)
KINDS = (*(CLEAN if one.name in PASSED else one.group for one in TYPES), CLEAN)  # of each type; last the undistorted
_UNDISTORTED = len(TYPES)  # its place
_JUST_SEEN = 4.4  # people's mean, of 5: what is better is not fitted, for it looks like nothing
_CLEAN_SHARE = 0.2  # of undistorted images, in the fit; fewer are found clean with less
_PASSED_WEIGHT = 0.5
_PENALTY = 0.01  # on the squares of the weights of standardised features, beside the mean loss of an image
_STEPS = 300


@dataclass(frozen=True)
class Samples:
    """Images as a model sees them: features [N,C]; types [N], places in `TYPES`, 25 for the undistorted; levels [N],
    1 to 5, 0 for the undistorted; contents [N], which of them show the same.
    """

    features: Floats
    types: NDArray[np.int64]
    levels: NDArray[np.int64]
    contents: NDArray[np.int64]

    @property
    def degrees(self) -> Floats:
        """How much people were disturbed by such distortions, 6 less their mean: 1 (not at all) to 5."""
        people = np.array([[PRISTINE, *one.people] for one in TYPES] + [[PRISTINE] * (1 + LEVELS)])
        found: Floats = 6 - people[self.types, self.levels]
        return found

    @property
    def kinds(self) -> NDArray[np.str_]:
        """What the classifier is to say of each."""
        return np.array(KINDS)[self.types]


def look(scorer: Scorer, files: Sequence[Path], levels: int, seed: int) -> Samples:
    """The features of images as they are, and by each type of distortion in `levels` random levels.

    files: whose middle square is taken, scaled down to 512 pixels where it is larger. seed: of levels and distortions.

    Raises:
        PscrError: an image cannot be read; those of `Scorer.terms`.
    """

    def made(content: int) -> list[tuple[int, int, Pixels]]:
        pixels = square(scorer.pixels(files[content]))
        rng = np.random.default_rng((seed, content))
        drawn = [(place, int(level)) for place in range(len(TYPES)) for level in rng.permutation(LEVELS)[:levels] + 1]
        whole = [(_UNDISTORTED, 0, scorer.patches(pixels, pixel_format="rgb"))]
        for place, level in drawn:
            changed = distort(pixels, TYPES[place].number, level, seed=seed + content)
            whole.append((place, level, scorer.patches(changed, pixel_format="rgb")))
        return whole

    features, rows = [], []
    for content, images in enumerate(progress_bar(results(made, range(len(files))), len(files), "distorted images")):
        for place, level, patches in images:
            features.append(scorer.terms(patches[None])[0])
            rows.append((place, level, content))
    types, strengths, contents = np.array(rows, np.int64).reshape(-1, 3).T
    return Samples(np.array(features, np.float64), types, strengths, contents)


def square(pixels: Pixels) -> Pixels:
    """The middle square of an image [H,W,3], of 512 pixels at most."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    found = pixels[top : top + side, left : left + side]
    if side > SIDE:
        found = np.asarray(cv2.resize(found, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(found)


def joined(first: Samples, second: Samples) -> Samples:
    """Both, whose contents are different ones."""
    return Samples(
        np.concatenate([first.features, second.features]),
        np.concatenate([first.types, second.types]),
        np.concatenate([first.levels, second.levels]),
        np.concatenate([first.contents, second.contents + first.contents.max() + 1]),
    )


def fit(samples: Samples, scorer: Scorer, seed: int) -> Classifier:
    """The classifier of images' kinds and degrees, for the open model.

    samples: of every type, and undistorted. seed: of the parts that choose the penalty on the
    weights of the degree.
    """
    features, types = samples.features, samples.types
    passed = np.isin(types, [place for place, one in enumerate(TYPES) if one.name in PASSED])
    undistorted = types == _UNDISTORTED
    seen = undistorted | (samples.degrees >= 6 - _JUST_SEEN)
    shares = np.where(passed, _PASSED_WEIGHT, 1.0)
    distorted = np.count_nonzero(seen & ~passed & ~undistorted)
    shares[undistorted] = _CLEAN_SHARE / (1 - _CLEAN_SHARE) * distorted / np.count_nonzero(undistorted)
    weights, intercepts = _logistic(features[seen], types[seen], shares[seen])
    told = seen & ~passed
    rng = np.random.default_rng(seed)
    given = features[told], samples.degrees[told]
    line = ridge.Ridge(*given).line(ridge.strength_of(*given, samples.contents[told], rng))
    probe = scorer.terms(scorer.patches(golden.first(), pixel_format="rgb")[None])[0]
    return Classifier(
        KINDS,
        weights.astype(np.float32),
        intercepts.astype(np.float32),
        np.array([*line.weights, line.intercept], np.float32),
        np.asarray(probe, np.float32),
    )


def _logistic(features: Floats, types: NDArray[np.int64], shares: Floats) -> tuple[Floats, Floats]:
    """Multinomial logistic regression with an L2 penalty: weights [T,C] and intercepts [T] for features as they are."""
    mean, deviation = features.mean(0), features.std(0)
    scale = np.where(deviation > 1e-9, deviation, np.inf)
    given = np.hstack([(features - mean) / scale, np.ones((len(features), 1))])
    wanted = np.eye(len(KINDS))[types]
    parts = (shares / shares.sum())[:, None]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(len(KINDS), -1)
        logits = given @ weights.T
        logits -= logits.max(1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        free = np.hstack([weights[:, :-1], np.zeros((len(KINDS), 1))])  # the intercept has no penalty
        slope = ((np.exp(logs) - wanted) * parts).T @ given + _PENALTY * free
        return float(-(parts * wanted * logs).sum() + _PENALTY / 2 * (free**2).sum()), slope.ravel()

    start = np.zeros(len(KINDS) * given.shape[1])
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    weights = found.reshape(len(KINDS), -1)[:, :-1] / scale
    return weights, found.reshape(len(KINDS), -1)[:, -1] - weights @ mean


@dataclass(frozen=True)
class Figures:
    """How often a classifier is right on contents that it was not fitted on; shares of 1, None of no images.

    right: by level, of distorted images whose type it is to know, 1 to 5. clean: of undistorted images that it lets
    pass; passed: of images with the types that it is to let pass. from_3: right, at the levels 3 to 5.
    named: of the same at every level, right among those that it does not call clean.
    degree_srcc: rank correlation of the degree with people's mean, over distorted images of those types.
    confusion: by kind, at the levels 3 to 5 (the undistorted in the row of clean), the share of each of `kinds`.
    """

    kinds: tuple[str, ...]
    right: tuple[float | None, ...]
    from_3: float | None
    named: float | None
    clean: float | None
    passed: float | None
    degree_srcc: float
    confusion: tuple[tuple[float | None, ...], ...]
    images: int
    contents: int


def judge(classifier: Classifier, samples: Samples) -> Figures:
    """How often it is right on these samples."""
    features, levels, kinds = samples.features.astype(np.float32), samples.levels, samples.kinds
    said = np.array(classifier.groups)[classifier.probabilities(features).argmax(1)]
    undistorted, known = samples.types == _UNDISTORTED, kinds != CLEAN
    strong = known & (levels >= 3)
    rows = {kind: kinds == kind for kind in classifier.groups} | {CLEAN: undistorted}
    return Figures(
        classifier.groups,
        tuple(_share(said == kinds, known & (levels == level)) for level in range(1, LEVELS + 1)),
        _share(said == kinds, strong),
        _share(said == kinds, known & (said != CLEAN)),
        _share(said == CLEAN, undistorted),
        _share(said == CLEAN, ~known & ~undistorted),
        correlation(ranks(classifier.degrees(features)[known]), ranks(samples.degrees[known])),
        tuple(
            tuple(_share(said == other, rows[kind] & (strong | undistorted)) for other in classifier.groups)
            for kind in classifier.groups
        ),
        len(features),
        len(np.unique(samples.contents)),
    )


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_]) -> float | None:
    return float(right[among].mean()) if among.any() else None
