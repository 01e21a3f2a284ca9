"""The whole view in one pass: what the packaged models see."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .base import VIEW, WINDOWS, Sampling

TILE = 512  # pixels
_TILES = 2  # at most, on an axis, without a view


@dataclass(frozen=True)
class Dense(Sampling):
    """The whole window where no side is above the patch, whatever the backbone's own patch.

    Without a view a longer side is covered by two patches, each in the middle of its half of that side, so that an
    image gives one, two or four patches.
    """

    method = "dense"
    summary = "the whole window in one pass"
    sees_whole = True

    @classmethod
    def usual(cls, patch: int) -> Dense:
        """Tiles of 512 pixels."""
        return cls(TILE, (0,), TILE, view=VIEW, windows=WINDOWS)

    @property
    def most(self) -> int:
        """See Sampling."""
        return self.windows * self.count if self.view else _TILES**2

    def axis_starts(self, side: int) -> tuple[int, ...]:
        """See Sampling."""
        tiles = min(_TILES, -(-side // self.patch))
        middles = (side * (2 * tile + 1) // (2 * tiles) for tile in range(tiles))
        return tuple(min(max(middle - self.patch // 2, 0), side - self.patch) for middle in middles)

    def patches(self, height: int, width: int) -> int:
        """See Sampling."""
        if self.view:
            return super().patches(height, width)
        return math.prod(len(self.axis_starts(side)) for side in self.frame_size(height, width))
