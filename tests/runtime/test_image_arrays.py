"""Arrays: the pixel format is named, and what does not fit it is INVALID_ARGUMENT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from image_makers import assert_refused, colours

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import PIXEL_FORMATS, from_array, load

RGB = colours()
ALPHA = np.arange(RGB.shape[0] * RGB.shape[1], dtype=np.uint8).reshape(48, 64, 1)


@pytest.mark.parametrize(
    ("array", "pixel_format", "expected"),
    [
        (RGB, "rgb", RGB),
        (RGB[..., ::-1], "bgr", RGB),
        (np.dstack([RGB, ALPHA]), "rgba", RGB),
        (np.dstack([RGB[..., ::-1], ALPHA]), "bgra", RGB),
        (ALPHA, "gray", np.dstack([ALPHA] * 3)),
        (ALPHA[..., 0], "gray", np.dstack([ALPHA] * 3)),
    ],
    ids=["rgb", "bgr", "rgba", "bgra", "gray-3d", "gray-2d"],
)
def test_every_pixel_format_becomes_rgb(array: Any, pixel_format: str, expected: Any) -> None:
    pixels = from_array(array, pixel_format)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.flags.c_contiguous


def test_contiguous_rgb_is_not_copied() -> None:
    array = RGB.copy()
    array.flags.writeable = False
    assert np.shares_memory(from_array(array, "rgb"), array)


@pytest.mark.parametrize("view", [RGB[::2, ::3], RGB[::-1], RGB.transpose(1, 0, 2), RGB[5:6, 7:8]])
def test_strided_views_keep_their_pixels(view: Any) -> None:
    pixels = from_array(view, "rgb")
    np.testing.assert_array_equal(pixels, view)
    assert pixels.flags.c_contiguous


def test_load_takes_grey_without_a_name() -> None:
    np.testing.assert_array_equal(load(ALPHA[..., 0]), load(ALPHA))


@pytest.mark.parametrize("channels", [3, 4])
def test_load_asks_for_the_order_of_the_channels(channels: int) -> None:
    with pytest.raises(PscrError) as caught:
        load(np.zeros((8, 8, channels), np.uint8))
    assert_refused(caught, Status.INVALID_ARGUMENT, f"(8, 8, {channels})", "pixel_format", "'bgr'", "'rgb'")


@pytest.mark.parametrize(
    ("shape", "pixel_format"),
    [
        ((8, 8), "rgb"),
        ((8, 8, 1), "rgb"),
        ((8, 8, 3), "gray"),
        ((8, 8, 3), "rgba"),
        ((8, 8, 4), "bgr"),
        ((3, 8, 8), "rgb"),
        ((1, 8, 8, 3), "rgb"),
        ((8,), "gray"),
        ((), "gray"),
    ],
)
def test_shape_that_does_not_fit_is_refused(shape: tuple[int, ...], pixel_format: str) -> None:
    with pytest.raises(PscrError) as caught:
        from_array(np.zeros(shape, np.uint8), pixel_format)
    assert_refused(caught, Status.INVALID_ARGUMENT, f"shape {shape}", "expected (height, width", repr(pixel_format))


@pytest.mark.parametrize("dtype", ["float32", "uint16", "int8", "bool"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    with pytest.raises(PscrError) as caught:
        from_array(np.zeros((8, 8, 3), dtype), "rgb")
    assert_refused(caught, Status.INVALID_ARGUMENT, f"dtype {dtype}", "expected uint8")


@pytest.mark.parametrize("shape", [(0, 8, 3), (8, 0, 3), (0, 0, 3)])
def test_array_of_no_pixels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PscrError) as caught:
        from_array(np.zeros(shape, np.uint8), "rgb")
    assert_refused(caught, Status.INVALID_ARGUMENT, str(shape), "no pixels")


def test_unknown_pixel_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PscrError) as caught:
        from_array(RGB, "RGB")
    assert_refused(caught, Status.INVALID_ARGUMENT, "'RGB'", *PIXEL_FORMATS)


@pytest.mark.parametrize("source", [None, 3, [[1, 2], [3, 4]], object()])
def test_other_objects_are_refused(source: Any) -> None:
    with pytest.raises(PscrError) as caught:
        load(source)
    assert_refused(caught, Status.INVALID_ARGUMENT, f"found {type(source).__name__}", "numpy.asarray")
