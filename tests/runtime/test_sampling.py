"""Patch sampling: where patches start, what is padded, and in which order they come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.samplings import SAMPLINGS, Dense, Nops, Ops, Pixels, Resize, Rps, Sampling, read


def first(sampling: Sampling) -> Sampling:
    """As models of the first format have it: without a view."""
    return replace(sampling, view=0, windows=0)


S224, S299 = first(Ops.usual(224)), first(Ops.usual(299))
CORNERS = [(30, 15), (45, 5), (66, 27), (23, 21), (74, 27), (68, 36), (19, 29), (41, 21), (2, 32)]


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
    assert S224.in_words(height, width) == []


def test_image_of_one_patch_gives_it_nine_times() -> None:
    pixels = image(224, 224)
    np.testing.assert_array_equal(S224.cut(pixels), np.broadcast_to(pixels, (9, 224, 224, 3)))


def test_padding_is_numpys_reflect() -> None:
    pixels = image(150, 150)
    padded = np.pad(pixels, ((37, 37), (37, 37), (0, 0)), mode="reflect")
    assert S224.in_words(150, 150) == ["padded from 150x150 to 224x224 by reflection"]
    np.testing.assert_array_equal(S224.cut(pixels)[4], padded)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (200, 900), (900, 223)])
def test_only_the_short_sides_are_padded_evenly(height: int, width: int) -> None:
    pixels = image(height, width)
    down, right = max(0, 224 - height), max(0, 224 - width)
    ends = ((down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0))

    patches = S224.cut(pixels)

    assert "padded" in " ".join(S224.in_words(height, width))
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
    assert read(S299.to_dict()) == S299
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
        read({**S224.to_dict(), **change})
    assert caught.value.status is Status.MODEL_INVALID


@pytest.mark.parametrize("key", ["method", "patch", "starts", "reference_side"])
def test_missing_manifest_key_is_model_invalid(key: str) -> None:
    entry = S224.to_dict()
    del entry[key]
    with pytest.raises(PscrError) as caught:
        read(entry)
    assert caught.value.status is Status.MODEL_INVALID
    assert key in str(caught.value)


@pytest.mark.parametrize(("patch", "starts"), [(224, (0, 224)), (299, (0,))])
def test_nops_lies_side_by_side_from_the_top_left(patch: int, starts: tuple[int, ...]) -> None:
    pixels = image(512, 512)
    expected = [pixels[y : y + patch, x : x + patch] for y in starts for x in starts]
    np.testing.assert_array_equal(Nops.usual(patch).cut(pixels), expected)


def test_rps_draws_other_places_for_every_image_and_always_the_same() -> None:
    sampling, pixels = Rps.usual(224), image(512, 512)
    other = pixels.copy()
    other[0, 0, 0] ^= 1
    assert sampling.cut(pixels).shape == (9, 224, 224, 3)
    assert sampling.corners(pixels) == sampling.corners(np.asfortranarray(pixels)) == sampling.corners(pixels[:])
    assert sampling.corners(pixels) != sampling.corners(other)
    assert first(sampling).corners(image(600, 400)) != first(sampling).corners(image(400, 600))


def test_rps_places_are_those_that_any_other_program_finds() -> None:
    """The numbers of a fixed image: if they change, every exported RPS model scores other pixels than it did."""
    pixels = np.arange(300 * 260 * 3, dtype=np.uint32).reshape(300, 260, 3).astype(np.uint8)
    assert Rps.usual(224).corners(pixels) == CORNERS


def test_rps_reaches_every_edge_evenly_and_never_beyond() -> None:
    sampling = Rps(32, (0,), draws=9)
    corners = np.array([sampling.corners(image(40 + seed % 2, 64)) for seed in range(2)]).reshape(-1, 2)
    many = np.array([Rps(32, (0,), draws=1000).corners(image(40, 64))])[0]
    assert (corners >= 0).all()
    assert many.min(0).tolist() == [0, 0]
    assert many.max(0).tolist() == [8, 32]
    np.testing.assert_allclose(many.mean(0), [4, 16], rtol=0.1)


def test_a_small_image_is_padded_for_rps_too() -> None:
    assert Rps.usual(224).in_words(100, 500) == ["padded from 500x100 to 500x224 by reflection"]
    assert Rps.usual(224).cut(image(100, 500)).shape == (9, 224, 224, 3)


@pytest.mark.parametrize(("patch", "short"), [(224, 256), (299, 320)])
@pytest.mark.parametrize("size", [(512, 512), (512, 768), (1000, 600), (100, 130)])
def test_resize_scales_the_short_side_and_cuts_the_centre(patch: int, short: int, size: tuple[int, int]) -> None:
    sampling, (height, width) = Resize.usual(patch), size
    framed = sampling.frame(image(*size))
    tall, wide = height * short // min(size), width * short // min(size)
    assert framed.shape == (tall, wide, 3)
    assert sampling.frame_size(*size) == (tall, wide)
    top, left = sampling.corners(framed)[0]
    assert abs(2 * top - (tall - patch)) <= 1
    assert abs(2 * left - (wide - patch)) <= 1
    np.testing.assert_array_equal(sampling.cut(image(*size)), framed[None, top : top + patch, left : left + patch])
    assert sampling.in_words(*size) == []


def test_resize_keeps_what_is_in_the_picture() -> None:
    """A half of an image that is white stays that half, and shrinking averages, where it does not skip pixels."""
    half = np.zeros((512, 512, 3), np.uint8)
    half[:, 256:] = 255
    patch = Resize.usual(224).cut(half)[0]
    assert patch[:, :111].max() == 0
    assert patch[:, 113:].min() == 255
    stripes: Pixels = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.unique(Resize.usual(224).cut(stripes)).tolist() == [100]


@pytest.mark.parametrize("patch", [224, 299])
@pytest.mark.parametrize("name", SAMPLINGS)
def test_every_sampling_travels_in_the_manifest(name: str, patch: int) -> None:
    sampling = SAMPLINGS[name].usual(patch)
    entry = sampling.to_dict()
    assert read(entry) == sampling
    assert set(entry) - {"method", "patch", "starts", "reference_side"} == {
        "rps": {"draws", "view", "windows"},
        "resize": {"resized"},
        "whole": {"longest"},
    }.get(name, {"view", "windows"})
    old = first(sampling)
    assert read(old.to_dict()) == old


@pytest.mark.parametrize(
    "change",
    [{"draws": 9}, {"resized": 256}, {"method": "rps"}, {"method": "resize", "resized": 200}, {"draws": -1}],
)
def test_draws_and_resized_belong_to_one_method_each(change: dict[str, Any]) -> None:
    with pytest.raises(PscrError) as caught:
        read({**S224.to_dict(), **change})
    assert caught.value.status is Status.MODEL_INVALID


@pytest.mark.parametrize(
    ("height", "width", "corners"),
    [
        (512, 512, [(0, 0)]),
        (300, 512, [(0, 0)]),
        (512, 600, [(0, 0), (0, 88)]),
        (1024, 1024, [(0, 0), (0, 512), (512, 0), (512, 512)]),
        (4000, 512, [(744, 0), (2744, 0)]),
    ],
)
def test_dense_covers_an_image_in_one_two_or_four_tiles(
    height: int, width: int, corners: list[tuple[int, int]]
) -> None:
    sampling = first(Dense.usual(224))
    assert sampling.corners(sampling.frame(image(height, width))) == corners
    assert sampling.cut(image(height, width)).shape == (len(corners), 512, 512, 3)
    assert sampling.patches(height, width) == len(corners) <= sampling.most


def test_dense_of_one_tile_is_the_image_itself() -> None:
    whole = image(512, 512)
    np.testing.assert_array_equal(Dense.usual(224).cut(whole)[0], whole)
