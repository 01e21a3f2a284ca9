"""Grey is repeated to three channels."""

from __future__ import annotations

import numpy as np
import pytest
from image_makers import OPENCV_FORMATS, by_pillow, colours, encoded
from PIL import Image

from pscr.runtime.image import decode

GREY = colours()[..., 0]


@pytest.mark.parametrize("file_format", OPENCV_FORMATS)
def test_grey_has_three_equal_channels(file_format: str) -> None:
    data = encoded(GREY, file_format)

    pixels = decode(data)

    assert pixels.shape == (48, 64, 3)
    np.testing.assert_array_equal(pixels, by_pillow(data))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "GIF", "PPM"])
def test_one_bit_is_black_and_white(file_format: str) -> None:
    data = encoded(Image.fromarray(GREY).convert("1"), file_format)
    pixels = decode(data)
    assert set(np.unique(pixels)) == {0, 255}
    np.testing.assert_array_equal(pixels, by_pillow(data))


@pytest.mark.parametrize("maximum", [1, 15, 100])
def test_pnm_is_scaled_to_its_maximum(maximum: int) -> None:
    pixels = decode(b"P5 3 1 %d " % maximum + bytes([0, maximum, maximum]))
    assert pixels[0, :, 0].tolist() == [0, 255, 255]
