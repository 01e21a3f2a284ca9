"""Every format that OpenCV reads comes out as Pillow reads it, in RGB."""

from __future__ import annotations

import numpy as np
import pytest
from image_makers import OPENCV_FORMATS, by_pillow, colours, encoded

from pscr.runtime.image import decode


@pytest.mark.parametrize("file_format", OPENCV_FORMATS)
def test_pixels_equal_pillows(file_format: str) -> None:
    data = encoded(colours(), file_format)

    pixels = decode(data)

    np.testing.assert_array_equal(pixels, by_pillow(data))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"quality": 75, "subsampling": 2}])
def test_jpeg_pixels_equal_pillows_for_every_kind_of_jpeg(options: dict[str, int]) -> None:
    data = encoded(colours(), "JPEG", **options)
    np.testing.assert_array_equal(decode(data), by_pillow(data))


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_keep_every_pixel(file_format: str) -> None:
    np.testing.assert_array_equal(decode(encoded(colours(), file_format)), colours())


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_object_is_taken(wrap: type) -> None:
    data = encoded(colours(), "PNG")
    np.testing.assert_array_equal(decode(wrap(data)), colours())


@pytest.mark.parametrize("colour_count", [2, 4, 16, 200])
def test_palette_is_looked_up(colour_count: int) -> None:
    import PIL.Image

    palette = PIL.Image.fromarray(colours()).quantize(colour_count)
    for file_format in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode(encoded(palette, file_format)), np.asarray(palette.convert("RGB")))
