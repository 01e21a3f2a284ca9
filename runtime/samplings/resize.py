"""No patches: the image scaled to one size, the paper's contrastive regression (CR) and direct regression (NR)."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Sampling

SIDES = {224: 256, 299: 320}  # patch: the short side that an image is resized to


@dataclass(frozen=True)
class Resize(Sampling):
    """The image is scaled until its short side has `resized` pixels, and cut at the starts."""

    method = "resize"
    summary = "no patches: the image scaled down, and its centre"
    patched = False
    resized: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resized < self.patch:
            raise self._unfit(f"resized {self.resized}; expected a side of at least the patch, {self.patch}")

    @classmethod
    def usual(cls, patch: int) -> Resize:
        """The short side to 256 pixels (patch 224) or 320 (patch 299), then the crop in the centre."""
        margin = (SIDES[patch] - patch) // 2
        return cls(patch, (margin,), patch + 2 * margin, resized=SIDES[patch])

    @property
    def scales_to(self) -> int:
        """See Sampling."""
        return self.resized

    def axis_starts(self, side: int) -> tuple[int, ...]:
        """See Sampling: in the middle, halves rounded up."""
        room = self.reference_side - self.patch
        scale = (side - self.patch) / room if room else 0.0
        return tuple(int(start * scale + 0.5) for start in self.starts)

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """See Sampling: sides rounded down as torchvision's Resize does."""
        short = min(height, width)
        return _scaled(height, self.resized, short), _scaled(width, self.resized, short)

    def __str__(self) -> str:
        return f"scaled to a shorter side of {self.resized}, {self._patches_in_words()} in its centre"


def _scaled(side: int, target: int, short: int) -> int:
    return max(target, side * target // short)
