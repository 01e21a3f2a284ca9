"""Patch sampling: which pixels of an image the network sees (PSCR section III-A, arXiv 2312.05897).

Training and serving cut with this code, so that both see the same pixels.

An image is first brought to the **view**: where its shorter side is longer than the view's, the whole is scaled down by
area averaging until it is not, the aspect kept. Windows of the view's side then cover all of it, and each window gives
the method's patches. So a score depends on the picture and not on how many pixels it happens to have.
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
VIEW = 512  # the side that the published databases' images have
WINDOWS = 16  # that cover a view, at most: an aspect of 16:1
DENSE = 512  # side of a tile
_TILES = 2  # at most, on an axis, without a view
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
    view: the reference view's side in pixels, equal to `reference_side`; 0 for none: models of the first format, and
        "resize", which has a scale of its own. Without one nothing is scaled, "dense" takes up to four tiles, and of a
        large image the pixels between the patches are not seen.
    windows: with a view, the most windows that cover one; an image that would need more, since it is longer than so
        many times its height or width, is scaled down further until that many cover it. Otherwise 0.
    """

    method: str
    patch: int
    starts: tuple[int, ...]
    reference_side: int = 512
    draws: int = 0
    resized: int = 0
    view: int = 0
    windows: int = 0

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
        none = self.view == 0 and self.windows == 0
        if not (none or (self.view == self.reference_side and self.windows >= 1 and not scaled)):
            raise PscrError(
                Status.MODEL_INVALID,
                f"sampling does not fit: view {self.view}, windows {self.windows}; expected a view of the reference "
                f"side, {self.reference_side}, and 1 or more windows, or neither; none with resize",
            )

    @property
    def count(self) -> int:
        """Patches of an image of the reference side (P); with all methods but "dense" those of every image."""
        return self.draws or len(self.starts) ** 2

    @property
    def most(self) -> int:
        """The most patches that any image gives."""
        if self.view:
            return self.windows * self.count
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

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image of this size is scaled to, in pixels; its own where it is not scaled."""
        short, long = sorted((height, width))
        if self.resized:
            return _scaled(height, self.resized, short), _scaled(width, self.resized, short)
        if not self.view or (short <= self.view and long <= self.windows * self.view):
            return height, width
        limit = self.windows * self.view
        if long * self.view > limit * short:  # so long that the number of windows decides
            return _shrunk(height, limit, long), _shrunk(width, limit, long)
        return _shrunk(height, self.view, short), _shrunk(width, self.view, short)

    def frame_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what `frame` makes of an image of this size, in pixels."""
        tall, wide = self.view_size(height, width)
        return max(tall, self.patch), max(wide, self.patch)

    def patches(self, height: int, width: int) -> int:
        """How many patches (P) an image of this size gives."""
        if not self.view and self.method == "dense":
            return math.prod(len(self.axis_starts(side)) for side in self.frame_size(height, width))
        return len(self._windows(*self.frame_size(height, width))) * self.count

    def frame(self, image: Pixels) -> Pixels:
        """The image that patches are cut from: scaled to the view, and padded where it is small.

        image: [H,W,3] uint8. It is scaled to `view_size`, by pixel area where that makes it smaller and bilinearly
        where larger (only "resize" enlarges); then a side shorter than the patch is padded to it by reflection, evenly
        on both ends.
        """
        return pad_to(self.scaled(image), self.patch)

    def scaled(self, image: Pixels) -> Pixels:
        """The view of an image [H,W,3] uint8, without padding; the image itself where it is not scaled."""
        height, width = image.shape[:2]
        tall, wide = self.view_size(height, width)
        if (tall, wide) == (height, width):
            return image
        how = cv2.INTER_AREA if tall <= height else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, (wide, tall), interpolation=how), np.uint8)

    def __str__(self) -> str:
        """What an image of any size goes through, such as `info` shows it."""
        patches = f"{self.count} of {self.patch}x{self.patch} pixels ({self.method})"
        if self.view:
            each = "" if self.count == 1 else " each"
            scaled = f"scaled down to a shorter side of {self.view}; 1 to {self.windows} windows cover it"
            return f"{scaled}, {patches}{each}"
        if self.resized:
            return f"scaled to a shorter side of {self.resized}, {patches} in its centre"
        return f"at full resolution, {patches}" if self.most == self.count else f"{patches}, up to {self.most}"

    def in_words(self, height: int, width: int) -> list[str]:
        """What is done to an image of this size, a phrase each; nothing where patches are cut from it as it is."""
        (tall, wide), (framed_tall, framed_wide) = self.view_size(height, width), self.frame_size(height, width)
        found = []
        if (tall, wide) != (height, width) and self.view:
            found.append(f"scaled from {width}x{height} to {wide}x{tall}")
        if (framed_tall, framed_wide) != (tall, wide):
            found.append(f"padded from {wide}x{tall} to {framed_wide}x{framed_tall} by reflection")
        if (count := len(self._windows(framed_tall, framed_wide))) > 1:
            found.append(f"{count} windows")
        return found

    def corners(self, image: Pixels) -> list[tuple[int, int]]:
        """Where the patches of a framed image [H,W,3] begin: (top, left) of each of the P, window after window."""
        return [
            (top + y, left + x)
            for top, left, height, width in self._windows(*image.shape[:2])
            for y, x in self._window_corners(image[top : top + height, left : left + width])
        ]

    def _windows(self, height: int, width: int) -> list[tuple[int, int, int, int]]:
        """The windows of a framed image of this size, row-major: top, left, height and width; one without a view."""
        if not self.view:
            return [(0, 0, height, width)]
        tall, wide = min(height, self.view), min(width, self.view)
        return [(top, left, tall, wide) for top in _cover(height, self.view) for left in _cover(width, self.view)]

    def _window_corners(self, window: Pixels) -> list[tuple[int, int]]:
        """Where the method's patches begin in a window [H,W,3]."""
        height, width = window.shape[:2]
        if not self.draws:
            return [(top, left) for top in self.axis_starts(height) for left in self.axis_starts(width)]
        # A hash is the one source of randomness that every platform and library version agrees on.
        seed = hashlib.blake2b(np.ascontiguousarray(window).data, key=repr(window.shape).encode()).digest()
        drawn = np.frombuffer(hashlib.shake_128(seed).digest(8 * self.draws), "<u4").reshape(-1, 2).astype(np.uint64)
        room = np.array([height - self.patch + 1, width - self.patch + 1], np.uint64)
        return [(int(top), int(left)) for top, left in drawn * room >> np.uint64(32)]

    def cut(self, image: Pixels, out: Pixels | None = None) -> Pixels:
        """Cut the patches of one image.

        image: [H,W,3] uint8 of any size; it is framed first, see `frame`.
        out: [P,S,S,3] uint8, C-contiguous, to be filled in place of a new array.

        Returns [P,S,S,3] uint8, in the channel order of `image`: window after window, each window's grid in row-major
        order. Source: the OPS grid of the published code; the rule for sides other than 512 is this project's.
        """
        size, image = self.patch, self.frame(image)
        corners = self.corners(image)
        if out is None:
            out = np.empty((len(corners), size, size, 3), np.uint8)
        for patch, (top, left) in zip(out, corners, strict=True):
            patch[...] = image[top : top + size, left : left + size]
        return out

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `sampling` entry; the optional keys stand in it where they are used."""
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
    return Sampling("ops", patch, {224: (0, 150, 288), 299: (0, 100, 213)}[patch], view=VIEW, windows=WINDOWS)


def nops(patch: int) -> Sampling:
    """Patches side by side from the top left, as many as 512x512 holds: 2x2 of 224 pixels, a single one of 299.

    On smaller sides the starts scale with the room to move as everywhere; below 448 pixels the patches then overlap.
    What is beside the last patch of a window is not seen: that is what the paper compares OPS with.
    """
    return Sampling("nops", patch, tuple(range(0, VIEW - patch + 1, patch)), view=VIEW, windows=WINDOWS)


def rps(patch: int) -> Sampling:
    """The paper's random patch sampling: nine patches anywhere in each window."""
    return Sampling("rps", patch, (0,), draws=9, view=VIEW, windows=WINDOWS)


def dense(patch: int = DENSE) -> Sampling:
    """The whole view in one pass, or as many as cover a long one, whatever the backbone's own patch."""
    return Sampling("dense", DENSE, (0,), DENSE, view=VIEW, windows=WINDOWS)


def resized(patch: int) -> Sampling:
    """No patches: the short side to 256 pixels (patch 224) or 320 (patch 299), then the crop in the centre."""
    margin = (RESIZED[patch] - patch) // 2
    return Sampling("resize", patch, (margin,), patch + 2 * margin, resized=RESIZED[patch])


BY_NAME = {"ops": ops, "nops": nops, "rps": rps, "dense": dense, "resize": resized}
_OPTIONAL = ("draws", "resized", "view", "windows")


def pad_to(image: Pixels, side: int) -> Pixels:
    """Pad [H,W,3] so that neither side is below `side`: by reflection without the edge, evenly on both ends."""
    down, right = max(side - image.shape[0], 0), max(side - image.shape[1], 0)
    if not down and not right:
        return image
    padded = cv2.copyMakeBorder(
        image, down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_REFLECT_101
    )
    return np.asarray(padded, np.uint8)


def _scaled(side: int, target: int, short: int) -> int:
    """A side of an image whose `short` side becomes `target`, rounded down as torchvision's Resize does."""
    return max(target, side * target // short)


def _shrunk(side: int, target: int, of: int) -> int:
    """A side of an image whose side `of` becomes `target`, halves rounded up, at least one pixel."""
    return max(1, (2 * side * target + of) // (2 * of))


def _cover(side: int, window: int) -> tuple[int, ...]:
    """The first pixels of the fewest windows that cover an axis, evenly from border to border, halves rounded up."""
    last = max(-(-side // window) - 1, 0)
    room = max(side - window, 0)
    return tuple((2 * place * room + last) // (2 * last) if last else 0 for place in range(last + 1))
