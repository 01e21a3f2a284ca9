"""Of an animation or a multi-page file the first frame is read."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from image_makers import assert_refused, by_pillow, colours, encoded
from PIL import Image

from pscr.runtime.errors import PscrError, Status
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


@pytest.mark.parametrize(("left", "top", "screen"), [(0, 0, (20, 12)), (9, 7, (64, 48)), (0, 0, (1, 300))])
def test_gif_screen_is_at_least_as_large_as_its_first_frame(left: int, top: int, screen: tuple[int, int]) -> None:
    """As browsers and Pillow see it."""
    gif = bytearray(encoded(Image.fromarray(colours()).quantize(16), "GIF"))
    descriptor = gif.index(b",\0\0\0\0")
    struct.pack_into("<HH", gif, 6, *screen)
    struct.pack_into("<HH", gif, descriptor + 1, left, top)

    pixels = decode(bytes(gif))

    assert pixels.shape == (max(48 + top, screen[1]), max(64 + left, screen[0]), 3)
    np.testing.assert_array_equal(
        pixels[top : top + 48, left : left + 64], by_pillow(bytes(gif))[top:, left:][:48, :64]
    )


def test_gif_whose_frame_makes_it_too_large_is_refused_from_its_header() -> None:
    gif = bytearray(encoded(Image.fromarray(colours()).quantize(16), "GIF"))
    struct.pack_into("<HH", gif, gif.index(b",\0\0\0\0") + 5, 65535, 65535)
    with pytest.raises(PscrError) as caught:
        decode(bytes(gif))
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "65535x65535")
