"""Images that the service's tests send."""

from __future__ import annotations

import cv2
import numpy as np


def picture(seed: int, ending: str = ".jpg", side: int = 96) -> bytes:
    """A smooth random image file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.imencode(ending, cv2.resize(coarse, (side, side)))[1].tobytes()
