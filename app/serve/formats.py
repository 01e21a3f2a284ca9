"""Which formats of images a service decodes: each is a parser that a stranger's bytes would reach."""

from __future__ import annotations

from collections.abc import Collection

from ..runtime import image_header as header
from ..runtime.errors import PscrError, Status

OTHER = "other"  # whatever else is read, which is Pillow's, where it is installed
FORMATS = {  # as image_header calls them, and their media types
    "jpeg": ("JPEG", "image/jpeg"),
    "png": ("PNG", "image/png"),
    "webp": ("WebP", "image/webp"),
    "gif": ("GIF", "image/gif"),
    "bmp": ("BMP", "image/bmp"),
    "avif": ("AVIF", "image/avif"),
    "tiff": ("TIFF", "image/tiff"),
    "jpeg2000": ("JPEG 2000", "image/jp2"),
    "pnm": ("PNM", "image/x-portable-anymap"),
    OTHER: ("", "image/*"),
}
USUAL = ("jpeg", "png", "webp", "gif", "bmp", "avif")


def check(data: bytes, formats: Collection[str]) -> None:
    """See, by an image file's first bytes, whether it is of one of these formats.

    Raises:
        PscrError: DECODE_FAILED.
    """
    kind = header.opencv_format(data)
    if any(FORMATS[name][0] == kind for name in formats):
        return
    found = kind or header.other_format(data) or f"not an image (starts with {data[:8]!r})"
    raise PscrError(Status.DECODE_FAILED, f"image bytes: {found}; expected {', '.join(formats)}; convert it first")
