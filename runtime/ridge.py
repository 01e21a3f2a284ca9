"""Ridge regression in NumPy: all strengths of the penalty from one decomposition, chosen by cross-validation.

Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 1970. Features are
standardised; the intercept is not penalised. A strength is a share of the number of images, so that it means the same
for any number of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
STRENGTHS = tuple(float(one) for one in np.geomspace(1e-5, 1e3, 33))
FOLDS = 5


@dataclass(frozen=True)
class Line:
    """One regressor: features @ weights [C] + intercept."""

    weights: Floats
    intercept: float

    def __call__(self, features: Floats) -> Floats:
        return features @ self.weights + self.intercept


class Ridge:
    """A regression for every strength. features [N,C]; labels [N]."""

    def __init__(self, features: Floats, labels: Floats) -> None:
        self._mean, self._intercept = features.mean(0), float(labels.mean())
        deviation = features.std(0)
        self._scale = np.where(deviation > 1e-9 * np.abs(self._mean).max(initial=1e-300), deviation, np.inf)
        centred, self._count = (features - self._mean) / self._scale, len(features)
        products = labels - self._intercept
        if len(features) <= features.shape[1]:  # the smaller of the two square matrices has all that is needed
            squares, inner = np.linalg.eigh(centred @ centred.T)
            squares = np.maximum(squares, 0)
            self._vectors = centred.T @ inner
            self._projected = inner.T @ products
            self._squares = squares
        else:
            self._squares, self._vectors = np.linalg.eigh(centred.T @ centred)
            self._squares = np.maximum(self._squares, 0)
            self._projected = self._vectors.T @ (centred.T @ products)

    def line(self, strength: float) -> Line:
        """The regressor of one strength."""
        weights = self._vectors @ (self._projected / (self._squares + strength * self._count)) / self._scale
        return Line(weights, self._intercept - float(self._mean @ weights))

    def predicted(self, features: Floats) -> Floats:
        """What those of all `STRENGTHS` give features [N,C]: [strengths, N]."""
        turned = (features - self._mean) / self._scale @ self._vectors
        shrunk = self._projected / (self._squares + np.array(STRENGTHS)[:, None] * self._count)
        found: Floats = self._intercept + shrunk @ turned.T
        return found


def folds(groups: Places, rng: np.random.Generator, count: int = FOLDS) -> list[Places]:
    """Places of images in `count` parts, or as many as there are groups, each group in one of them."""
    different = rng.permutation(np.unique(groups))
    parts = np.array_split(different, min(count, len(different)))
    return [np.flatnonzero(np.isin(groups, part)) for part in parts]


def strength_of(features: Floats, labels: Floats, groups: Places, rng: np.random.Generator) -> float:
    """The strength with the smallest squared error on images that are left out, group by group."""
    errors = np.zeros(len(STRENGTHS))
    for left in folds(groups, rng):
        kept = np.setdiff1d(np.arange(len(labels)), left)
        found = Ridge(features[kept], labels[kept]).predicted(features[left])
        errors += np.sum((found - labels[left]) ** 2, 1)
    return STRENGTHS[int(np.argmin(errors))]


def resampled(groups: Places, rng: np.random.Generator) -> Places:
    """A bootstrap sample of whole groups: the places of its images, some of them several times."""
    different, inverse = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    return np.concatenate([members[one] for one in rng.integers(0, len(different), len(different))])


def several(
    features: Floats, labels: Floats, groups: Places, strength: float, count: int, rng: np.random.Generator
) -> list[Line]:
    """`count` regressors, each of a bootstrap sample; the plain one where that is 1."""
    if count == 1:
        return [Ridge(features, labels).line(strength)]
    samples = (resampled(groups, rng) for _ in range(count))
    return [Ridge(features[sample], labels[sample]).line(strength) for sample in samples]
