"""The quality map: the scores of overlapping windows of an image, which say where in it the quality is good or bad.

The windows lie on the model's view of the image, which is what its score judges: of a large image a smaller form (see
samplings/). With `native` they lie on the image's own pixels, which shows damage too fine for the view.

A cell is what its window would score as an image of its own: the window is cut out and goes through the same rule
(a window smaller than the model's patch is padded to it by reflection), the same graph with one patch (P = 1) and the
same bank. A cell therefore knows nothing of what is around its window. The default model's own patch is a whole image
of up to 512x512, so its map is not a by-product of its score but is computed apart.

Map and score are two figures. The score judges the image as a whole, composition included; the mean of the map is the
mean judgement of cut-outs, and mostly another number. The map is for comparing places of one image;
docs/map.md has what was measured.

It costs rows x columns passes of one patch: the milliseconds of a map are rows * columns * `infer` of one patch (a
512x512 image under the default model), which `pscr bench` measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .arguments import whole
from .errors import PscrError, Status
from .families.head import Floats
from .map_picture import draw, encode
from .pipeline import Source
from .samplings import Pixels, Sampling
from .scorer import Scorer

Corners = NDArray[np.int64]
DENSE_WINDOW = 192  # of a model that sees whole images; docs/map.md has the comparison
SMALLEST = 16  # pixels; in less there is nothing to judge
OVERLAP = 2  # windows that cover a pixel on an axis, where the image is not too large for it
USUAL = 1024  # windows at most, where no stride is asked for: half a minute at 30 ms each
MOST = 4096  # windows at most
_PREVIEW = 512  # longest side of the picture that a map keeps of its image


@dataclass(frozen=True, eq=False)
class QualityMap:
    """The scores of an image's windows.

    values: [rows, cols] float32, the score of each window, in opinion-score units, not clipped to their range.
    corners_y, corners_x: [rows] and [cols] int64, the windows' top and left pixels in the view, ascending.
    window: side of a window in pixels of the view; on an axis where that is shorter, the window is as short as it.
    stride: the most pixels from one window to the next. They stand evenly, so it can be a little less, and the first
        and last begin and end at the view's borders.
    width, height: of the upright image (EXIF orientation applied), in pixels.
    preview: the image with its longest side reduced to 512 pixels, [h,w,3] uint8 RGB, for notebooks; or None.
    view_width, view_height: of the view that the windows lie on, in its pixels; 0 for the image itself.
    higher_is_better: of the scale that the values lie on.

    `boxes` and `worst` give places in the image's own pixels.
    """

    values: Floats
    corners_y: Corners
    corners_x: Corners
    window: int
    stride: int
    width: int
    height: int
    preview: Pixels | None = field(default=None, repr=False)
    view_width: int = 0
    view_height: int = 0
    higher_is_better: bool = True

    @property
    def view(self) -> tuple[int, int]:
        """Height and width of the view, in its pixels."""
        return self.view_height or self.height, self.view_width or self.width

    def dense(self, height: int = 0, width: int = 0) -> Floats:
        """The map for each pixel: the mean of the windows that cover it, [height, width] float32.

        height, width: of the grid; 0 for the image's own. Another grid is read at the middles of its cells, as if
            the map had been scaled to it.
        """
        down = _coverage(self.corners_y, self.window, self.view[0], height or self.height)
        across = _coverage(self.corners_x, self.window, self.view[1], width or self.width)
        return np.asarray(down @ self.values @ across.T, np.float32)

    def boxes(self) -> Iterator[tuple[int, int, int, int, float]]:
        """Each window, row by row: top, left, height and width in pixels of the upright image, and its score."""
        for row, values in enumerate(self.values.tolist()):
            for column, score in enumerate(values):
                yield *self._box(row, column), score

    def worst(self) -> tuple[int, int, int, int]:
        """The window with the worst score, the first where several have it: top, left, height, width in pixels."""
        place = self.values.argmin() if self.higher_is_better else self.values.argmax()
        row, column = np.unravel_index(int(place), self.values.shape)
        return self._box(int(row), int(column))

    def _box(self, row: int, column: int) -> tuple[int, int, int, int]:
        def along(first: int, view: int, side: int) -> tuple[int, int]:
            start, end = first, min(first + self.window, view)
            start, end = ((2 * place * side + view) // (2 * view) for place in (start, end))
            return start, max(end - start, 1)

        top, tall = along(int(self.corners_y[row]), self.view[0], self.height)
        left, wide = along(int(self.corners_x[column]), self.view[1], self.width)
        return top, left, tall, wide

    def _repr_png_(self) -> bytes:
        """The picture that Jupyter shows."""
        return encode(draw(self.preview, self))


def quality_map(
    scorer: Scorer,
    image: Source,
    *,
    window: int | None = None,
    stride: int | None = None,
    pixel_format: str | None = None,
    native: bool = False,
    step: Callable[[], None] = lambda: None,
) -> QualityMap:
    """Score overlapping windows of one image.

    scorer: an open model; other threads may use it meanwhile.
    image, pixel_format: as in `Scorer.score`.
    window: side of the square windows in pixels, 16 to the model's patch; None for 192 with a model that sees whole
        images, else for its patch. An image smaller than the window on both axes gives one cell, its score.
    stride: the most pixels from one window to the next, 1 to `window`; None for half a window, or more on an image
        that would have above 1,024 windows. A smaller stride shows more places, not finer detail: that is `window`.
    native: windows of the image's own pixels, in place of those of the model's view.
    step: called after each window; what it raises ends the work.

    Memory: the decoded image, a batch of patches and the map. Time: rows * columns patches through the network.

    Raises:
        PscrError: INVALID_ARGUMENT for a window or stride out of range, or one that gives above 4,096 windows;
            IMAGE_TOO_LARGE where every stride does; else as `Scorer.score`.
    """
    sampling = scorer.manifest.sampling
    _window(sampling, window)  # before the image is decoded
    pixels = scorer.pixels(image, pixel_format=pixel_format)
    height, width = pixels.shape[:2]
    tops, lefts, side, between = grid(sampling, height, width, window, stride, native=native)
    if sampling.view and not native:
        pixels = sampling.scaled(pixels)
    corners = [(top, left) for top in tops.tolist() for left in lefts.tolist()]
    values = np.empty(len(corners), np.float32)
    patch = sampling.patch_size(min(side, pixels.shape[0]), min(side, pixels.shape[1]))
    batch = np.empty((min(scorer.batch, len(corners)), 1, *patch, 3), np.uint8)
    for first in range(0, len(corners), len(batch)):
        some = corners[first : first + len(batch)]
        for place, (top, left) in enumerate(some):
            # All patches of a window this small are the same one, so the first is the whole window's score.
            batch[place, 0] = sampling.cut(pixels[top : top + side, left : left + side])[0]
        values[first : first + len(some)] = scorer.infer(batch[: len(some)]).scores
        for _ in some:
            step()
    if not np.isfinite(values).all():
        found = "the model gave a score that is not finite for a window of this image; expected finite ones"
        raise PscrError(Status.INTERNAL, f"{found}; report the image")
    table = values.reshape(len(tops), len(lefts))
    tall, wide = pixels.shape[:2]
    return QualityMap(
        table, tops, lefts, side, between, width, height, _preview(pixels), wide, tall, scorer.scale.higher_is_better
    )


def grid(
    sampling: Sampling,
    height: int,
    width: int,
    window: int | None = None,
    stride: int | None = None,
    *,
    native: bool = False,
) -> tuple[Corners, Corners, int, int]:
    """The windows that an image of this size would have, before any is scored: what a map would cost.

    sampling: of the model's manifest. height, width: of the upright image. window, stride, native: as in `quality_map`.

    Returns the windows' top pixels [rows], their left pixels [cols], the window and the stride.
    Raises:
        PscrError: INVALID_ARGUMENT, IMAGE_TOO_LARGE; see `quality_map`.
    """
    if sampling.view and not native:
        height, width = sampling.view_size(height, width)
    side = _window(sampling, window)
    between = _stride(height, width, side, stride)
    return starts(height, side, between), starts(width, side, between), side, between


def starts(side: int, window: int, stride: int) -> Corners:
    """The first pixels of windows on an axis of `side` pixels: evenly from border to border, `stride` apart at most."""
    room = max(side - window, 0)
    return np.rint(np.linspace(0, room, math.ceil(room / stride) + 1)).astype(np.int64)


def _window(sampling: Sampling, window: int | None) -> int:
    """The side of the windows. A model that resizes takes a window at the scale that it resizes to."""
    most = sampling.largest_window
    if window is None:
        return min(DENSE_WINDOW, most) if sampling.sees_whole else most
    side = whole(window, SMALLEST, most)
    if side is None:
        found = f"window is {window!r}; expected a whole number of pixels from {SMALLEST} to {most} with this model"
        raise PscrError(Status.INVALID_ARGUMENT, found)
    return side


def _stride(height: int, width: int, window: int, stride: int | None) -> int:
    """The stride asked for, or the usual one; refused where it gives too many windows."""

    def count(step: int) -> int:
        room = (max(side - window, 0) for side in (height, width))
        return math.prod(math.ceil(one / step) + 1 for one in room)

    def least(most: int) -> int:
        return next((step for step in range(1, window + 1) if count(step) <= most), 0)

    asked = max(window // OVERLAP, least(USUAL) or window) if stride is None else whole(stride, 1, window)
    if asked is None:
        found = f"stride is {stride!r}; expected a whole number of pixels from 1 to the window, {window}"
        raise PscrError(Status.INVALID_ARGUMENT, found)
    if count(asked) <= MOST:
        return asked
    found = f"{width}x{height} has {count(asked)} windows of {window} pixels at a stride of {asked}"
    found += f"; expected at most {MOST}"
    if least(MOST):
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; use a stride of {least(MOST)} or more")
    raise PscrError(Status.IMAGE_TOO_LARGE, f"{found}; scale the image down")


def _coverage(corners: Corners, window: int, side: int, cells: int) -> Floats:
    """[cells, windows] float32: each cell's equal shares of the windows that cover its middle, on one axis."""
    middles = (np.arange(cells) + 0.5) * (side / cells)
    covers = (corners <= middles[:, None]) & (middles[:, None] < corners + window)
    return (covers / covers.sum(1, keepdims=True)).astype(np.float32)


def _preview(pixels: Pixels) -> Pixels:
    """A copy of the image, made smaller where a side is above 512 pixels."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _PREVIEW / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.array(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
