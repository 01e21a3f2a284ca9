"""Patch sampling: which pixels of an image the network sees (PSCR section III-A, arXiv 2312.05897).

Training and serving cut with this code, so that both see the same pixels.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import PscrError, Status

Pixels = NDArray[np.uint8]
METHODS = ("ops",)


@dataclass(frozen=True)
class Sampling:
    """How patches are cut; it travels in the manifest.

    method: "ops", overlapping patch sampling: every pair of starts, row-major, at full resolution.
    patch: side of a square patch, in pixels.
    starts: the patches' first pixels on one axis of an image whose side is `reference_side`. The published
        values for 512 pixels are (0, 150, 288) with 224-pixel patches and (0, 100, 213) with 299-pixel ones.
    reference_side: the side that `starts` was written for; for other sides the starts scale with the room to move.
    """

    method: str
    patch: int
    starts: tuple[int, ...]
    reference_side: int = 512

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise PscrError(
                Status.MODEL_INVALID, f"sampling method {self.method!r} is not known; expected one of {METHODS}"
            )
        room = self.reference_side - self.patch
        if self.patch < 1 or room < 0 or not self.starts or any(not 0 <= s <= room for s in self.starts):
            raise PscrError(
                Status.MODEL_INVALID,
                f"sampling does not fit: patch {self.patch}, starts {self.starts}, side {self.reference_side}",
            )

    @property
    def count(self) -> int:
        """Patches per image (P)."""
        return len(self.starts) ** 2

    def axis_starts(self, side: int) -> tuple[int, ...]:
        """The starts on an axis of `side` pixels, `side` >= `patch`: scaled by the room to move, halves rounded up."""
        if side == self.reference_side:
            return self.starts
        room = self.reference_side - self.patch
        scale = (side - self.patch) / room if room else 0.0
        return tuple(math.floor(start * scale + 0.5) for start in self.starts)

    def pads(self, height: int, width: int) -> bool:
        """Whether an image of this size is padded before patches are cut."""
        return min(height, width) < self.patch

    def cut(self, image: Pixels, out: Pixels | None = None) -> Pixels:
        """Cut the patches of one image.

        image: [H,W,3] uint8. A side shorter than the patch is first padded to it by reflection, evenly on both ends.
        out: [P,S,S,3] uint8, C-contiguous, to be filled in place of a new array.

        Returns [P,S,S,3] uint8 in row-major order of the grid, in the channel order of `image`.
        Source: the OPS grid of the published code; the rule for sides other than 512 is this project's.
        """
        size = self.patch
        height, width = image.shape[:2]
        if self.pads(height, width):
            image = pad_to(image, size)
            height, width = image.shape[:2]
        if out is None:
            out = np.empty((self.count, size, size, 3), np.uint8)
        corners = ((top, left) for top in self.axis_starts(height) for left in self.axis_starts(width))
        for patch, (top, left) in zip(out, corners, strict=True):
            patch[...] = image[top : top + size, left : left + size]
        return out

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `sampling` entry."""
        return {**asdict(self), "starts": list(self.starts)}

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Sampling:
        """Read the manifest's `sampling` entry.

        Raises:
            PscrError: MODEL_INVALID where a key is missing, of the wrong type, or does not fit the others.
        """
        try:
            starts = tuple(int(start) for start in entry["starts"])
            return cls(str(entry["method"]), int(entry["patch"]), starts, int(entry["reference_side"]))
        except (KeyError, TypeError, ValueError) as error:
            raise PscrError(
                Status.MODEL_INVALID,
                f"manifest 'sampling' is not usable ({error!r}); expected method, patch, starts, reference_side",
            ) from error


def ops(patch: int) -> Sampling:
    """The published overlapping patch sampling for a patch of 224 or 299 pixels: a 3x3 grid on 512x512."""
    return Sampling("ops", patch, {224: (0, 150, 288), 299: (0, 100, 213)}[patch])


def pad_to(image: Pixels, side: int) -> Pixels:
    """Pad [H,W,3] so that neither side is below `side`: by reflection without the edge, evenly on both ends."""
    down, right = max(side - image.shape[0], 0), max(side - image.shape[1], 0)
    padded = cv2.copyMakeBorder(
        image, down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_REFLECT_101
    )
    return np.asarray(padded, np.uint8)
