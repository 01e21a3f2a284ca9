"""The picture of a map: the image and the map, numbers that read, nothing cut off, whatever the image's size."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest

import pscr
from pscr import PscrError
from pscr.runtime import map_picture
from pscr.runtime.quality_map import starts
from pscr.runtime.samplings import Pixels

INK = 90  # darker than this is text or a line on the white paper


def made(height: int, width: int, window: int = 224, low: float = 1.2, high: float = 3.4) -> pscr.QualityMap:
    """A map that rises from the top left to the bottom right."""
    tops, lefts = starts(height, window, window // 2), starts(width, window, window // 2)
    ramp = np.add.outer(np.arange(len(tops)), np.arange(len(lefts))).astype(np.float32)
    values = low + (high - low) * ramp / max(float(ramp.max()), 1.0)
    return pscr.QualityMap(values.astype(np.float32), tops, lefts, window, window // 2, width, height)


def grey_picture(height: int, width: int) -> Pixels:
    return np.full((height, width, 3), 128, np.uint8)


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (16, 16), (64, 64), (512, 512), (300, 900), (900, 300), (3000, 4000), (10, 4000), (4000, 10)],
)
def test_nothing_is_cut_off_at_any_size(height: int, width: int) -> None:
    found = made(height, width)
    picture = map_picture.draw(grey_picture(height, width), found)
    assert picture.dtype == np.uint8
    assert max(picture.shape) < 1600
    edges = np.concatenate([picture[:4].ravel(), picture[-4:].ravel(), picture[:, :4].ravel(), picture[:, -4:].ravel()])
    assert edges.min() == 255, "what touches the border would be cut off"
    decoded = cv2.imdecode(np.frombuffer(map_picture.encode(picture), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded, picture)


def test_the_caption_is_as_wide_as_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text lies whole within the picture, by OpenCV's own measure of it."""
    written: list[tuple[str, int, int, tuple[int, ...]]] = []

    def note(picture: Pixels, text: str, left: int, bottom: int) -> None:
        written.append((text, left, bottom, picture.shape))

    monkeypatch.setattr(map_picture, "_write", note)
    for height, width in ((1, 1), (512, 512), (4000, 10)):
        map_picture.draw(grey_picture(height, width), made(height, width, low=-12.25, high=131.5))
    assert any("lowest -12.25" in text for text, *_ in written)
    for text, left, bottom, shape in written:
        across, up = map_picture._text_size(text)
        assert 0 <= left <= left + across <= shape[1], text
        assert 0 <= bottom - up <= bottom <= shape[0], text


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 5.0), (1.93, 2.93), (-3.2, 1.1), (0.001, 0.002), (12, 98.4), (2.45, 4.0), (0.0, 1e6)]
)
def test_ticks_are_round_numbers_within_the_bar(low: float, high: float) -> None:
    places = map_picture.ticks(low, high)
    assert 2 <= len(places) <= 7
    assert low <= places[0] <= places[-1] <= high
    steps = {round(b - a, 9) for a, b in itertools.pairwise(places)}
    assert len(steps) == 1
    mantissa = float(f"{steps.pop():e}".split("e")[0])
    assert mantissa in (1.0, 2.0, 5.0)


def test_dark_is_low_and_colours_are_those_of_the_bar() -> None:
    found = made(512, 512)
    bare = map_picture.draw(None, found, limits=(0.0, 5.0))
    body = bare[:, : bare.shape[1] - 80]
    ends = cv2.applyColorMap(np.array([[round(1.2 / 5 * 255), round(3.4 / 5 * 255)]], np.uint8), cv2.COLORMAP_VIRIDIS)
    lowest, highest = ends[0]
    ys, xs = (np.where((body == colour).all(2)) for colour in (lowest, highest))
    assert ys[0].size > 0
    assert xs[0].size > 0
    assert ys[0].mean() < xs[0].mean(), "low at the top, high at the bottom"
    assert lowest.sum() < highest.sum()


def test_lightness_rises_along_the_bar_so_that_it_reads_without_colour() -> None:
    colours = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], map_picture.COLOURS)
    lightness = cv2.cvtColor(colours, cv2.COLOR_BGR2LAB)[:, 0, 0].astype(int)
    assert (np.diff(lightness) >= 0).all()
    assert np.ptp(lightness) > 150


def test_the_image_is_there_beside_the_map_and_below_it() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::64] = stripes[:, 1::64] = 255
    found = made(512, 512)
    picture = map_picture.draw(stripes, found)
    left, right = picture[40:400, 30:500], picture[40:400, 560:1000]
    assert (left == 255).any()
    assert (left == 0).any()
    assert np.abs(np.diff(right.astype(int).sum(2), axis=1)).max() > 200, "the stripes show through the colours"


def test_a_map_without_differences_does_not_look_as_if_it_had_some() -> None:
    flat = made(512, 512, low=2.0, high=2.02)
    picture = map_picture.draw(None, flat)
    assert map_picture.usual_limits([flat]) == pytest.approx((1.51, 2.51))
    assert map_picture.usual_limits([flat, made(512, 512, low=1.2, high=3.4)]) == pytest.approx((1.2, 3.4))
    body = picture[60:400, 40:400].astype(int)
    assert np.ptp(body[(body.sum(2) > 0) & (body.sum(2) < 700)], axis=0).max() < 25


def test_given_limits_are_kept_and_bad_ones_refused() -> None:
    found = made(512, 512)
    assert np.array_equal(
        map_picture.draw(None, found, limits=(0, 5)), map_picture.draw(None, found, limits=(0.0, 5.0))
    )
    bad: Any
    for bad in ((5, 0), (1, 1), (float("nan"), 2), (0, float("inf"))):
        with pytest.raises(PscrError, match="expected two finite numbers"):
            map_picture.draw(None, found, limits=bad)


def test_the_lowest_window_has_a_frame_in_both_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(512, 512)
    found.values[1, 2] = 0.5
    framed = map_picture.draw(grey_picture(512, 512), found)
    monkeypatch.setattr(map_picture, "_frame", lambda panel, quality_map: None)
    rows, columns = np.nonzero((framed != map_picture.draw(grey_picture(512, 512), found)).any(2))
    top, left, height, width = found.worst()
    assert (top, left, height, width) == (96, 192, 224, 224)
    assert np.ptp(rows) == pytest.approx(height, abs=4)
    for panel in (columns[columns < 530], columns[columns >= 530] - 512 - 12):
        assert panel.min() == pytest.approx(12 + left, abs=3)
        assert panel.max() == pytest.approx(12 + left + width, abs=3)


def test_the_bar_has_its_highest_number_at_its_lightest_end(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[tuple[str, int, int]] = []
    monkeypatch.setattr(map_picture, "_write", lambda picture, text, left, bottom: texts.append((text, left, bottom)))
    bar, top = map_picture._bar(0.0, 5.0, 201, "MOS")
    ends = cv2.applyColorMap(np.array([[255, 0]], np.uint8), map_picture.COLOURS)[0]
    assert (bar[top, 0] == ends[0]).all()
    assert (bar[top + 200, 0] == ends[1]).all()
    ticked = np.flatnonzero((bar[:, 19] < INK).all(1)) - top
    assert ticked.tolist() == [0, 40, 80, 120, 160, 200]
    numbers = [text for text, *_ in texts]
    assert numbers == ["MOS", "0", "1", "2", "3", "4", "5"]
    assert [bottom for *_, bottom in texts[1:]] == sorted((bottom for *_, bottom in texts[1:]), reverse=True)
