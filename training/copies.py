"""Altered copies of training images: distorted ones, which people like less by a known amount, and rescaled ones.

A network that only ever sees pictures as they were published learns what sets pictures apart, not what damage does to
one. A copy is compared with its own original and with nothing else: the difference that it should show is what people
said of that kind of damage (the severities of KADID-10k, see distortions.py), or none where only the number of pixels,
the compression or the crop has changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..runtime.image import load
from ..runtime.samplings import Pixels
from .databases import Item
from .distortions import LEVELS, PRISTINE, TYPES, distort, severity

_LARGEST, _SMALLEST = 4.0, 1.3  # times that a rescaled copy is larger
_NARROWEST = 0.75  # share of the longer side that a rescaled copy keeps
_WORST = 1.0  # of the scale that people judged damage on


@dataclass(frozen=True)
class Copy:
    """One copy of one image; the same for the same image and number.

    number: 0, 2, 4 ... are rescaled, 1, 3, 5 ... distorted. seed: decides what happens to the image.
    """

    item: Item
    number: int
    seed: int

    @property
    def distorted(self) -> bool:
        """Whether the copy is damaged, and not only rescaled."""
        return self.number % 2 == 1

    @property
    def kept(self) -> float:
        """The share of the original's quality that people find left, 0 to 1."""
        if not self.distorted:
            return 1.0
        kind, level, _ = self._damage()
        return min(max((severity(kind, level) - _WORST) / (PRISTINE - _WORST), 0.0), 1.0)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the copy of an image of this size."""
        if self.distorted:
            return height, width
        factor, keep, _ = self._rescaling()
        tall, wide = self._cut(height, width, keep)
        return max(1, round(tall * factor)), max(1, round(wide * factor))

    def pixels(self) -> Pixels:
        """The copy, [H,W,3] uint8 RGB. Errors as `load` of the original."""
        image = load(self.item.path)
        if self.distorted:
            return distort(image, *self._damage())
        _, keep, quality = self._rescaling()
        tall, wide = self._cut(image.shape[0], image.shape[1], keep)
        top, left = (image.shape[0] - tall) // 2, (image.shape[1] - wide) // 2
        height, width = self.size(*image.shape[:2])
        part = image[top : top + tall, left : left + wide, ::-1]
        larger = cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)
        data = cv2.imencode(".jpg", larger, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)

    def _damage(self) -> tuple[str, int, int]:
        """Kind, level and seed of a distortion."""
        rng = np.random.default_rng([self.seed, self.number])
        return TYPES[int(rng.integers(len(TYPES)))].name, int(rng.integers(1, LEVELS + 1)), int(rng.integers(1 << 31))

    def _rescaling(self) -> tuple[float, float, int]:
        """How many times larger, the share of the longer side that is kept, and the quality of a JPEG of it."""
        rng = np.random.default_rng([self.seed, self.number])
        factor = float(np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST))))
        return factor, float(rng.uniform(_NARROWEST, 1.0)), int(rng.integers(90, 98))

    @staticmethod
    def _cut(height: int, width: int, keep: float) -> tuple[int, int]:
        """The part that is kept of an image: less of its longer side, so that many aspects are seen."""
        if height >= width:
            return max(1, round(height * keep)), width
        return height, max(1, round(width * keep))


def pixels(source: Item | Copy) -> Pixels:
    """The pixels of an image or of a copy, [H,W,3] uint8 RGB. Errors as `load`."""
    return source.pixels() if isinstance(source, Copy) else load(source.path)
