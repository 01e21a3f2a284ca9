"""Images with opinion scores, of which banks and regressors are made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import PscrError, Status
from .ordered import in_order
from .samplings import Pixels
from .score_scale import ScoreScale
from .scorer import Scorer

Floats = NDArray[np.float64]
LARGEST_LABEL = 1e9  # either side of 0: what is made of labels is kept in single precision


class Labelled(NamedTuple):
    """An image and what people said of it: its name, its path, its opinion score."""

    name: str
    path: str | os.PathLike[str]
    score: float


def check_labels(labels: Sequence[float], scale: ScoreScale | None, fewest: int) -> tuple[Floats, ScoreScale]:
    """Labels as numbers [N], and their scale: the one given, else an opinion score within the labels' own range.

    Raises:
        PscrError: INVALID_ARGUMENT: fewer than `fewest`, all the same, not finite, beyond `LARGEST_LABEL`, or
            outside of the scale's range.
    """
    scores = np.array(labels, np.float64)
    if len(scores) < fewest or not np.isfinite(scores).all() or np.ptp(scores) == 0:
        found = f"{len(scores)} images with labels {scores[:5].tolist()}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected {fewest} or more, finite and not all the same")
    lowest, highest = float(scores.min()), float(scores.max())
    if max(-lowest, highest) > LARGEST_LABEL:
        found = f"labels from {lowest:g} to {highest:g}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected {-LARGEST_LABEL:g} to {LARGEST_LABEL:g}")
    scale = scale or ScoreScale("opinion score", "labelled images", (lowest, highest))
    if lowest < scale.range[0] or highest > scale.range[1]:
        found = f"labels from {lowest:g} to {highest:g}, and a scale of {scale.range[0]:g} to {scale.range[1]:g}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; give a --range that holds them all")
    return scores, scale


def patches_of(scorer: Scorer, images: Sequence[Labelled], step: Callable[[], None]) -> Iterable[Pixels]:
    """The patches [1,P,S,S,3] of each image in order, decoded beside what the caller does with them."""
    for image, found in in_order(lambda image: scorer.patches(image.path), images, workers=2, ahead=4):
        if isinstance(found, PscrError):
            raise PscrError(found.status, f"{found.message} (labelled {image.score:g})")
        yield found[None]
        step()
