"""Orientation is applied, as a viewer does."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from image_makers import colours, encoded, png_chunk
from PIL import Image, ImageOps

from pscr.runtime.image import decode, load

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


def by_viewers(orientation: int) -> Any:
    return TURNED[orientation](colours())


def exif_of_long(orientation: int) -> bytes:
    """EXIF data whose orientation is a LONG of big-endian order, of which a reader of SHORTs sees 0."""
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHII", 1, ORIENTATION, 4, 1, orientation) + bytes(4)


def xmp(orientation: int) -> bytes:
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation


def with_chunk(kind: bytes, body: bytes, *, before: bytes = b"IDAT") -> bytes:
    """A PNG with one more chunk."""
    data = encoded(colours(), "PNG")
    place = data.index(before) - 4
    return data[:place] + png_chunk(kind, body) + data[place:]


def animated(**options: Any) -> bytes:
    second = Image.fromarray(255 - colours())
    return encoded(colours(), "WEBP", save_all=True, append_images=[second], lossless=True, **options)


def raw_profile(orientation: int) -> bytes:
    data = b"Exif\0\0" + exif_of_long(orientation)
    return b"\nexif\n%8d\n" % len(data) + data.hex().encode() + b"\n"


WHEREVER: dict[str, Callable[[int], bytes]] = {
    "EXIF in animated WebP": lambda n: animated(exif=exif(n)),
    "XMP in animated WebP": lambda n: animated(xmp=xmp(n)),
    "LONG in WebP": lambda n: encoded(colours(), "WEBP", lossless=True, exif=exif_of_long(n)),
    "XMP in WebP": lambda n: encoded(colours(), "WEBP", lossless=True, xmp=xmp(n)),
    "LONG in PNG": lambda n: with_chunk(b"eXIf", exif_of_long(n)),
    "EXIF behind the pixels of a PNG": lambda n: with_chunk(b"eXIf", exif_of_long(n), before=b"IEND"),
    "EXIF as text in PNG": lambda n: with_chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(n)),
    "EXIF as packed text in PNG": lambda n: with_chunk(
        b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(n))
    ),
    "XMP in PNG": lambda n: with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(n)),
    "packed XMP in PNG": lambda n: with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(n))),
    "XMP in TIFF": lambda n: encoded(colours(), "TIFF", tiffinfo={700: xmp(n)}),
}


@pytest.mark.parametrize("orientation", [2, 6, 8])
@pytest.mark.parametrize("where", WHEREVER)
def test_orientation_is_seen_wherever_it_stands(where: str, orientation: int) -> None:
    data = WHEREVER[where](orientation)
    np.testing.assert_array_equal(decode(data), by_viewers(orientation))
    np.testing.assert_array_equal(load(Image.open(io.BytesIO(data))), by_viewers(orientation))


@pytest.mark.parametrize("options", [{"exif": b"Exif\0\0" + exif_of_long(6)}, {"xmp": xmp(6)}], ids=["LONG", "XMP"])
def test_orientation_of_jpeg_is_seen_wherever_it_stands(options: dict[str, bytes]) -> None:
    plain = decode(encoded(colours(), "JPEG"))
    data = encoded(colours(), "JPEG", **options)
    np.testing.assert_array_equal(decode(data), TURNED[6](plain))
    np.testing.assert_array_equal(load(Image.open(io.BytesIO(data))), TURNED[6](plain))


@pytest.mark.parametrize("number", [0, 9, 65535])
def test_orientation_that_is_none_and_exif_before_xmp(number: int) -> None:
    np.testing.assert_array_equal(decode(with_chunk(b"eXIf", exif_of_long(number))), colours())
    np.testing.assert_array_equal(
        decode(encoded(colours(), "WEBP", lossless=True, exif=exif(1), xmp=xmp(6))), colours()
    )
