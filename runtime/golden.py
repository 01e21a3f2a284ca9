"""Images made by a formula, so that an installed model can prove that it still gives the scores it gave at export."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import PscrError, Status
from .sampling import Pixels

if TYPE_CHECKING:
    from .scorer import Scorer

IMAGES = "formula-1"
TOLERANCE = 1e-3


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
        PscrError: MODEL_INVALID where the manifest promises nothing or in a form this version does not know.
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
    return [
        (name, expected, scorer.score(image, pixel_format="rgb").score)
        for (name, image), expected in zip(images.items(), promised, strict=True)
    ]


def promise(scores: list[float]) -> dict[str, Any]:
    """The manifest's `golden` entry for the scores of `golden_images`, in their order."""
    return {"images": IMAGES, "scores": [round(score, 6) for score in scores], "tolerance": TOLERANCE}


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
