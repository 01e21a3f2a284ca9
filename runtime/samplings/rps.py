"""The paper's random patch sampling."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from .base import VIEW, WINDOWS, Pixels, Sampling


@dataclass(frozen=True)
class Rps(Sampling):
    """`draws` patches of each window, at places drawn from a hash of the window's own pixels.

    Different for every image, the same whenever and wherever the image is scored.
    """

    method = "rps"
    summary = "random patches, nine of each window"
    by_size = False
    draws: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1:
            raise self._unfit(f"draws {self.draws}; expected 1 or more")

    @classmethod
    def usual(cls, patch: int) -> Rps:
        """Nine patches anywhere in each window."""
        return cls(patch, view=VIEW, windows=WINDOWS, draws=9)

    @property
    def count(self) -> int:
        """See Sampling."""
        return self.draws

    def window_corners(self, window: Pixels) -> list[tuple[int, int]]:
        """See Sampling. A hash is the one source of randomness that every platform and library version agrees on."""
        height, width = window.shape[:2]
        seed = hashlib.blake2b(np.ascontiguousarray(window).data, key=repr(window.shape).encode()).digest()
        drawn = np.frombuffer(hashlib.shake_128(seed).digest(8 * self.draws), "<u4").reshape(-1, 2).astype(np.uint64)
        room = np.array([height - self.patch + 1, width - self.patch + 1], np.uint64)
        return [(int(top), int(left)) for top, left in drawn * room >> np.uint64(32)]
