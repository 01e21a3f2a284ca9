"""Make the degraded copies in examples/images from the originals there: `python examples/degrade.py`.

Each copy shows one fault at a strength that nobody overlooks, so that `make demo` has something to tell apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
IMAGES = Path(__file__).parent / "images"


def blur(image: Pixels) -> Pixels:
    """Gaussian blur, sigma 3 pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 3), np.uint8)


def noise(image: Pixels) -> Pixels:
    """White Gaussian noise, sigma 40 of 255, from a fixed seed."""
    grains = np.random.default_rng(0).normal(0, 40, image.shape)
    return np.clip(np.rint(image + grains), 0, 255).astype(np.uint8)


def lowres(image: Pixels) -> Pixels:
    """Reduced to an eighth of its sides and enlarged again."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def same(image: Pixels) -> Pixels:
    """Unchanged: the fault is the JPEG quality that it is written with."""
    return image


# copy: original, what is done to its pixels, JPEG quality of the copy
COPIES: dict[str, tuple[str, Callable[[Pixels], Pixels], int]] = {
    "astronaut-blur.jpg": ("astronaut.jpg", blur, 92),
    "chelsea-noise.jpg": ("chelsea.jpg", noise, 85),
    "coffee-jpeg.jpg": ("coffee.jpg", same, 6),
    "rocket-lowres.jpg": ("rocket.jpg", lowres, 92),
}


def degrade(copy: str) -> bytes:
    """The JPEG file of one of `COPIES`, made from its original in examples/images."""
    original, change, quality = COPIES[copy]
    image = cv2.imdecode(np.fromfile(IMAGES / original, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"{IMAGES / original}: cannot be decoded; check out examples/images again")
    _, data = cv2.imencode(".jpg", change(np.asarray(image, np.uint8)), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


if __name__ == "__main__":
    for name in COPIES:
        (IMAGES / name).write_bytes(degrade(name))
        print(f"wrote {IMAGES / name}")
