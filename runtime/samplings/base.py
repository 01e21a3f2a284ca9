"""What every patch sampling shares: the view, its windows, and patches cut from them (PSCR III-A, arXiv 2312.05897).

Training and serving cut with this code, so that both see the same pixels.

An image is first brought to the **view**: where its shorter side is longer than the view's, the whole is scaled down by
area averaging until it is not, the aspect kept. Windows of the view's side then cover all of it, and each window gives
the sampling's patches. So a score depends on the picture and not on how many pixels it happens to have.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import PscrError, Status

Pixels = NDArray[np.uint8]
VIEW = 512  # the side that the published databases' images have
WINDOWS = 16  # that cover a view, at most: an aspect of 16:1
_ALWAYS = ("patch", "starts", "reference_side")  # keys of every manifest; the others stand where they are used
S = TypeVar("S", bound="Sampling")


class Plan(NamedTuple):
    """What `Sampling.cut` does to every image of one size, for whoever does it elsewhere; all in pixels.

    view: height and width that the image is scaled down to by area; its own where it is not scaled.
    padding: rows above and columns to the left that reflection adds then. corners: where the patches begin in what that
        gives, (top, left) of each of the P. patch: their height and width.
    """

    view: tuple[int, int]
    padding: tuple[int, int]
    corners: list[tuple[int, int]]
    patch: tuple[int, int]


@dataclass(frozen=True)
class Sampling:
    """How patches are cut; it travels in the manifest. A subclass for each method says where they begin in a window.

    patch: side of a square patch, in pixels; 0 where a patch has the image's own sides (`Whole`).
    starts: the patches' first pixels on one axis of an image whose side is `reference_side`; (0,) where the method
        does not use them.
    reference_side: the side that `starts` was written for.
    view: the reference view's side in pixels, equal to `reference_side`; 0 for none: models of the first format, and
        a method that has a scale of its own. Without one nothing is scaled, and of a large image the pixels between
        the patches are not seen.
    windows: with a view, the most windows that cover one; an image that would need more, since it is longer than so
        many times its height or width, is scaled down further until that many cover it. Otherwise 0.
    """

    method: ClassVar[str]
    summary: ClassVar[str]  # what the method does, in words
    patched: ClassVar[bool] = True  # whether it cuts patches at the view's resolution: what PSCR itself is trained on
    sees_whole: ClassVar[bool] = False  # whether a patch is the whole window, so that a map needs smaller ones
    by_size: ClassVar[bool] = True  # whether an image's size alone decides where patches begin
    patch: int
    starts: tuple[int, ...] = (0,)
    reference_side: int = VIEW
    view: int = 0
    windows: int = 0

    def __post_init__(self) -> None:
        room = self.reference_side - self.patch
        if self.patch < 1 or room < 0 or not self.starts or any(not 0 <= s <= room for s in self.starts):
            raise self._unfit(f"patch {self.patch}, starts {self.starts}, side {self.reference_side}")
        none = self.view == 0 and self.windows == 0
        if not (none or (self.view == self.reference_side and self.windows >= 1 and not self.scales_to)):
            raise self._unfit(
                f"view {self.view}, windows {self.windows}; expected a view of the reference side, "
                f"{self.reference_side}, and 1 or more windows, or neither; none with a scale of its own"
            )

    @classmethod
    def usual(cls: type[S], patch: int) -> S:
        """The sampling of this method that networks are trained with. patch: the backbone's own, 224 or 299."""
        raise NotImplementedError

    def window_corners(self, window: Pixels) -> list[tuple[int, int]]:
        """Where the patches begin in a window [H,W,3], neither side below the patch: (top, left) of each."""
        height, width = window.shape[:2]
        return [(top, left) for top in self.axis_starts(height) for left in self.axis_starts(width)]

    def axis_starts(self, side: int) -> tuple[int, ...]:
        """The starts on an axis of `side` pixels, `side` >= `patch`."""
        raise NotImplementedError

    @property
    def scales_to(self) -> int:
        """The shorter side that every image is scaled to, up or down; 0 where the view decides."""
        return 0

    @property
    def count(self) -> int:
        """Patches of a window (P of an image of the reference side)."""
        return len(self.starts) ** 2

    @property
    def most(self) -> int:
        """The most patches that any image gives."""
        return self.windows * self.count if self.view else self.count

    @property
    def largest_window(self) -> int:
        """The largest side, in pixels, of a window that a quality map may score as an image of its own."""
        return max(self.patch, self.scales_to)

    def patch_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the patches of an image of this size."""
        return self.patch, self.patch

    def trial(self) -> Pixels:
        """The patches [P,S,S,3] of a black image, to try a graph with."""
        return np.zeros((self.count, self.patch, self.patch, 3), np.uint8)

    def refusal(self, height: int, width: int) -> str:
        """Why an image of this size is too large, as "found ...; expected ..."; empty where it is not."""
        return ""

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image of this size is scaled to, in pixels; its own where it is not scaled."""
        short, long = sorted((height, width))
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
        return len(self.window_boxes(*self.frame_size(height, width))) * self.count

    def frame(self, image: Pixels) -> Pixels:
        """The image that patches are cut from: scaled to the view, and padded where it is small.

        image: [H,W,3] uint8. It is scaled to `view_size`, by pixel area where that makes it smaller and bilinearly
        where larger (only a method with a scale of its own enlarges); then a side shorter than the patch is padded to
        it by reflection, evenly on both ends.
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
        if self.view:
            each = "" if self.count == 1 else " each"
            scaled = f"scaled down to a shorter side of {self.view}; 1 to {self.windows} windows cover it"
            return f"{scaled}, {self._patches_in_words()}{each}"
        cut = self._patches_in_words()
        return f"at full resolution, {cut}" if self.most == self.count else f"{cut}, up to {self.most}"

    def _patches_in_words(self) -> str:
        return f"{self.count} of {self.patch}x{self.patch} pixels ({self.method})"

    def in_words(self, height: int, width: int) -> list[str]:
        """What is done to an image of this size, a phrase each; nothing where patches are cut from it as it is."""
        (tall, wide), (framed_tall, framed_wide) = self.view_size(height, width), self.frame_size(height, width)
        found = []
        if (tall, wide) != (height, width) and self.view:
            found.append(f"scaled from {width}x{height} to {wide}x{tall}")
        if (framed_tall, framed_wide) != (tall, wide):
            found.append(f"padded from {wide}x{tall} to {framed_wide}x{framed_tall} by reflection")
        if (count := len(self.window_boxes(framed_tall, framed_wide))) > 1:
            found.append(f"{count} windows")
        return found

    def corners(self, image: Pixels) -> list[tuple[int, int]]:
        """Where the patches of a framed image [H,W,3] begin: (top, left) of each of the P, window after window."""
        return [
            (top + y, left + x)
            for top, left, height, width in self.window_boxes(*image.shape[:2])
            for y, x in self.window_corners(image[top : top + height, left : left + width])
        ]

    def window_boxes(self, height: int, width: int) -> list[tuple[int, int, int, int]]:
        """The windows of a framed image of this size, row-major: top, left, height and width; one without a view."""
        if not self.view:
            return [(0, 0, height, width)]
        tall, wide = min(height, self.view), min(width, self.view)
        return [(top, left, tall, wide) for top in _cover(height, self.view) for left in _cover(width, self.view)]

    def cut(self, image: Pixels, out: Pixels | None = None) -> Pixels:
        """Cut the patches of one image.

        image: [H,W,3] uint8 of any size; it is framed first, see `frame`.
        out: [P,S,S,3] uint8, C-contiguous, to be filled in place of a new array.

        Returns [P,S,S,3] uint8, in the channel order of `image`: window after window, each window's grid in row-major
        order. Source: the OPS grid of the published code; the rule for sides other than 512 is this project's.
        """
        image = self.frame(image)
        corners, (tall, wide) = self.corners(image), self.patch_size(*image.shape[:2])
        if out is None:
            out = np.empty((len(corners), tall, wide, 3), np.uint8)
        for patch, (top, left) in zip(out, corners, strict=True):
            patch[...] = image[top : top + tall, left : left + wide]
        return out

    def plan(self, height: int, width: int) -> Plan | None:
        """What `cut` does to images of this size; None where their pixels decide, or where it makes them larger."""
        (tall, wide), frame = self.view_size(height, width), self.frame_size(height, width)
        if not self.by_size or tall > height or wide > width:
            return None
        corners = self.corners(np.broadcast_to(np.uint8(0), (*frame, 3)))
        return Plan((tall, wide), ((frame[0] - tall) // 2, (frame[1] - wide) // 2), corners, self.patch_size(*frame))

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `sampling` entry; what is 0 and not always used does not stand in it."""
        entry = {"method": self.method, **asdict(self), "starts": list(self.starts)}
        return {key: value for key, value in entry.items() if value or key in _ALWAYS}

    @classmethod
    def from_entry(cls: type[S], entry: dict[str, Any]) -> S:
        """Read the manifest's `sampling` entry of this method.

        Raises:
            PscrError: MODEL_INVALID where the values do not fit each other. KeyError, TypeError, ValueError: where a
                key is missing or of the wrong type.
        """
        own = {one.name for one in fields(cls)}
        values = {key: int(entry[key]) for key in own & set(entry) if key != "starts"}
        missing = [key for key in _ALWAYS if key not in entry]
        if missing:
            raise KeyError(missing[0])
        return cls(starts=tuple(int(start) for start in entry["starts"]), **values)

    @staticmethod
    def _unfit(found: str) -> PscrError:
        return PscrError(Status.MODEL_INVALID, f"sampling does not fit: {found}")


def pad_to(image: Pixels, side: int) -> Pixels:
    """Pad [H,W,3] so that neither side is below `side`: by reflection without the edge, evenly on both ends."""
    down, right = max(side - image.shape[0], 0), max(side - image.shape[1], 0)
    if not down and not right:
        return image
    padded = cv2.copyMakeBorder(
        image, down // 2, down - down // 2, right // 2, right - right // 2, cv2.BORDER_REFLECT_101
    )
    return np.asarray(padded, np.uint8)


def _shrunk(side: int, target: int, of: int) -> int:
    """A side of an image whose side `of` becomes `target`, halves rounded up, at least one pixel."""
    return max(1, (2 * side * target + of) // (2 * of))


def _cover(side: int, window: int) -> tuple[int, ...]:
    """The first pixels of the fewest windows that cover an axis, evenly from border to border, halves rounded up."""
    last = max(-(-side // window) - 1, 0)
    room = max(side - window, 0)
    return tuple((2 * place * room + last) // (2 * last) if last else 0 for place in range(last + 1))
