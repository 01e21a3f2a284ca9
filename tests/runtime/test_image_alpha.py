"""Alpha is dropped, not composited: the colour under it stays, whatever the alpha."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import pytest
from image_makers import by_pillow, colours, encoded
from PIL import Image

from pscr.runtime.image import decode

RAMP = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
RGBA = np.dstack([colours(), RAMP])


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True, "exact": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_colour_under_alpha_is_kept(file_format: str, options: dict[str, Any]) -> None:
    np.testing.assert_array_equal(decode(encoded(RGBA, file_format, **options)), colours())


@pytest.mark.parametrize("file_format", ["AVIF", "JPEG2000"])
def test_colour_under_alpha_of_lossy_formats_is_pillows(file_format: str) -> None:
    data = encoded(RGBA, file_format)
    np.testing.assert_array_equal(decode(data), by_pillow(data))


def test_sixteen_bit_alpha_is_dropped_as_well() -> None:
    data = cv2.imencode(".png", cv2.cvtColor(RGBA, cv2.COLOR_RGBA2BGRA).astype(np.uint16) * 257)[1].tobytes()
    np.testing.assert_array_equal(decode(data), colours())


def test_big_endian_tiff_keeps_the_colour_under_alpha() -> None:
    height, width = RGBA.shape[:2]
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 2), (273, 8), (277, 4), (278, height), (338, 2)]
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    entries += struct.pack(">HHII", 279, 4, 1, RGBA.size)
    bits = entries.replace(struct.pack(">HHIHH", 258, 3, 1, 8, 0), struct.pack(">HHII", 258, 3, 4, 8 + RGBA.size))
    depths = struct.pack(">4H", 8, 8, 8, 8)
    directory = 8 + RGBA.size + len(depths)
    data = b"MM\0*" + struct.pack(">I", directory) + RGBA.tobytes() + depths
    data += struct.pack(">H", len(tags) + 1) + bits + bytes(4)

    np.testing.assert_array_equal(decode(data), colours())


def test_grey_with_alpha_is_grey() -> None:
    grey = colours()[..., 0]
    both = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(RAMP)])
    for file_format in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(encoded(both, file_format)), np.dstack([grey] * 3))


def test_transparent_palette_entry_keeps_its_colour() -> None:
    palette = Image.fromarray(colours()).quantize(64)
    data = encoded(palette, "PNG", transparency=bytes(range(64)))
    np.testing.assert_array_equal(decode(data), np.asarray(palette.convert("RGB")))


def test_transparent_colour_of_png_is_kept() -> None:
    corner = tuple(int(value) for value in colours()[0, 0])
    np.testing.assert_array_equal(decode(encoded(colours(), "PNG", transparency=corner)), colours())
