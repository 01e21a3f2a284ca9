"""Images with known pixels, in any format, and the check that an error is one useful line."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pscr.runtime.errors import PscrError, Status

Pixels = NDArray[np.uint8]
OPENCV_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")


def colours(height: int = 48, width: int = 64) -> Pixels:
    """[H,W,3] RGB: smooth, with no symmetry, and the three channels told apart."""
    y, x = np.mgrid[:height, :width] / (height, width)[0]
    return np.stack([40 + 120 * x, 230 - 150 * y, 60 + 60 * np.sin(4 * x * y)], axis=-1).clip(0, 255).astype(np.uint8)


def encoded(pixels: NDArray[Any] | Image.Image, file_format: str, **options: Any) -> bytes:
    """The bytes of an image file, written by Pillow."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def by_pillow(data: bytes) -> Pixels:
    """[H,W,3] RGB as Pillow reads it."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises any size, with an empty body."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in parts)


def assert_refused(caught: pytest.ExceptionInfo[PscrError], status: Status, *words: str) -> None:
    """The error has this status and one line with all of these words in it."""
    assert caught.value.status is status
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message
