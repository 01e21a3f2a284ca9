"""Whether an installed model still gives the scores that it gave at export, on images that a formula makes."""

from __future__ import annotations

import math
import reprlib
from typing import Any

import numpy as np

from . import golden
from .errors import PscrError, Status
from .manifest import Manifest
from .reference import Reference
from .samplings import Pixels
from .scorer import Scorer

MOST = 0.01  # of the score's range: with a larger tolerance, wrong scores would pass
_MOST_INT8 = 0.03  # int8 itself moves scores by as much, and differently on another CPU or GPU
_DIGITS = 1.005  # a tolerance is written with three digits


def check(scorer: Scorer) -> list[tuple[str, float, float]]:
    """Score the golden images: (name, promised score, found score) of each.

    Raises:
        PscrError: MODEL_INVALID where the manifest promises nothing or in a form this version does not know, or with
            a tolerance that promises nothing.
    """
    entry = scorer.manifest.golden or {}
    images = golden.golden_images()
    try:
        promised = [float(score) for score in entry["scores"] if _is_number(score)]
        whole = len(promised) == len(entry["scores"]) == len(images) and all(map(math.isfinite, promised))
        if entry["images"] != golden.IMAGES or not whole:
            raise ValueError("other images, or not a finite score for each")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise PscrError(
            Status.MODEL_INVALID,
            f"{scorer.manifest.name}: the manifest has no golden scores of {golden.IMAGES!r}; export it again",
        ) from error
    tolerance(scorer.manifest)
    return [
        (name, expected, golden_score(scorer, image))
        for (name, image), expected in zip(images.items(), promised, strict=True)
    ]


def golden_score(scorer: Scorer, image: Pixels) -> float:
    """The score of a golden image [H,W,3] uint8 RGB; with a full-reference model against an original whose features
    are all 0, which is what the graph's own score stands for.

    Raises:
        PscrError: those of `Scorer.score`.
    """
    reference = None
    if scorer.head.needs_reference:
        height, width = image.shape[:2]
        features = scorer.head.signature.constants["weights"].shape[1]
        reference = Reference(np.zeros(features, np.float32), width, height)
    return scorer.score(image, pixel_format="rgb", reference=reference).score


def tolerance(manifest: Manifest) -> float:
    """How far a found score may be from the promised one, in score units.

    Raises:
        PscrError: MODEL_INVALID for anything but a number above 0 and of at most 1 % of the score's range, for a model
            in int8 3 %.
    """
    found: Any = (manifest.golden or {}).get("tolerance")
    low, high = manifest.score.range
    share = _MOST_INT8 if manifest.precision == "int8" else MOST
    most = share * (high - low) * _DIGITS
    if _is_number(found) and 0 < found <= most:  # before float(), for which an int may be too large
        return float(found)
    raise PscrError(
        Status.MODEL_INVALID,
        f"{manifest.name}: the golden scores have the tolerance {reprlib.repr(found)}; expected a number above 0 "
        f"and at most {share * (high - low):.3g}, {share:.0%} of the range {low:g} to {high:g}; export it again",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
