"""Patches on a grid of fixed starts: the paper's overlapping sampling, and the one without overlap beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .base import VIEW, WINDOWS, Sampling

PUBLISHED = {224: (0, 150, 288), 299: (0, 100, 213)}  # patch: starts on 512 pixels; 150 is not the middle


@dataclass(frozen=True)
class Ops(Sampling):
    """Overlapping patch sampling: every pair of starts, row-major; on other sides they scale with the room to move."""

    method = "ops"
    summary = "overlapping patches, 3x3 on each window"

    @classmethod
    def usual(cls, patch: int) -> Ops:
        """The published grid for a patch of 224 or 299 pixels."""
        return cls(patch, PUBLISHED[patch], view=VIEW, windows=WINDOWS)

    def axis_starts(self, side: int) -> tuple[int, ...]:
        """See Sampling: scaled by the room to move, halves rounded up."""
        if side == self.reference_side:
            return self.starts
        room = self.reference_side - self.patch
        scale = (side - self.patch) / room if room else 0.0
        return tuple(math.floor(start * scale + 0.5) for start in self.starts)


@dataclass(frozen=True)
class Nops(Ops):
    """Patches side by side from the top left, as many as a window holds: 2x2 of 224 pixels, a single one of 299.

    On smaller sides the starts scale with the room to move as everywhere; below 448 pixels the patches then overlap.
    What is beside the last patch of a window is not seen: that is what the paper compares OPS with.
    """

    method = "nops"
    summary = "patches side by side"

    @classmethod
    def usual(cls, patch: int) -> Nops:
        """As many as 512 pixels hold."""
        return cls(patch, tuple(range(0, VIEW - patch + 1, patch)), view=VIEW, windows=WINDOWS)
