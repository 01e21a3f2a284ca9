"""Orientation is applied, as a viewer does."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from image_makers import colours, encoded
from PIL import Image, ImageOps

from pscr.runtime.image import decode

ORIENTATION = 0x0112
TURNED: dict[
    int, Callable[[Any], Any]
] = {  # orientation: what a viewer makes of the stored pixels (EXIF 2.32, tag 274)
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: np.rot90(p, 2),
    4: np.flipud,
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
    8: np.rot90,
}


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(("file_format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_all_eight_orientations(file_format: str, options: dict[str, Any], orientation: int) -> None:
    data = encoded(colours(), file_format, exif=exif(orientation), **options)
    np.testing.assert_array_equal(decode(data), TURNED[orientation](colours()))


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("file_format", ["JPEG", "AVIF"])
def test_all_eight_orientations_of_lossy_formats(file_format: str, orientation: int) -> None:
    data = encoded(colours(), file_format, exif=exif(orientation))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    np.testing.assert_array_equal(decode(data), np.asarray(upright))


def test_avif_that_says_its_rotation_twice_is_turned_once() -> None:
    stored = np.frombuffer(exif(6).tobytes()[6:], np.uint8)
    _, data = cv2.imencodeWithMetadata(".avif", colours(), [cv2.IMAGE_METADATA_EXIF], [stored])
    assert b"irot" in data.tobytes()
    assert b"MM\0" in data.tobytes() or b"II*" in data.tobytes()

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data.tobytes()))).convert("RGB")

    np.testing.assert_array_equal(decode(data.tobytes()), np.asarray(upright))
