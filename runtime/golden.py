"""Images made by a formula, so that an installed model can prove that it still gives the scores it gave at export."""

from __future__ import annotations

import math
import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import PscrError, Status
from .sampling import Pixels

if TYPE_CHECKING:
    from .manifest import Manifest
    from .scorer import Scorer

IMAGES = "formula-1"
MOST = 0.01  # of the score's range: with a larger tolerance, wrong scores would pass
_MOST_INT8 = 0.03  # int8 itself moves scores by as much, and differently on another CPU or GPU
_DIGITS = 1.005  # a tolerance is written with three digits


def golden_images() -> dict[str, Pixels]:
    """The images of "formula-1" by name, [H,W,3] uint8 RGB: integer arithmetic only, the same on every machine."""
    return {
        "rings 512x512": _rings(512, 512),
        "hash noise 420x300": _noise(300, 420),
        "stripes 640x384": _stripes(384, 640),
        "small rings 100x100": _rings(100, 100),
    }


def check(scorer: Scorer) -> list[tuple[str, float, float]]:
    """Score the golden images: (name, promised score, found score) of each.

    Raises:
        PscrError: MODEL_INVALID where the manifest promises nothing or in a form this version does not know, or with
            a tolerance that promises nothing.
    """
    golden = scorer.manifest.golden or {}
    images = golden_images()
    try:
        promised = [float(score) for score in golden["scores"]]
        if golden["images"] != IMAGES or len(promised) != len(images) or not all(map(math.isfinite, promised)):
            raise ValueError("other images, or not a finite score for each")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise PscrError(
            Status.MODEL_INVALID,
            f"{scorer.manifest.name}: the manifest has no golden scores of {IMAGES!r}; export it again",
        ) from error
    tolerance(scorer.manifest)
    return [
        (name, expected, scorer.score(image, pixel_format="rgb").score)
        for (name, image), expected in zip(images.items(), promised, strict=True)
    ]


def tolerance(manifest: Manifest) -> float:
    """How far a found score may be from the promised one, in score units.

    Raises:
        PscrError: MODEL_INVALID for anything but a number above 0 and of at most 1 % of the score's range, for a model
            in int8 3 %.
    """
    found: Any = (manifest.golden or {}).get("tolerance")
    low, high = manifest.score.range
    share = _MOST_INT8 if manifest.precision == "int8" else MOST
    number = isinstance(found, (int, float)) and not isinstance(found, bool)
    if number and 0 < found <= share * (high - low) * _DIGITS:  # before float(), for which an int may be too large
        return float(found)
    raise PscrError(
        Status.MODEL_INVALID,
        f"{manifest.name}: the golden scores have the tolerance {reprlib.repr(found)}; expected a number above 0 "
        f"and at most {share * (high - low):.3g}, {share:.0%} of the range {low:g} to {high:g}; export it again",
    )


def promise(scores: list[float], tolerance: float) -> dict[str, Any]:
    """The manifest's `golden` entry for the scores of `golden_images`, in their order.

    tolerance: how far they may be off elsewhere, in score units (see `pscr.export.tolerance`).
    """
    return {"images": IMAGES, "scores": [round(score, 6) for score in scores], "tolerance": tolerance}


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width].astype(np.int64)
    return y, x


def _rings(height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    squared = (2 * y - height) ** 2 + (2 * x - width) ** 2
    bands = (squared * 12 // (height * width)) % 4 * 40
    return np.stack([x * 255 // width, y * 255 // height, 255 - bands], -1).astype(np.uint8)


def _noise(height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    value = (x * 73856093) ^ (y * 19349663)
    value = (value ^ (value >> 13)) * 1274126177 & 0xFFFFFFFF
    return np.stack([value >> 24, value >> 16 & 255, value >> 8 & 255], -1).astype(np.uint8)


def _stripes(height: int, width: int) -> Pixels:
    y, x = _grid(height, width)
    checks = (x // 32 + y // 24) % 2 * 160
    return np.stack([checks + 40, (x // 5) % 2 * 90 + 80, (x + y) % 256], -1).astype(np.uint8)
