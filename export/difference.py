"""How far the scores of one form of a model are from those of another, in opinion-score units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pscr.runtime.backends.base import Backend, Floats
from pscr.runtime.samplings import Pixels

BATCHES = (1, 3, 8)  # in which a score may not depend on its neighbours


@dataclass(frozen=True)
class Difference:
    """Absolute differences of the scores of `images` images, and the rank correlation (NaN below 3 images)."""

    images: int
    largest: float
    p99: float
    median: float
    srcc: float

    def to_dict(self) -> dict[str, Any]:
        """For a manifest."""
        row = {"largest_difference": self.largest, "p99_difference": self.p99, "median_difference": self.median}
        rounded = {key: float(f"{value:.3g}") for key, value in row.items()}
        return rounded if np.isnan(self.srcc) else {**rounded, "srcc": round(self.srcc, 5)}

    def __str__(self) -> str:
        return (
            f"{self.images} images: largest difference {self.largest:.3g}, 99th percentile {self.p99:.3g}, "
            f"median {self.median:.3g}, SRCC {self.srcc:.4f}"
        )


def compare(expected: Floats, found: Floats) -> Difference:
    """The difference of two forms' scores [N] of the same images."""
    apart = np.abs(np.asarray(expected, np.float64) - found)
    ranked = len(apart) > 2 and np.ptp(expected) > 0 and np.ptp(found) > 0
    srcc = float(stats.spearmanr(expected, found)[0]) if ranked else float("nan")
    return Difference(len(apart), float(apart.max()), float(np.quantile(apart, 0.99)), float(np.median(apart)), srcc)


def scores(backend: Backend, images: Sequence[Pixels], least: int = 1) -> Floats:
    """The scores [N] of images, each [P,S,S,3] uint8 RGB, in batches that hold nothing else.

    least: the smallest batch that the backend takes; an image is repeated to fill it.
    """
    return np.stack([backend.infer(np.stack([patches] * least)).scores[0] for patches in images])


def in_batches(
    backend: Backend, images: Sequence[Pixels], sizes: Sequence[int], least: int = 1, turns: int | None = None
) -> float:
    """The largest difference between an image's score alone and in a batch, for batch sizes, in every position.

    Only images with as many and as large patches as the first are taken; batches are filled up from the start where
    there are fewer of them than places. least: see `scores`. turns: how many images take each position in turn; None
    for all of them.
    """
    images = [patches for patches in images if patches.shape == images[0].shape]
    alone, worst = scores(backend, images, least), 0.0
    for size in sizes:
        for turn in range(min(size, len(images), turns or size)):
            order = [(i + turn) % len(images) for i in range(size)]
            scored = backend.infer(np.stack([images[i] for i in order])).scores
            worst = max(worst, float(np.abs(alone[order] - scored).max()))
    return worst
