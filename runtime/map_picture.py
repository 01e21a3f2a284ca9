"""The picture of a quality map: the image, the map over it and a colour bar, drawn with OpenCV alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from .errors import PscrError, Status
from .families.head import Floats
from .samplings import Pixels

# From dark violet to yellow, its lightness rising all the way: it reads with every colour vision and in grey
# (Nunez, Anderton and Renslow, "Optimizing colormaps with consideration for color vision deficiency", 2018).
COLOURS = cv2.COLORMAP_VIRIDIS
NARROWEST = 1.0  # score units of the colour bar, so that differences that mean nothing do not look like much
_LEAST, _MOST = 256, 640  # pixels of a panel's longer side
_SHARE = 0.6  # of the map's colour over the grey image
_FONT, _SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.45
_PALE = 90  # what black of the image becomes below the map
_INK, _PAPER = (40, 40, 40), 255
_MARGIN, _GAP, _BAR, _TICK = 12, 12, 18, 5
_SHORTEST_BAR = 160


class Scores(Protocol):
    """What is drawn: a `QualityMap`."""

    @property
    def values(self) -> Floats: ...

    @property
    def window(self) -> int: ...

    @property
    def stride(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def view(self) -> tuple[int, int]: ...

    def dense(self, height: int, width: int) -> Floats: ...

    def worst(self) -> tuple[int, int, int, int]: ...


def draw(
    pixels: Pixels | None, quality_map: Scores, *, limits: tuple[float, float] | None = None, unit: str = "MOS"
) -> Pixels:
    """Draw the image and, beside or below it, the map over its grey form, a colour bar and a caption.

    pixels: the image, [h,w,3] uint8 RGB, of any scale; None for the map alone.
    limits: the scores at the ends of the colour bar; scores beyond take the end's colour. None for `usual_limits` of
        the map. Give the same limits to compare pictures.
    unit: the word above the colour bar.

    Dark is low. The frame marks the window with the worst score. Small images are enlarged and large ones reduced,
    to 256 to 640 pixels on the longer side.

    Returns [H,W,3] uint8 BGR, as cv2.imwrite takes it; `encode` makes the PNG.

    Raises:
        PscrError: INVALID_ARGUMENT for limits that are not two rising finite numbers.
    """
    low, high = usual_limits([quality_map]) if limits is None else _checked(limits)
    height, width = _panel_size(quality_map)
    panels = [overlay(pixels, quality_map, (low, high))]
    if pixels is not None:
        small = np.asarray(cv2.cvtColor(_scaled(pixels, height, width), cv2.COLOR_RGB2BGR), np.uint8)
        _frame(small, quality_map)
        panels.insert(0, small)
    return _compose(panels, *_bar(low, high, max(height, _SHORTEST_BAR), unit), _caption(quality_map))


def overlay(pixels: Pixels | None, quality_map: Scores, limits: tuple[float, float]) -> Pixels:
    """The map over the grey form of its image, without colour bar and caption, for pages that have their own.

    pixels, limits: as in `draw`. Returns [h,w,3] uint8 BGR, 256 to 640 pixels on the longer side.
    """
    low, high = limits
    height, width = _panel_size(quality_map)
    scores = quality_map.dense(height, width)
    shades = np.clip(np.rint((scores - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
    panel = np.asarray(cv2.applyColorMap(shades, COLOURS), np.uint8)
    if pixels is not None:
        grey = cv2.cvtColor(_scaled(pixels, height, width), cv2.COLOR_RGB2GRAY)
        # A pale grey: where the image is black, a dark place would look like a low score.
        pale = cv2.cvtColor(cv2.convertScaleAbs(grey, alpha=1 - _PALE / 255, beta=_PALE), cv2.COLOR_GRAY2BGR)
        panel = np.asarray(cv2.addWeighted(panel, _SHARE, pale, 1 - _SHARE, 0), np.uint8)
    _frame(panel, quality_map)
    return panel


def usual_limits(quality_maps: Sequence[Scores]) -> tuple[float, float]:
    """The lowest and highest score of some maps, or one score unit about them where they are closer than that."""
    low = min(float(one.values.min()) for one in quality_maps)
    high = max(float(one.values.max()) for one in quality_maps)
    more = max(NARROWEST - (high - low), 0) / 2
    return low - more, high + more


def encode(picture: Pixels) -> bytes:
    """The PNG file of a picture [H,W,3] uint8 BGR."""
    done, data = cv2.imencode(".png", picture)
    if not done:
        raise PscrError(Status.INTERNAL, "OpenCV could not write the picture as PNG; report it")
    return data.tobytes()


def ticks(low: float, high: float) -> list[float]:
    """Two to seven round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 6
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * (1 - 1e-9))
    return [round(n * step, 10) for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _checked(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = map(float, limits)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        found = f"limits are {low:g} and {high:g}; expected two finite numbers, the lower one first"
        raise PscrError(Status.INVALID_ARGUMENT, found)
    return low, high


def _panel_size(quality_map: Scores) -> tuple[int, int]:
    """Height and width of a panel. A side of a very long image does not become thinner than can be seen."""
    height, width = quality_map.height, quality_map.width
    longest = max(height, width)
    scale = min(max(longest, _LEAST), _MOST) / longest
    return max(_TICK, round(height * scale)), max(_TICK, round(width * scale))


def _scaled(pixels: Pixels, height: int, width: int) -> Pixels:
    """The image in a panel's size."""
    how = cv2.INTER_AREA if height < pixels.shape[0] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


def _frame(panel: Pixels, quality_map: Scores) -> None:
    """Mark the worst window, white in black, which shows on every ground; not where the one window is all there is."""
    if quality_map.values.size == 1:
        return
    top, left, height, width = quality_map.worst()
    down, across = panel.shape[0] / quality_map.height, panel.shape[1] / quality_map.width
    first = round(left * across) + 1, round(top * down) + 1
    last = round((left + width) * across) - 2, round((top + height) * down) - 2
    cv2.rectangle(panel, first, last, (0, 0, 0), 3)
    cv2.rectangle(panel, first, last, (255, 255, 255), 1)


def _bar(low: float, high: float, height: int, unit: str) -> tuple[Pixels, int]:
    """The colour bar with its numbers to the right and the unit above, and the row that its colours begin in."""
    places = ticks(low, high)
    decimals = max(0, -math.floor(math.log10(places[1] - places[0]) + 1e-9))
    labels = [f"{place:.{decimals}f}" for place in places]
    widest = max(_text_size(label)[0] for label in labels)
    line = _text_size(unit)[1]
    top = line + _GAP
    picture = _paper(top + height + line, max(_BAR + _TICK + 3 + widest, _text_size(unit)[0]))
    _write(picture, unit, 0, line)
    shades = np.rint(np.linspace(255, 0, height)).astype(np.uint8)[:, None]
    colours = np.asarray(cv2.applyColorMap(shades, COLOURS), np.uint8)
    picture[top : top + height, :_BAR] = np.repeat(colours, _BAR, axis=1)
    for place, label in zip(places, labels, strict=True):
        y = top + round((high - place) / (high - low) * (height - 1))
        cv2.line(picture, (_BAR, y), (_BAR + _TICK - 1, y), _INK, 1)
        _write(picture, label, _BAR + _TICK + 3, y + line // 2)
    return picture, top


def _caption(quality_map: Scores) -> list[str]:
    values = quality_map.values
    count = "1 window" if values.size == 1 else f"{values.size} windows"
    sizes = f"{count} of {quality_map.window} px, {quality_map.stride} px apart"
    tall, wide = quality_map.view
    if (tall, wide) != (quality_map.height, quality_map.width):
        sizes += f" in {wide}x{tall}"
    scores = f"lowest {values.min():.2f}, mean {values.mean():.2f}, highest {values.max():.2f}"
    return [scores, f"{sizes}; the image has {quality_map.width}x{quality_map.height}"]


def _compose(panels: Sequence[Pixels], bar: Pixels, head: int, caption: Sequence[str]) -> Pixels:
    """Panels side by side where they are tall, one below the other where they are wide; the bar right, text below.

    head: the row of the bar that the panels begin in.
    """
    height, width = panels[0].shape[:2]
    beside = width <= 1.6 * height
    many = len(panels) - 1
    body_height = height if beside else height + many * (height + _GAP)
    body_width = width + many * (width + _GAP) if beside else width
    line = max(_text_size(text)[1] for text in caption)
    tall = max(body_height + head, bar.shape[0])
    text_width = max(_text_size(text)[0] for text in caption)
    wide = max(body_width + _GAP + bar.shape[1], text_width)
    picture = _paper(2 * _MARGIN + tall + len(caption) * (line + _GAP), 2 * _MARGIN + wide)
    for place, panel in enumerate(panels):
        top = _MARGIN + head + (0 if beside else place * (height + _GAP))
        left = _MARGIN + (place * (width + _GAP) if beside else 0)
        picture[top : top + height, left : left + width] = panel
    left = _MARGIN + body_width + _GAP
    picture[_MARGIN : _MARGIN + bar.shape[0], left : left + bar.shape[1]] = bar
    for place, text in enumerate(caption):
        _write(picture, text, _MARGIN, _MARGIN + tall + (place + 1) * (line + _GAP) - 2)
    return picture


def _paper(height: int, width: int) -> Pixels:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _text_size(text: str) -> tuple[int, int]:
    """Width, and height from the lowest to the highest pixel, of a line of text."""
    (width, height), below = cv2.getTextSize(text, _FONT, _SIZE, 1)
    return int(width), int(height + below)


def _write(picture: Pixels, text: str, left: int, bottom: int) -> None:
    below = cv2.getTextSize(text, _FONT, _SIZE, 1)[1]
    cv2.putText(picture, text, (left, bottom - below), _FONT, _SIZE, _INK, 1, cv2.LINE_AA)
