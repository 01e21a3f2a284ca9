"""An image file's bytes to pixels, by the library that reads its kind rightly, under the policy of `image`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import image_colour, image_pillow, image_png, image_tiff
from . import image_header as header
from . import image_metadata as metadata
from .errors import Status
from .gpu_jpeg import JpegDecoder
from .image_words import check_size, decoder_says, refused
from .samplings import Pixels
from .stderr_capture import caught

_CODECS = {"WebP": ".webp", "GIF": ".gif", "AVIF": ".avif", "JPEG 2000": ".jp2"}  # that an OpenCV build may lack


def pixels_of(data: bytes, name: str, max_pixels: int, jpeg: JpegDecoder | None = None) -> tuple[Pixels, list[str]]:
    """The pixels [H,W,3] of an image file, RGB, upright and in sRGB, and what is to be said of them.

    jpeg: what is asked for a JPEG's pixels before OpenCV is; None for OpenCV alone.

    Raises:
        PscrError: DECODE_FAILED, IMAGE_TOO_LARGE.
        MemoryError: it does not fit.
    """
    kind = header.opencv_format(data)
    if not kind:
        other = header.other_format(data)
        found = f"{other}, which cannot be read" if other else f"not an image (starts with {data[:8]!r})"
        return image_pillow.decode(data, name, found, max_pixels)
    if kind in _CODECS and not cv2.haveImageWriter(_CODECS[kind]):
        found = f"{kind}, which this build of OpenCV cannot read"
        return image_pillow.decode(data, name, found, max_pixels, kind)
    size = header.size(data, kind)
    if size is None:
        found = f"{kind} whose header gives no size: cut short or damaged"
        return image_pillow.decode(data, name, found, max_pixels, kind)
    check_size(name, *size, max_pixels)
    if jpeg is not None and kind == "JPEG" and (pixels := jpeg.pixels(data)) is not None:
        return _finished(pixels, metadata.of_jpeg(data), [], rgb=True)
    return _from_tiff(data, name, max_pixels) if kind == "TIFF" else _from_opencv(data, kind, name)


def _from_tiff(data: bytes, name: str, max_pixels: int) -> tuple[Pixels, list[str]]:
    """`_from_opencv` where OpenCV reads this kind of TIFF rightly, else Pillow where that does."""
    directory = image_tiff.Directory(data)
    if not image_tiff.fixed_white(directory):
        found = "TIFF with signed or floating-point samples; expected unsigned 8 or 16 bits; convert it first"
        raise refused(Status.DECODE_FAILED, name, found)
    if rare := image_tiff.rare_kind(directory):
        found = f"this kind of TIFF ({rare}), which cannot be read"
        if not image_tiff.pillow_reads(directory):
            raise refused(Status.DECODE_FAILED, name, f"{found}; expected 8 or 16 bits and up to 4 samples; convert it")
        return image_pillow.decode(data, name, found, max_pixels, "TIFF")
    if directory.number(image_tiff.COMPRESSION) in image_tiff.FAX and image_pillow.installed():
        return image_pillow.decode(data, name, "TIFF of a fax, cut short or damaged", max_pixels, "TIFF")
    flags = cv2.IMREAD_COLOR
    if packed := directory.number(image_tiff.BITS) in image_tiff.PACKED:
        flags |= cv2.IMREAD_ANYDEPTH

    def read() -> NDArray[Any] | None:
        if damage := image_tiff.damage(directory):
            found = f"TIFF, cut short or damaged: {damage}; make or copy it again"
            raise refused(Status.DECODE_FAILED, name, found)
        return cv2.imdecode(np.frombuffer(image_tiff.for_opencv(directory), np.uint8), flags)

    decoded, notes = _told(read, "TIFF", name)
    if packed:
        decoded = image_tiff.from_packed(decoded, directory)
    return _finished(decoded, metadata.of_tiff(directory), notes)


def _from_opencv(data: bytes, kind: str, name: str) -> tuple[Pixels, list[str]]:
    """The pixels of an image of another format, and what is to be said of them."""
    # JPEG straight to RGB: converted afterwards, a 12-megapixel photograph would lie in memory twice.
    flags = cv2.IMREAD_COLOR_RGB if kind == "JPEG" else cv2.IMREAD_COLOR
    meant = metadata.Metadata()
    if kind == "JPEG":
        meant = metadata.of_jpeg(data)
    elif kind == "PNG":
        chunks = image_png.chunks(data)
        if claimed := image_png.claim(data, chunks):
            found = f"PNG with a part of {claimed} bytes in a file of {len(data)}; expected a whole file"
            raise refused(Status.DECODE_FAILED, name, f"{found}; make or copy it again")
        meant = metadata.of_png(data, chunks)
        data = image_png.for_opencv(data, chunks)
    elif kind == "WebP":
        meant = metadata.of_webp(data)
    elif kind == "AVIF":
        meant = metadata.of_avif(data)
    encoded = header.gif_for_opencv(data) if kind == "GIF" else data
    flags |= cv2.IMREAD_IGNORE_ORIENTATION  # it is applied below: OpenCV sees EXIF only, and not all of that
    decoded, notes = _told(lambda: cv2.imdecode(np.frombuffer(encoded, np.uint8), flags), kind, name)
    if kind == "AVIF":
        turns, mirrored = header.avif_orientation(data)
        decoded = np.rot90(decoded, turns)
        decoded = np.ascontiguousarray(decoded if mirrored is None else np.flip(decoded, mirrored))
    return _finished(decoded, meant, notes, rgb=kind == "JPEG")


def _told(read: Callable[[], NDArray[Any] | None], kind: str, name: str) -> tuple[NDArray[Any], list[str]]:
    """What OpenCV decodes, and what the format's library had to say of it."""
    try:
        decoded, words = caught(read)
    except cv2.error as error:
        if error.code == -4:  # cv::Error::StsNoMem
            raise MemoryError from error
        if "CV_IO_MAX_IMAGE" in str(error):
            found = "above OpenCV's own limit; scale it down, or set OPENCV_IO_MAX_IMAGE_PIXELS before the start"
            raise refused(Status.IMAGE_TOO_LARGE, name, found) from error
        found = f"{kind} that OpenCV cannot decode ({error.err}); make or copy it again"
        raise refused(Status.DECODE_FAILED, name, found) from error
    if decoded is None:
        reason = f" ({words})" if words else ""
        found = f"{kind}, cut short, damaged or of a rare kind{reason}; expected a whole file; make or copy it again"
        raise refused(Status.DECODE_FAILED, name, found)
    return decoded, decoder_says(words, name)


def _finished(
    decoded: NDArray[Any], meant: metadata.Metadata, notes: list[str], *, rgb: bool = False
) -> tuple[Pixels, list[str]]:
    """Decoded pixels as RGB, upright and in sRGB. rgb: whether they are RGB already, and not BGR."""
    try:
        pixels = (
            np.asarray(decoded, np.uint8) if rgb else np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
        )
        pixels, colour = image_colour.to_srgb(metadata.upright(pixels, meant.orientation), meant.profile)
    except cv2.error as error:
        raise MemoryError from error
    return pixels, [*notes, colour] if colour else notes
