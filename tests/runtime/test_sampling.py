"""Patch sampling: where patches start, what is padded, and in which order they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.sampling import Sampling, ops

S224, S299 = ops(224), ops(299)


def image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 10_000 + width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("sampling", "side", "starts"),
    [
        (S224, 512, (0, 150, 288)),
        (S299, 512, (0, 100, 213)),
        (S224, 768, (0, 283, 544)),
        (S224, 224, (0, 0, 0)),
        (S224, 225, (0, 1, 1)),
        (S224, 3000, (0, 1446, 2776)),
        (S224, 4000, (0, 1967, 3776)),
        (S299, 1024, (0, 340, 725)),
    ],
)
def test_starts_scale_with_the_room_to_move(sampling: Sampling, side: int, starts: tuple[int, ...]) -> None:
    assert sampling.axis_starts(side) == starts


@pytest.mark.parametrize("side", [224, 300, 513, 767, 1000, 4032])
def test_first_patch_touches_one_edge_and_last_the_other(side: int) -> None:
    first, _, last = S224.axis_starts(side)
    assert first == 0
    assert last + 224 == side


@pytest.mark.parametrize(("height", "width"), [(512, 512), (512, 768), (768, 512), (3000, 4000)])
def test_patches_are_the_pixels_at_the_starts_row_by_row(height: int, width: int) -> None:
    pixels = image(height, width)
    tops = {512: (0, 150, 288), 768: (0, 283, 544), 3000: (0, 1446, 2776)}[height]
    lefts = {512: (0, 150, 288), 768: (0, 283, 544), 4000: (0, 1967, 3776)}[width]

    patches = S224.cut(pixels)

    assert patches.shape == (9, 224, 224, 3)
    for number, patch in enumerate(patches):
        top, left = tops[number // 3], lefts[number % 3]
        np.testing.assert_array_equal(patch, pixels[top : top + 224, left : left + 224])
    assert not S224.pads(height, width)


def test_image_of_one_patch_gives_it_nine_times() -> None:
    pixels = image(224, 224)
    np.testing.assert_array_equal(S224.cut(pixels), np.broadcast_to(pixels, (9, 224, 224, 3)))


def test_padding_is_numpys_reflect() -> None:
    pixels = image(150, 150)
    padded = np.pad(pixels, ((37, 37), (37, 37), (0, 0)), mode="reflect")
    assert S224.pads(150, 150)
    np.testing.assert_array_equal(S224.cut(pixels)[4], padded)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (200, 900), (900, 223)])
def test_only_the_short_sides_are_padded_evenly(height: int, width: int) -> None:
    pixels = image(height, width)
    down, right = max(0, 224 - height), max(0, 224 - width)
    ends = ((down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0))

    patches = S224.cut(pixels)

    assert S224.pads(height, width)
    np.testing.assert_array_equal(patches, S224.cut(np.pad(pixels, ends, mode="reflect")))


def test_single_pixel_fills_every_patch() -> None:
    pixels = np.array([[[10, 20, 30]]], np.uint8)
    np.testing.assert_array_equal(S224.cut(pixels), np.broadcast_to(pixels[0, 0], (9, 224, 224, 3)))


def test_out_is_filled_and_returned() -> None:
    pixels, out = image(512, 512), np.zeros((9, 224, 224, 3), np.uint8)
    assert S224.cut(pixels, out) is out
    np.testing.assert_array_equal(out, S224.cut(pixels))


def test_cutting_leaves_the_image_alone() -> None:
    pixels = image(100, 300)
    before = pixels.copy()
    S224.cut(pixels)
    np.testing.assert_array_equal(pixels, before)


def test_manifest_entry_goes_round() -> None:
    assert Sampling.from_dict(S299.to_dict()) == S299
    assert S299.to_dict() == {"method": "ops", "patch": 299, "starts": [0, 100, 213], "reference_side": 512}


@pytest.mark.parametrize(
    "change",
    [
        {"method": "random"},
        {"patch": 0},
        {"patch": 513},
        {"patch": "wide"},
        {"starts": []},
        {"starts": [0, 289]},
        {"starts": [-1, 0]},
        {"starts": 3},
        {"starts": None},
        {"reference_side": 100},
        {"reference_side": None},
    ],
)
def test_bad_manifest_entry_is_model_invalid(change: dict[str, Any]) -> None:
    with pytest.raises(PscrError) as caught:
        Sampling.from_dict({**S224.to_dict(), **change})
    assert caught.value.status is Status.MODEL_INVALID


@pytest.mark.parametrize("key", ["method", "patch", "starts", "reference_side"])
def test_missing_manifest_key_is_model_invalid(key: str) -> None:
    entry = S224.to_dict()
    del entry[key]
    with pytest.raises(PscrError) as caught:
        Sampling.from_dict(entry)
    assert caught.value.status is Status.MODEL_INVALID
    assert key in str(caught.value)
