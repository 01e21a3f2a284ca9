"""The view: whatever an image's number of pixels and its aspect, all of it is seen, and the result says how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_model import write as write_model

import pscr
from pscr import PscrError, Status
from pscr.runtime.manifest import Manifest
from pscr.runtime.samplings import SAMPLINGS, Dense, Ops, read

SIZES = [
    (512, 512),
    (1024, 1024),
    (3024, 4032),
    (910, 512),
    (1920, 1080),
    (500, 1500),
    (2000, 6001),
    (511, 1537),
    (1, 8),
    (8, 1),
    (1, 1),
    (1, 8192),
    (1, 8193),
    (1, 40000),
    (40000, 1),
    (300, 20000),
    (2048, 40960),
    (700, 11000),
    (513, 512),
]
TINY = Dense(64, (0,), 64, view=64, windows=4)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_windows_cover_every_pixel_of_the_view(size: tuple[int, int]) -> None:
    sampling = Dense.usual(224)
    tall, wide = sampling.frame_size(*size)
    seen = np.zeros((tall, wide), bool)
    corners = sampling.corners(np.zeros((tall, wide, 3), np.uint8))
    for top, left in corners:
        assert 0 <= top <= tall - 512
        assert 0 <= left <= wide - 512
        seen[top : top + 512, left : left + 512] = True
    assert seen.all()
    assert len(corners) == sampling.patches(*size) <= sampling.most == 16
    assert len(corners) == -(-max(tall, wide) // 512)  # not one more than is needed


@pytest.mark.parametrize("size", SIZES)
def test_the_grid_of_every_window_covers_it_too(size: tuple[int, int]) -> None:
    sampling = Ops.usual(224)
    tall, wide = sampling.frame_size(*size)
    seen = np.zeros((tall, wide), bool)
    corners = sampling.corners(np.zeros((tall, wide, 3), np.uint8))
    for top, left in corners:
        seen[top : top + 224, left : left + 224] = True
    assert seen.all()
    assert len(corners) == sampling.patches(*size) <= sampling.most


@pytest.mark.parametrize(
    ("height", "width", "scaled"),
    [
        (512, 512, (512, 512)),
        (512, 900, (512, 900)),
        (1024, 1024, (512, 512)),
        (1536, 2048, (512, 683)),
        (3024, 4032, (512, 683)),
        (1080, 1920, (512, 910)),
        (300, 700, (300, 700)),
        (1, 8, (1, 8)),
        (1, 40000, (1, 8192)),
        (2048, 40960, (410, 8192)),
        (300, 20000, (123, 8192)),
    ],
)
def test_the_shorter_side_becomes_that_of_the_view_and_no_image_is_enlarged(
    height: int, width: int, scaled: tuple[int, int]
) -> None:
    assert Dense.usual(224).view_size(height, width) == scaled
    assert Dense.usual(224).view_size(width, height) == scaled[::-1]


def test_scaling_is_by_area() -> None:
    """A pixel of the view is the mean of those that it stands for; skipping or sharpening would show here."""
    pixels = noise(1024, 1024)
    means = pixels.reshape(512, 2, 512, 2, 3).astype(float).mean((1, 3))
    np.testing.assert_allclose(Dense.usual(224).cut(pixels)[0], means, atol=0.5)
    stripes = np.zeros((1536, 1536, 3), np.uint8)
    stripes[:, ::3] = 240
    assert np.unique(Dense.usual(224).cut(stripes)).tolist() == [80]


def test_a_picture_of_the_views_size_is_seen_as_it_is() -> None:
    for sampling in (Dense.usual(224), Ops.usual(224), Ops.usual(299)):
        pixels = noise(512, 512)
        before = replace(sampling, view=0, windows=0)
        np.testing.assert_array_equal(sampling.cut(pixels), before.cut(pixels))
        small = noise(200, 300)
        np.testing.assert_array_equal(sampling.cut(small), before.cut(small))


@pytest.mark.parametrize("size", [(900, 5000), (5000, 900), (640, 640), (130, 40), (1, 300)])
@pytest.mark.parametrize("name", [name for name in SAMPLINGS if name != "resize"])
def test_number_and_places_of_patches_are_known_from_the_size_alone(name: str, size: tuple[int, int]) -> None:
    sampling = SAMPLINGS[name].usual(224)
    assert len(sampling.cut(noise(*size))) == sampling.patches(*size)


@pytest.mark.parametrize(
    ("height", "width", "words"),
    [
        (1536, 2048, ["scaled from 2048x1536 to 683x512", "2 windows"]),
        (512, 512, []),
        (2000, 2000, ["scaled from 2000x2000 to 512x512"]),
        (512, 1537, ["4 windows"]),
        (256, 256, ["padded from 256x256 to 512x512 by reflection"]),
        (
            1,
            40000,
            ["scaled from 40000x1 to 8192x1", "padded from 8192x1 to 8192x512 by reflection", "16 windows"],
        ),
    ],
)
def test_what_is_done_to_an_image_is_said(height: int, width: int, words: list[str]) -> None:
    assert Dense.usual(224).in_words(height, width) == words


@pytest.mark.parametrize(
    "change",
    [
        {"view": 0},
        {"view": 1_000_000},
        {"view": 256},
        {"view": -512},
        {"windows": 0},
        {"windows": -1},
        {"view": "wide"},
        {"view": None},
    ],
)
def test_a_view_that_does_not_fit_is_model_invalid(change: dict[str, Any]) -> None:
    with pytest.raises(PscrError) as caught:
        read({**Dense.usual(224).to_dict(), **change})
    assert caught.value.status is Status.MODEL_INVALID


def test_resize_takes_no_view() -> None:
    with pytest.raises(PscrError) as caught:
        read({**SAMPLINGS["resize"](224).to_dict(), "view": 256, "windows": 16})
    assert caught.value.status is Status.MODEL_INVALID


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("view") / "tiny", sampling=TINY)


@pytest.fixture(scope="module")
def scorer(model: Path) -> Any:
    with pscr.open(model, "cpu", 1) as found:
        yield found


def test_the_result_says_what_was_done(scorer: pscr.Scorer) -> None:
    def message(height: int, width: int) -> str:
        return scorer.score(noise(height, width), pixel_format="rgb").message

    assert message(64, 64) == ""
    assert message(200, 400) == "scaled from 400x200 to 128x64; 2 windows"
    assert message(3, 1000) == "scaled from 1000x3 to 256x1; padded from 256x1 to 256x64 by reflection; 4 windows"
    result = scorer.score(noise(200, 400), pixel_format="rgb")
    assert (result.width, result.height) == (400, 200)


def test_every_part_of_a_large_image_counts(scorer: pscr.Scorer) -> None:
    """Turned into noise, an eighth of a large image moves its score, wherever that eighth lies."""
    plain = np.full((512, 1024, 3), 120, np.uint8)
    score = scorer.score(plain, pixel_format="rgb").score
    for row in range(2):
        for column in range(4):
            worse = plain.copy()
            worse[256 * row : 256 * (row + 1), 256 * column : 256 * (column + 1)] = 255
            assert abs(scorer.score(worse, pixel_format="rgb").score - score) > 1e-3


def test_an_enlarged_picture_scores_as_before(scorer: pscr.Scorer) -> None:
    picture = cv2.GaussianBlur(noise(64, 64), (0, 0), 3)
    score = scorer.score(picture, pixel_format="rgb").score
    for times in (2, 3, 5):
        larger = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)
        assert scorer.score(larger, pixel_format="rgb").score == pytest.approx(score, abs=1e-5)


def test_images_of_any_aspect_go_through_together_in_order(scorer: pscr.Scorer) -> None:
    images = [noise(height, width, height) for height, width in ((64, 64), (40, 300), (500, 100), (64, 64), (9, 9))]
    alone = [scorer.score(image, pixel_format="rgb").score for image in images]
    together = [result.score for result in scorer.score_many(images, pixel_format="rgb", batch=5)]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_folder_of_the_first_format_opens_and_scores_as_before(tmp_path: Path) -> None:
    old = write_model(tmp_path / "old", sampling=replace(TINY, view=0, windows=0), format_version=1)
    assert Manifest.read(old).format_version == 1
    with pscr.open(old, "cpu", 1) as found:
        result = found.score(noise(300, 200), pixel_format="rgb")
        assert result.message == ""
        assert found.patches(noise(300, 200), pixel_format="rgb").shape == (4, 64, 64, 3)


def test_a_view_in_the_first_format_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mixed", sampling=TINY, format_version=1)
    with pytest.raises(PscrError) as caught:
        pscr.open(folder, "cpu", 1)
    assert caught.value.status is Status.MODEL_INVALID
    assert "view" in caught.value.message


def test_a_map_lies_on_the_view_and_on_the_image_where_asked(scorer: pscr.Scorer) -> None:
    image = noise(256, 512)
    found = pscr.quality_map(scorer, image, window=32, stride=16, pixel_format="rgb")
    assert (found.height, found.width, found.view) == (256, 512, (64, 128))
    assert found.values.shape == (3, 7)
    assert found.dense().shape == (256, 512)
    assert list(found.boxes())[8][:4] == (64, 64, 128, 128)  # four pixels of the image for one of the view
    seen = TINY.scaled(image)
    part = np.ascontiguousarray(seen[16:48, 16:48])
    assert found.values[1, 1] == pytest.approx(scorer.score(part, pixel_format="rgb").score, abs=1e-5)
    native = pscr.quality_map(scorer, image, window=32, stride=32, native=True, pixel_format="rgb")
    assert (native.values.shape, native.view) == ((8, 16), (256, 512))
    part = np.ascontiguousarray(image[32:64, 96:128])
    assert native.values[1, 3] == pytest.approx(scorer.score(part, pixel_format="rgb").score, abs=1e-5)


def test_an_image_of_more_windows_than_a_device_takes_fails_alone(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an engine whose profile ends at two windows: the next image is scored all the same."""
    with pscr.open(model, "cpu", 1) as found:
        monkeypatch.setattr(found, "_preparation", replace(found._preparation, patches=2))
        images = [noise(64, 64), noise(64, 300), noise(64, 128)]
        results = list(found.score_many(images, pixel_format="rgb"))
    assert [result.status for result in results] == [Status.OK, Status.INVALID_ARGUMENT, Status.OK]
    assert "4 patches; this engine takes up to 2" in results[1].message
