"""Patch sampling: which pixels of an image the network sees (PSCR section III-A, arXiv 2312.05897).

Training and serving cut with this code, so that both see the same pixels.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import PscrError, Status

Pixels = NDArray[np.uint8]
METHODS = ("ops", "nops", "rps", "dense", "resize")
DENSE = 512  # side of a tile
_TILES = 2  # at most, on an axis
RESIZED = {224: 256, 299: 320}  # patch: short side that an image is resized to where no patches are cut (PSCR's CR)


@dataclass(frozen=True)
class Sampling:
    """How patches are cut; it travels in the manifest.

    method: "ops", overlapping patch sampling: every pair of starts, row-major, at full resolution;
        "nops", the same with starts whose patches do not overlap at the reference side;
        "rps", random patch sampling: `draws` patches at full resolution, at places drawn from a hash of the image's
        own pixels: different for every image, the same whenever and wherever the image is scored;
        "dense", the whole image where no side is above the patch; a longer side is covered by two patches, each in
        the middle of its half of that side, so that an image gives one, two or four patches;
        "resize", no patches: the image is scaled until its short side has `resized` pixels, and cut at the starts.
    patch: side of a square patch, in pixels.
    starts: the patches' first pixels on one axis of an image whose side is `reference_side`. The published
        values for 512 pixels are (0, 150, 288) with 224-pixel patches and (0, 100, 213) with 299-pixel ones.
        (0,) with "rps", which does not use it.
    reference_side: the side that `starts` was written for; for other sides the starts scale with the room to move.
    draws: with "rps", how many patches. resized: with "resize", the short side in pixels. Otherwise 0.
    """

    method: str
    patch: int
    starts: tuple[int, ...]
    reference_side: int = 512
    draws: int = 0
    resized: int = 0

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
        drawn, scaled = self.method == "rps", self.method == "resize"
        if (self.draws > 0) != drawn or self.draws < 0 or (self.resized >= self.patch) != scaled or self.resized < 0:
            raise PscrError(
                Status.MODEL_INVALID,
                f"sampling does not fit: method {self.method!r}, draws {self.draws}, resized {self.resized}; expected "
                "draws with rps only, and a side of at least the patch with resize only",
            )

    @property
    def count(self) -> int:
        """Patches of an image of the reference side (P); with all methods but "dense" those of every image."""
        return self.draws or len(self.starts) ** 2

    @property
    def most(self) -> int:
        """The most patches that any image gives."""
        return _TILES**2 if self.method == "dense" else self.count

    def axis_starts(self, side: int) -> tuple[int, ...]:
        """The starts on an axis of `side` pixels, `side` >= `patch`: scaled by the room to move, halves rounded up."""
        if self.method == "dense":
            tiles = min(_TILES, -(-side // self.patch))
            middles = (side * (2 * tile + 1) // (2 * tiles) for tile in range(tiles))
            return tuple(min(max(middle - self.patch // 2, 0), side - self.patch) for middle in middles)
        if side == self.reference_side:
            return self.starts
        room = self.reference_side - self.patch
        scale = (side - self.patch) / room if room else 0.0
        return tuple(math.floor(start * scale + 0.5) for start in self.starts)

    def pads(self, height: int, width: int) -> bool:
        """Whether an image of this size is padded before patches are cut."""
        return not self.resized and min(height, width) < self.patch

    def frame_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what `frame` makes of an image of this size, in pixels."""
        if not self.resized:
            return max(height, self.patch), max(width, self.patch)
        short = min(height, width)
        return _scaled(height, self.resized, short), _scaled(width, self.resized, short)

    def frame(self, image: Pixels) -> Pixels:
        """The image that patches are cut from: padded where it is small, or resized where the method says so.

        image: [H,W,3] uint8. A side shorter than the patch is padded to it by reflection, evenly on both ends. With
        "resize" it is scaled instead, by pixel area where that makes it smaller and bilinearly where larger.
        """
        height, width = image.shape[:2]
        if self.resized:
            tall, wide = self.frame_size(height, width)
            how = cv2.INTER_AREA if tall <= height else cv2.INTER_LINEAR
            return np.asarray(cv2.resize(image, (wide, tall), interpolation=how), np.uint8)
        return pad_to(image, self.patch) if self.pads(height, width) else image

    def corners(self, image: Pixels) -> list[tuple[int, int]]:
        """Where the patches of a framed image [H,W,3] begin: (top, left) of each of the P."""
        height, width = image.shape[:2]
        if not self.draws:
            return [(top, left) for top in self.axis_starts(height) for left in self.axis_starts(width)]
        # A hash is the one source of randomness that every platform and library version agrees on.
        seed = hashlib.blake2b(np.ascontiguousarray(image).data, key=repr(image.shape).encode()).digest()
        drawn = np.frombuffer(hashlib.shake_128(seed).digest(8 * self.draws), "<u4").reshape(-1, 2).astype(np.uint64)
        room = np.array([height - self.patch + 1, width - self.patch + 1], np.uint64)
        return [(int(top), int(left)) for top, left in drawn * room >> np.uint64(32)]

    def cut(self, image: Pixels, out: Pixels | None = None) -> Pixels:
        """Cut the patches of one image.

        image: [H,W,3] uint8 of any size; it is framed first, see `frame`.
        out: [P,S,S,3] uint8, C-contiguous, to be filled in place of a new array.

        Returns [P,S,S,3] uint8, the grid in row-major order, in the channel order of `image`.
        Source: the OPS grid of the published code; the rule for sides other than 512 is this project's.
        """
        size, image = self.patch, self.frame(image)
        corners = self.corners(image)
        if out is None:
            out = np.empty((len(corners), size, size, 3), np.uint8)
        for patch, (top, left) in zip(out, corners, strict=True):
            patch[...] = image[top : top + size, left : left + size]
        return out

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `sampling` entry; `draws` and `resized` stand in it where they are used."""
        entry = {**asdict(self), "starts": list(self.starts)}
        return {key: value for key, value in entry.items() if value or key not in _OPTIONAL}

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Sampling:
        """Read the manifest's `sampling` entry.

        Raises:
            PscrError: MODEL_INVALID where a key is missing, of the wrong type, or does not fit the others.
        """
        try:
            starts = tuple(int(start) for start in entry["starts"])
            optional = {key: int(entry[key]) for key in _OPTIONAL if key in entry}
            return cls(str(entry["method"]), int(entry["patch"]), starts, int(entry["reference_side"]), **optional)
        except (KeyError, TypeError, ValueError) as error:
            raise PscrError(
                Status.MODEL_INVALID,
                f"manifest 'sampling' is not usable ({error!r}); expected method, patch, starts, reference_side",
            ) from error


def ops(patch: int) -> Sampling:
    """The published overlapping patch sampling for a patch of 224 or 299 pixels: a 3x3 grid on 512x512."""
    return Sampling("ops", patch, {224: (0, 150, 288), 299: (0, 100, 213)}[patch])


def nops(patch: int) -> Sampling:
    """Patches side by side from the top left, as many as 512x512 holds: 2x2 of 224 pixels, a single one of 299.

    On other sizes the starts scale with the room to move as everywhere; below 448 pixels the patches then overlap.
    """
    return Sampling("nops", patch, tuple(range(0, 512 - patch + 1, patch)))


def rps(patch: int) -> Sampling:
    """The paper's random patch sampling: nine patches anywhere."""
    return Sampling("rps", patch, (0,), draws=9)


def dense(patch: int = DENSE) -> Sampling:
    """The whole image in one pass, in tiles of 512 pixels where it is larger, whatever the backbone's own patch."""
    return Sampling("dense", DENSE, (0,), DENSE)


def resized(patch: int) -> Sampling:
    """No patches: the short side to 256 pixels (patch 224) or 320 (patch 299), then the crop in the centre."""
    margin = (RESIZED[patch] - patch) // 2
    return Sampling("resize", patch, (margin,), patch + 2 * margin, resized=RESIZED[patch])


BY_NAME = {"ops": ops, "nops": nops, "rps": rps, "dense": dense, "resize": resized}
_OPTIONAL = ("draws", "resized")


def pad_to(image: Pixels, side: int) -> Pixels:
    """Pad [H,W,3] so that neither side is below `side`: by reflection without the edge, evenly on both ends."""
    down, right = max(side - image.shape[0], 0), max(side - image.shape[1], 0)
    padded = cv2.copyMakeBorder(
        image, down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_REFLECT_101
    )
    return np.asarray(padded, np.uint8)


def _scaled(side: int, target: int, short: int) -> int:
    """A side of an image whose `short` side becomes `target`, rounded down as torchvision's Resize does."""
    return max(target, side * target // short)
