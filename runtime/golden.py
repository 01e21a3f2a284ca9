"""Images made by a formula, so that an installed model can prove that it still gives the scores it gave at export."""

from __future__ import annotations

from typing import Any

import numpy as np

from .samplings import Pixels

IMAGES = "formula-1"


def golden_images() -> dict[str, Pixels]:
    """The images of "formula-1" by name, [H,W,3] uint8 RGB: integer arithmetic only, the same on every machine."""
    return {
        "rings 512x512": _rings(512, 512),
        "hash noise 420x300": _noise(300, 420),
        "stripes 640x384": _stripes(384, 640),
        "small rings 100x100": _rings(100, 100),
    }


def first() -> Pixels:
    """The first of them, by whose terms a bank knows its model again."""
    return _rings(512, 512)


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
