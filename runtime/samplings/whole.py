"""No patches and no view: the image itself, whatever its size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .base import VIEW, Pixels, Sampling, pad_to

LONGEST = 4096  # pixels; a network's memory goes with them, about 300 bytes each with ResNet50
_MOST = 1 << 16
_SHORTEST = 2  # of which a half can be made
_TRIAL = 64


@dataclass(frozen=True)
class Whole(Sampling):
    """The one patch of an image is the image, as it is; `patch` is 0.

    longest: side in pixels; an image with a longer one is refused. One of a single pixel's width is padded to 2.
    """

    patch: int = 0
    longest: int = LONGEST
    method = "whole"
    summary = "the whole image at full resolution"
    patched = False
    sees_whole = True

    def __post_init__(self) -> None:
        bare = (self.patch, self.starts, self.view, self.windows) == (0, (0,), 0, 0)
        if not (bare and VIEW <= self.longest <= _MOST):
            raise self._unfit(f"patch {self.patch}, longest {self.longest}; expected 0, and {VIEW} to {_MOST}")

    @classmethod
    def usual(cls, patch: int) -> Whole:
        """Images of up to 4096 pixels a side, whatever the backbone's patch."""
        return cls()

    @property
    def largest_window(self) -> int:
        """See Sampling."""
        return VIEW

    def patch_size(self, height: int, width: int) -> tuple[int, int]:
        """See Sampling: the image's own."""
        return self.frame_size(height, width)

    def frame_size(self, height: int, width: int) -> tuple[int, int]:
        """See Sampling."""
        return max(height, _SHORTEST), max(width, _SHORTEST)

    def trial(self) -> Pixels:
        """See Sampling."""
        return np.zeros((1, _TRIAL, _TRIAL, 3), np.uint8)

    def axis_starts(self, side: int) -> tuple[int, ...]:
        """See Sampling."""
        return self.starts

    def frame(self, image: Pixels) -> Pixels:
        """See Sampling."""
        return pad_to(image, _SHORTEST)

    def refusal(self, height: int, width: int) -> str:
        """See Sampling."""
        if max(height, width) <= self.longest:
            return ""
        return f"{width}x{height}; expected sides of up to {self.longest} pixels; scale it down"

    def __str__(self) -> str:
        return f"whole, at full resolution, up to {self.longest}x{self.longest} pixels"
