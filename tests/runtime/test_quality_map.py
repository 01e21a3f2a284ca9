"""The map's cells are the scores of cut-outs, they cover the image to its last pixel, and there is a bound on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_model as tiny
from image_makers import assert_refused

import pscr
from pscr.runtime import quality_map as maps
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import Manifest
from pscr.runtime.samplings import Dense, Nops, Ops, Pixels, Resize, Rps, Sampling

PATCH = tiny.SAMPLING.patch


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    """A smooth picture with a noisy lower half, so that windows differ."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (width, height)).reshape(height, width, 3)
    image[height // 2 :] ^= rng.integers(0, 64, image[height // 2 :].shape, np.uint8)
    return np.asarray(image, np.uint8)


@pytest.fixture
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    """The tiny model, open on the CPU."""
    with pscr.open(tiny_model, device="cpu", threads=1) as opened:
        yield opened


def with_sampling(folder: Path, sampling: Sampling) -> pscr.Scorer:
    """The tiny model with another way to cut patches."""
    manifest = dataclasses.replace(Manifest.read(folder), sampling=sampling)
    manifest.write(folder, ["model.onnx", "bank.npz"])
    return pscr.open(folder, device="cpu", threads=1)


def refused(call: Callable[[], object], status: Status, says: str) -> None:
    """The call is refused with this status and these words."""
    with pytest.raises(PscrError) as caught:
        call()
    assert_refused(caught, status, says)


def cut(image: Pixels, found: pscr.QualityMap, row: int, column: int) -> Pixels:
    """The pixels of a window."""
    top, left = found.corners_y[row], found.corners_x[column]
    return np.ascontiguousarray(image[top : top + found.window, left : left + found.window])


# --- what a cell is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampling",
    [
        tiny.SAMPLING,
        Nops(PATCH, (0, 32), 64),
        Rps(PATCH, (0,), 64, draws=3),
        Dense(PATCH, (0,), PATCH),
        Resize(PATCH, (4,), 40, resized=40),
    ],
    ids=lambda sampling: sampling.method,
)
@pytest.mark.parametrize("window", [None, 16, 25])
def test_a_cell_is_what_its_window_scores_as_an_image_of_its_own(
    own_model: Path, sampling: Sampling, window: int | None
) -> None:
    image = picture(70, 90)
    with with_sampling(own_model, sampling) as scorer:
        found = pscr.quality_map(scorer, image, window=window, pixel_format="rgb")
        assert found.window == window or (window is None and found.window == (sampling.scales_to or PATCH))
        assert found.values.dtype == np.float32
        for row, column in np.ndindex(found.values.shape):
            alone = scorer.score(cut(image, found, row, column), pixel_format="rgb").score
            assert found.values[row, column] == pytest.approx(alone, abs=1e-5)
        assert np.ptp(found.values) > 0.05, "the windows must differ, or equal scores say nothing"


def test_an_image_of_one_patch_has_one_cell_its_score(scorer: pscr.Scorer) -> None:
    for size in ((PATCH, PATCH), (20, 30), (1, 1)):
        image = picture(*size)
        found = pscr.quality_map(scorer, image, pixel_format="rgb")
        assert found.values.shape == (1, 1)
        assert found.values[0, 0] == pytest.approx(scorer.score(image, pixel_format="rgb").score, abs=1e-5)
        assert found.dense().shape == size
        assert found.worst() == (0, 0, min(size[0], PATCH), min(size[1], PATCH))


@pytest.mark.parametrize("batch", [3, 8, 100])
def test_windows_that_go_through_together_keep_their_places(
    scorer: pscr.Scorer, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU; the last batch is not full."""
    image = picture(70, 90)
    alone = pscr.quality_map(scorer, image, pixel_format="rgb")
    assert alone.values.size % batch
    monkeypatch.setattr(pscr.Scorer, "batch", batch)
    assert pscr.quality_map(scorer, image, pixel_format="rgb").values == pytest.approx(alone.values, abs=1e-5)


def test_a_file_its_bytes_and_its_pixels_have_the_same_map_upright(scorer: pscr.Scorer, tmp_path: Path) -> None:
    image = picture(50, 70)
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), image[..., ::-1])
    maps_of = [pscr.quality_map(scorer, source) for source in (file, str(file), file.read_bytes())]
    maps_of.append(pscr.quality_map(scorer, image[..., ::-1], pixel_format="bgr"))
    for found in maps_of:
        assert (found.height, found.width) == (50, 70)
        assert np.array_equal(found.values, maps_of[0].values)


def test_the_cost_is_known_before_and_every_window_is_reported_once(scorer: pscr.Scorer) -> None:
    tops, lefts, window, stride = maps.grid(scorer.manifest.sampling, 70, 90, 20, 15)
    steps: list[None] = []
    found = pscr.quality_map(
        scorer, picture(70, 90), window=20, stride=15, pixel_format="rgb", step=lambda: steps.append(None)
    )
    assert len(steps) == len(tops) * len(lefts) == found.values.size
    assert (window, stride) == (found.window, found.stride)
    assert (tops.tolist(), lefts.tolist()) == (found.corners_y.tolist(), found.corners_x.tolist())

    def enough() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pscr.quality_map(scorer, picture(70, 90), pixel_format="rgb", step=enough)


# --- where the windows are ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 31, 32, 33, 47, 64, 100, 511])
@pytest.mark.parametrize("stride", [1, 7, 16, 32])
def test_windows_go_evenly_from_the_first_to_the_last_pixel(side: int, stride: int) -> None:
    found = maps.starts(side, 32, stride)
    steps = np.diff(found)
    assert found[0] == 0
    assert found[-1] == max(side - 32, 0)
    assert steps.size == 0 or (steps.max() <= stride and steps.max() - steps.min() <= 1 and steps.min() > 0)


def test_without_a_stride_a_pixel_has_two_windows_on_an_axis(scorer: pscr.Scorer) -> None:
    found = pscr.quality_map(scorer, picture(64, 96), pixel_format="rgb")
    assert (found.window, found.stride) == (PATCH, PATCH // 2)
    assert found.corners_y.tolist() == [0, 16, 32]
    assert found.corners_x.tolist() == [0, 16, 32, 48, 64]
    assert found.values.shape == (3, 5)


def test_a_model_that_sees_whole_images_has_windows_of_192_pixels(own_model: Path) -> None:
    assert maps._window(Dense(512, (0,), 512), None) == 192
    assert maps._window(Ops(224, (0, 150, 288), 512), None) == 224
    assert maps._window(Ops(299, (0, 100, 213), 512), None) == 299
    assert maps._window(Resize(224, (16,), 256, resized=256), None) == 256


# --- the map for each pixel ---------------------------------------------------------------------------------------


def test_a_pixel_has_the_mean_of_the_windows_that_cover_it(scorer: pscr.Scorer) -> None:
    found = pscr.quality_map(scorer, picture(45, 61), window=24, stride=10, pixel_format="rgb")
    total, count = np.zeros((45, 61)), np.zeros((45, 61))
    for row, top in enumerate(found.corners_y):
        for column, left in enumerate(found.corners_x):
            total[top : top + 24, left : left + 24] += found.values[row, column]
            count[top : top + 24, left : left + 24] += 1
    assert count.min() >= 1
    dense = found.dense()
    assert dense.dtype == np.float32
    assert dense == pytest.approx(total / count, abs=1e-5)
    # On another grid it is read at the middles of that grid's cells.
    assert np.array_equal(found.dense(9, 61), dense[2::5])
    assert found.dense(90, 122)[::2, ::2] == pytest.approx(dense, abs=1e-5)


def test_the_lowest_window_is_where_the_lowest_score_is(scorer: pscr.Scorer) -> None:
    image = picture(80, 80)
    found = pscr.quality_map(scorer, image, stride=12, pixel_format="rgb")
    top, left, height, width = found.worst()
    lowest = np.ascontiguousarray(image[top : top + height, left : left + width])
    score = scorer.score(lowest, pixel_format="rgb").score
    assert score == pytest.approx(float(found.values.min()), abs=1e-5)


# --- bounds and refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"window": 15}, "window is 15; expected a whole number of pixels from 16 to 32"),
        ({"window": 33}, "window is 33"),
        ({"window": 20.0}, "window is 20.0"),
        ({"window": True}, "window is True"),
        ({"stride": 0}, "stride is 0; expected a whole number of pixels from 1 to the window, 32"),
        ({"stride": 33}, "stride is 33"),
        ({"window": 20, "stride": 21}, "from 1 to the window, 20"),
    ],
)
def test_a_window_or_stride_out_of_range_is_refused(scorer: pscr.Scorer, arguments: dict, says: str) -> None:
    refused(
        lambda: pscr.quality_map(scorer, picture(64, 64), pixel_format="rgb", **arguments),
        Status.INVALID_ARGUMENT,
        says,
    )


def test_too_many_windows_are_refused_with_the_stride_that_would_do(scorer: pscr.Scorer) -> None:
    image = picture(100, 200)
    refused(
        lambda: pscr.quality_map(scorer, image, stride=1, pixel_format="rgb"),
        Status.INVALID_ARGUMENT,
        "200x100 has 11661 windows of 32 pixels at a stride of 1; expected at most 4096; use a stride of 2 or more",
    )
    assert pscr.quality_map(scorer, image, stride=2, pixel_format="rgb").values.shape == (35, 85)


def test_without_a_stride_a_large_image_has_at_most_1024_windows_where_they_can_cover_it() -> None:
    def count(height: int, width: int, stride: int) -> int:
        return len(maps.starts(height, 224, stride)) * len(maps.starts(width, 224, stride))

    assert maps._stride(2000, 3000, 224, None) == 112, "390 windows"
    stride = maps._stride(5000, 6000, 224, None)
    assert 112 < stride < 224
    assert count(5000, 6000, stride) <= 1024 < count(5000, 6000, stride - 1)
    assert maps._stride(12000, 12000, 224, None) == 224, "no gaps, though that takes 2,916"


def test_an_image_that_no_stride_can_cover_is_too_large() -> None:
    refused(
        lambda: maps._stride(30000, 30000, 224, None), Status.IMAGE_TOO_LARGE, "expected at most 4096; scale the image"
    )


def test_an_image_that_cannot_be_read_has_no_map(scorer: pscr.Scorer, tmp_path: Path) -> None:
    refused(lambda: pscr.quality_map(scorer, tmp_path / "none.png"), Status.FILE_NOT_FOUND, "no such file")
    refused(lambda: pscr.quality_map(scorer, b"text"), Status.DECODE_FAILED, "not an image")
    scorer.close()
    refused(lambda: pscr.quality_map(scorer, picture(40, 40), pixel_format="rgb"), Status.CLOSED, "closed")


# --- in a notebook ------------------------------------------------------------------------------------------------


def test_jupyter_shows_the_map_over_the_image_itself(scorer: pscr.Scorer) -> None:
    found = pscr.quality_map(scorer, picture(600, 1100), pixel_format="rgb")
    assert found.preview is not None
    assert found.preview.shape == (279, 512, 3)
    shown, bare = (
        cv2.imdecode(np.frombuffer(one._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
        for one in (found, dataclasses.replace(found, preview=None))
    )
    assert shown.shape[0] * shown.shape[1] > 1.5 * bare.shape[0] * bare.shape[1], "two panels against one"
    assert "preview" not in repr(found)
