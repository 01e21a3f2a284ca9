"""What a training step sees: two views of each image of a batch, and the class that each image is of.

The first half of a batch is synthetic: an image is distorted by one of the 25 types in one of five levels, or left
pristine, and its class is that of the distortion. The second half is authentic: whatever damage an image has is its
own, and so is its class. Of the two views of an image one is cut from it at full and the other at half scale.

Everything is drawn from (seed, step, place in the batch), so a run that was stopped sees what it would have seen.
Beside the authors' code: an image is cut to a random window of twice the crop before it is distorted, which bounds
time and memory whatever the size of the photographs; the half scale is the mean of 2x2 pixels; images take turns in
one order after the other, in place of two loaders.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...runtime.ordered import results
from ...runtime.samplings import Pixels
from ..distortions import LEVELS, TYPES, distort
from .images import Images

SYNTHETIC = len(TYPES) * LEVELS + 1  # classes: pristine, then every type in every level
COLOURS = ("rgb", "gray", "lab", "hsv", "local")
_ORDER, _VIEW = 0, 1  # what a generator is for
_SIGMA, _HALF_WIDTH = 7 / 6, 3  # of the local mean


class Batch(NamedTuple):
    """views [n,2,S,S,3] uint8 of the images that this process computes, classes [B] int64 of all images."""

    views: Pixels
    classes: NDArray[np.int64]


class Views:
    """The batches of a run. batch: images of each, an even number. crop: S, the side of a view in pixels."""

    def __init__(self, images: Images, batch: int, crop: int, seed: int) -> None:
        self.images, self.batch, self.crop, self.seed = images, batch, crop, seed

    def batches(self, first: int, end: int, own: slice, workers: int) -> Generator[Batch, None, None]:
        """Those of the steps from `first` to before `end`, decoded ahead in `workers` threads; to be closed.

        own: the places of a batch that this process computes.

        Raises:
            PscrError: see `Images.pixels`.
        """
        places = range(self.batch)[own]
        slots = ((step, place) for step in range(first, end) for place in places)
        views = results(lambda slot: self.pair(*slot), slots, workers, ahead=2 * len(places) + workers)
        try:
            for step in range(first, end):
                yield Batch(np.stack([next(views) for _ in places]), self.classes(step))
        finally:
            views.close()

    def image_of(self, step: int, place: int) -> int:
        """The image in a place of a step's batch: one shuffled order of all images follows another."""
        epoch, index = divmod(step * self.batch + place, len(self.images))
        return int(_order(self.seed, epoch, len(self.images))[index])

    def classes(self, step: int) -> NDArray[np.int64]:
        """The class of each image of a batch, [B]: below `SYNTHETIC` that of a distortion, above an image's own."""
        half = self.batch // 2
        distorted = [self._drawn(step, place)[0] for place in range(half)]
        own = [SYNTHETIC + self.image_of(step, place) for place in range(half, self.batch)]
        return np.array(distorted + own, np.int64)

    def pair(self, step: int, place: int) -> Pixels:
        """The two views [2,S,S,3] uint8 of the image in a place of a batch; either may be that of half scale."""
        kind, rng = self._drawn(step, place)
        image = window(self.images.pixels(self.image_of(step, place)), 2 * self.crop, rng)
        if place < self.batch // 2:
            image = distorted(image, kind, int(rng.integers(1 << 31)))
        halved = int(rng.integers(2))
        return np.stack([view(half_scale(image) if each == halved else image, self.crop, rng) for each in range(2)])

    def _drawn(self, step: int, place: int) -> tuple[int, np.random.Generator]:
        """The distortion's class, and the generator of all that follows."""
        rng = np.random.default_rng([self.seed, _VIEW, step, place])
        return int(rng.integers(SYNTHETIC)), rng


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of the images in one pass over them, [count]."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)


def distorted(image: Pixels, kind: int, seed: int) -> Pixels:
    """An image of one of the `SYNTHETIC` classes; class 0 is pristine, the image itself."""
    if not kind:
        return image
    number, level = divmod(kind - 1, LEVELS)
    return distort(image, TYPES[number].name, level + 1, seed)


def window(image: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """A random part of an image with sides of `side` at most, in memory of its own: the image can go."""
    top, left = (int(rng.integers(max(length - side, 0) + 1)) for length in image.shape[:2])
    return image[top : top + side, left : left + side].copy()


def half_scale(image: Pixels) -> Pixels:
    """Half of each side, rounded down and at least 1: the mean of the pixels that become one."""
    height, width = (max(1, length // 2) for length in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def view(image: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """A random crop [S,S,3] of an image, perhaps mirrored, in a random colour space; black around a small image."""
    part = window(image, side, rng)
    height, width = part.shape[:2]
    framed = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    framed[top : top + height, left : left + width] = part
    if rng.integers(2):
        framed = framed[:, ::-1]
    return recoloured(np.ascontiguousarray(framed), COLOURS[int(rng.integers(len(COLOURS)))])


def recoloured(image: Pixels, colours: str) -> Pixels:
    """An RGB image [H,W,3] uint8 in one of `COLOURS`: rgb is itself; local: less its local mean, over all of 0..255."""
    if colours == "gray":
        return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2).astype(np.uint8)
    if colours == "lab":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.uint8)
    if colours == "hsv":
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), np.uint8)
    if colours == "local":
        values, width = image.astype(np.float32), 2 * _HALF_WIDTH + 1
        values -= cv2.GaussianBlur(values, (width, width), _SIGMA)
        low, high = float(values.min()), float(values.max())
        return np.rint((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    return image
