"""The images that are timed: JPEGs of one size, made the same way every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..runtime.errors import PscrError, Status
from ..runtime.golden import golden_images
from ..runtime.image import load

SIDE = 512
QUALITY = 90


def jpegs(files: Sequence[Path] = (), side: int = SIDE) -> list[bytes]:
    """Each file (or without files, each golden image) as a JPEG of side x side pixels.

    Scaled until it covers the square, by pixel area where that makes it smaller and bilinearly where larger, cut in
    the centre, and encoded with quality 90.

    Raises:
        PscrError: as `load` for a file that is no image; INTERNAL where OpenCV cannot encode.
    """
    pictures = [load(file) for file in files] or list(golden_images().values())
    return [_encode(square(picture, side)) for picture in pictures]


def square(image: np.ndarray, side: int) -> np.ndarray:
    """[H,W,3] uint8 to [side,side,3]."""
    height, width = image.shape[:2]
    scale = side / min(height, width)
    tall, wide = max(side, round(height * scale)), max(side, round(width * scale))
    scaled = cv2.resize(image, (wide, tall), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (tall - side) // 2, (wide - side) // 2
    return np.ascontiguousarray(scaled[top : top + side, left : left + side])


def _encode(pixels: np.ndarray) -> bytes:
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise PscrError(Status.INTERNAL, "OpenCV cannot encode a JPEG; install opencv-python-headless again")
    return encoded.tobytes()
