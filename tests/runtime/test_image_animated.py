"""Of an animation or a multi-page file the first frame is read."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from image_makers import by_pillow, colours, encoded
from PIL import Image

from pscr.runtime.image import decode


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("AVIF", {}), ("TIFF", {})],
)
def test_first_frame_is_read(file_format: str, options: dict[str, Any]) -> None:
    second = Image.fromarray(255 - colours())
    data = encoded(colours(), file_format, save_all=True, append_images=[second], **options)

    pixels = decode(data)

    np.testing.assert_array_equal(pixels, by_pillow(data))
    assert np.abs(pixels.astype(int) - colours()).mean() < 4


def test_first_frame_smaller_than_the_canvas_lies_where_it_belongs() -> None:
    frame = Image.fromarray(colours(24, 32)).quantize(16)
    gif = bytearray(encoded(frame, "GIF"))
    descriptor = gif.index(b",\0\0\0\0")
    struct.pack_into("<HH", gif, 6, 64, 48)
    struct.pack_into("<HH", gif, descriptor + 1, 16, 12)

    pixels = decode(bytes(gif))

    assert pixels.shape == (48, 64, 3)
    np.testing.assert_array_equal(pixels[12:36, 16:48], np.asarray(frame.convert("RGB")))
