"""Reading images: a path, encoded bytes or an array in, RGB pixels out, and a plain answer where that cannot be.

The policy (one test file for each line, tests/runtime/test_image_*.py):

- orientation (EXIF; in AVIF the `irot` and `imir` properties) is applied;
- alpha is dropped, not composited: the colour under it is what is scored. GIF and animated WebP store no colour for a
  fully transparent pixel, which takes the canvas colour;
- grey is repeated to three channels, CMYK is converted (profiles are ignored), 16 bits become 8, to within one level;
- of an animation or a multi-page file the first frame is read, of PNG and TIFF even where a later one is cut off;
- a file cut short, an empty file and a file that is no image are DECODE_FAILED, as are signed and floating-point
  samples, which have no fixed white; damage in the middle of a file goes unseen where its format has no checksum;
- an image above the pixel limit is IMAGE_TOO_LARGE, told from its header before any pixel is decoded.

OpenCV decodes what it knows, equal to Pillow's `convert("RGB")` (CMYK: to within one level). Pillow, where it is
installed, is asked for other formats only, so that no score depends on whether it is there.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from . import image_header as header
from .errors import PscrError, Status, one_line
from .noise import caught
from .samplings import Pixels

DEFAULT_MAX_PIXELS = 178_000_000
PIXEL_FORMATS = ("rgb", "bgr", "rgba", "bgra", "gray")

_log = logging.getLogger(__name__)
_EXPECTED = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or JPEG 2000"
_CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "gray": 1}
_TO_RGB = {
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "gray": cv2.COLOR_GRAY2RGB,
}
_CODECS = {"WebP": ".webp", "GIF": ".gif", "AVIF": ".avif", "JPEG 2000": ".jp2"}  # that an OpenCV build may lack
_PILLOW_NAMES = {"JPEG 2000": "JPEG2000", "PNM": "PPM"}  # that differ from ours by more than capitals
_pillow_lock = threading.Lock()  # one at a time, for the sake of _no_warnings
_SCRIPTED = ("EPS", "WMF")  # for which Pillow starts other programs


class PillowImage(Protocol):
    """What a type checker takes for a PIL.Image.Image; Pillow itself is not imported."""

    @property
    def size(self) -> tuple[int, int]: ...

    def getexif(self) -> Any: ...


# "bytes" and "path", one of which may be None: an image of a column of Hugging Face's datasets with decode=False
Undecoded = Mapping[str, Any]
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Pixels | PillowImage | Undecoded


def load(
    source: Source,
    *,
    pixel_format: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    notes: list[str] | None = None,
) -> Pixels:
    """Read one image from wherever it is.

    source: a path, the bytes of an encoded image, an array as `from_array` takes it, an image that Pillow has opened,
        or a mapping with the bytes or the path of an image file under these names (see `Undecoded`).
    pixel_format: one of `PIXEL_FORMATS`; needed for an array of 3 or 4 channels (an array of one is "gray"), and not
        used for anything else, which says it itself.
    max_pixels: largest height * width that is accepted.
    notes: where the decoder's warnings on an image that it could read after all are put; they are logged too.

    Returns [H,W,3] uint8, RGB, C-contiguous; the caller's own memory where that already was such an array.

    Raises:
        PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT, DECODE_FAILED, IMAGE_TOO_LARGE, OUT_OF_MEMORY.
    """
    if isinstance(source, Mapping) and ("bytes" in source or "path" in source):
        source = source["path"] if source.get("bytes") is None else source["bytes"]
    if isinstance(source, (str, os.PathLike)):
        return decode(read_file(source), name=_shown(source), max_pixels=max_pixels, notes=notes)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode(source, max_pixels=max_pixels, notes=notes)
    pillow = sys.modules.get("PIL.Image")  # whoever has such an image has imported it
    if pillow is not None and isinstance(source, pillow.Image):
        return _from_pillow(source, max_pixels)
    if not isinstance(source, np.ndarray):
        raise PscrError(
            Status.INVALID_ARGUMENT,
            f"found {type(source).__name__}; expected a path, the bytes of an image file, a uint8 array or a Pillow "
            "image; pass numpy.asarray(image) and pixel_format=",
        )
    if pixel_format is None:
        if source.ndim == 3 and source.shape[2] != 1:
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"array: shape {source.shape} without pixel_format; name the order of its channels, "
                f"one of {', '.join(PIXEL_FORMATS)} (OpenCV gives 'bgr', Pillow 'rgb')",
            )
        pixel_format = "gray"
    return from_array(source, pixel_format, max_pixels=max_pixels)


def read_file(path: str | os.PathLike[str] | bytes) -> bytes:
    """Read a whole file.

    Raises:
        PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT for a folder, a device or a name that cannot be one;
            DECODE_FAILED for a file that cannot be read, with the system's reason; OUT_OF_MEMORY.
    """
    name = _shown(path)
    if not os.fspath(path):
        raise _error(Status.INVALID_ARGUMENT, "path", "empty; expected the name of an image file")
    try:
        file = Path(os.fsdecode(path))
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _error(Status.INVALID_ARGUMENT, name, "a folder; expected an image file; pass the files in it")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise _error(Status.INVALID_ARGUMENT, name, "a device or socket; expected an image file")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _error(Status.FILE_NOT_FOUND, name, "no such file; check the path") from error
    except ValueError as error:
        raise _error(Status.INVALID_ARGUMENT, name, f"cannot be a file name ({error})") from error
    except OSError as error:
        raise _error(Status.DECODE_FAILED, name, f"cannot be read ({error.strerror}); check the file") from error
    except MemoryError as error:
        raise _error(Status.OUT_OF_MEMORY, name, "the file does not fit into memory") from error


def decode(
    data: bytes | bytearray | memoryview,
    *,
    name: str = "image bytes",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    notes: list[str] | None = None,
) -> Pixels:
    """Decode an image file's bytes by the policy at the top of this file.

    name: what error messages call the image.
    max_pixels: largest height * width that is accepted.
    notes: as in `load`.

    Returns [H,W,3] uint8, RGB, C-contiguous.

    Raises:
        PscrError: DECODE_FAILED; IMAGE_TOO_LARGE, from the header alone; OUT_OF_MEMORY; INVALID_ARGUMENT where
            `data` is not bytes.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise _error(Status.INVALID_ARGUMENT, name, f"found {type(data).__name__}; expected bytes; use load()")
    try:
        data = bytes(data)
        if not data:
            raise _error(Status.DECODE_FAILED, name, f"empty (0 bytes); expected {_EXPECTED}")
        kind = header.opencv_format(data)
        if not kind:
            other = header.other_format(data)
            found = f"{other}, which cannot be read" if other else f"not an image (starts with {data[:8]!r})"
            return _decode_with_pillow(data, name, found, max_pixels)
        if kind in _CODECS and not cv2.haveImageWriter(_CODECS[kind]):
            found = f"{kind}, which this build of OpenCV cannot read"
            return _decode_with_pillow(data, name, found, max_pixels, kind)
        size = header.size(data, kind)
        if size is None:
            found = f"{kind} whose header gives no size: cut short or damaged"
            return _decode_with_pillow(data, name, found, max_pixels, kind)
        _check_size(name, *size, max_pixels)
        pixels, warning = _decode_with_opencv(data, kind, name)
        _check_size(name, pixels.shape[1], pixels.shape[0], max_pixels)
        if warning:
            _log.warning("%s: the decoder says: %s", name, warning)
            if notes is not None:
                notes.append(f"the decoder says: {warning}")
        return pixels
    except MemoryError as error:
        raise _error(Status.OUT_OF_MEMORY, name, "the decoded image does not fit into memory") from error


def size_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width in pixels of an image file, from its header where that has them; else it is decoded.

    They are as stored: an orientation that turns the image is not applied.

    Raises:
        PscrError: as `load` of a path.
    """
    data = read_file(path)
    kind = header.opencv_format(data)
    size = header.size(data, kind) if kind else None
    if size is None:
        pixels = decode(data, name=_shown(path))
        return int(pixels.shape[0]), int(pixels.shape[1])
    return size[1], size[0]


def from_array(array: Pixels, pixel_format: str, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Pixels:
    """Bring an array of pixels to RGB.

    array: uint8; [H,W] or [H,W,1] for "gray", [H,W,3] for "rgb" and "bgr", [H,W,4] for "rgba" and "bgra".
    pixel_format: one of `PIXEL_FORMATS`. Alpha is dropped, grey repeated.
    max_pixels: largest height * width that is accepted.

    Returns [H,W,3] uint8, RGB, C-contiguous; the array's own memory where it already was so.

    Raises:
        PscrError: INVALID_ARGUMENT where dtype, shape and pixel_format do not go together or a side is zero;
            IMAGE_TOO_LARGE; OUT_OF_MEMORY.
    """
    if pixel_format not in PIXEL_FORMATS:
        found = f"pixel_format {pixel_format!r} is not known; expected one of {', '.join(PIXEL_FORMATS)}"
        raise PscrError(Status.INVALID_ARGUMENT, found)
    channels = _CHANNELS[pixel_format]
    fits = array.ndim == 3 and array.shape[2] == channels
    if not (fits or (array.ndim == 2 and channels == 1)):
        expected = "(height, width) or (height, width, 1)" if channels == 1 else f"(height, width, {channels})"
        advice = "name the pixel_format that it has, put channels last, and pass one image at a time"
        found = f"shape {array.shape}; expected {expected} for pixel_format {pixel_format!r}; {advice}"
        raise _error(Status.INVALID_ARGUMENT, "array", found)
    if array.dtype != np.uint8:
        found = f"dtype {array.dtype}; expected uint8, 0 to 255; scale to that range, round and use astype('uint8')"
        raise _error(Status.INVALID_ARGUMENT, "array", found)
    if array.size == 0:
        found = f"shape {array.shape} holds no pixels; expected at least 1x1"
        raise _error(Status.INVALID_ARGUMENT, "array", found)
    _check_size("array", array.shape[1], array.shape[0], max_pixels)
    try:
        array = np.ascontiguousarray(array)
        return array if pixel_format == "rgb" else _convert(array, _TO_RGB[pixel_format])
    except (MemoryError, cv2.error) as error:
        raise _error(Status.OUT_OF_MEMORY, "array", "its RGB form does not fit into memory") from error


def _decode_with_opencv(data: bytes, kind: str, name: str) -> tuple[Pixels, str]:
    """The pixels, and what the format's library had to say of them."""
    # JPEG straight to RGB: converted afterwards, a 12-megapixel photograph would lie in memory twice.
    flags = cv2.IMREAD_COLOR_RGB if kind == "JPEG" else cv2.IMREAD_COLOR
    if kind == "TIFF":
        if not header.tiff_has_plain_samples(data):
            found = "TIFF with signed or floating-point samples; expected unsigned 8 or 16 bits; convert it first"
            raise _error(Status.DECODE_FAILED, name, found)
        data = header.tiff_without_straight_alpha(data)
    elif kind == "PNG" and (claimed := header.png_claims(data)):
        found = f"PNG with a part of {claimed} bytes in a file of {len(data)}; expected a whole file"
        raise _error(Status.DECODE_FAILED, name, f"{found}; make or copy it again")
    elif kind == "AVIF":
        flags |= cv2.IMREAD_IGNORE_ORIENTATION  # in AVIF `irot` and `imir` count, EXIF is a copy for information
    try:
        decoded, words = caught(lambda: cv2.imdecode(np.frombuffer(data, np.uint8), flags))
        if decoded is None:
            reason = f" ({words})" if words else ""
            found = (
                f"{kind}, cut short, damaged or of a rare kind{reason}; expected a whole file; make or copy it again"
            )
            raise _error(Status.DECODE_FAILED, name, found)
        pixels = np.asarray(decoded, np.uint8) if kind == "JPEG" else _convert(decoded, cv2.COLOR_BGR2RGB)
    except cv2.error as error:
        if error.code == -4:  # cv::Error::StsNoMem
            raise MemoryError from error
        if "CV_IO_MAX_IMAGE" in str(error):
            found = "above OpenCV's own limit; scale it down, or set OPENCV_IO_MAX_IMAGE_PIXELS before the start"
            raise _error(Status.IMAGE_TOO_LARGE, name, found) from error
        found = f"{kind} that OpenCV cannot decode ({error.err}); make or copy it again"
        raise _error(Status.DECODE_FAILED, name, found) from error
    if kind == "AVIF":
        turns, mirrored = header.avif_orientation(data)
        pixels = np.rot90(pixels, turns)
        pixels = np.ascontiguousarray(pixels if mirrored is None else np.flip(pixels, mirrored))
    return pixels, words


def _decode_with_pillow(data: bytes, name: str, found: str, max_pixels: int, kind: str = "") -> Pixels:
    """Pillow's reading of what OpenCV does not read, under the same policy.

    found: what to call it where that fails. kind: of `image_header.opencv_format`, for Pillow to try no other; "" for
        all formats that it knows.
    """
    try:
        pillow = import_module("PIL.Image")
    except ImportError:
        advice = "for other formats: pip install pillow"
        raise _error(Status.DECODE_FAILED, name, f"{found}; expected {_EXPECTED}; {advice}") from None
    try:
        formats = [_PILLOW_NAMES.get(kind, kind.upper())] if kind else None
        with _pillow_lock, _no_warnings(), pillow.open(io.BytesIO(data), formats=formats) as image:
            if image.format in _SCRIPTED:
                raise _error(Status.DECODE_FAILED, name, f"{image.format}; expected {_EXPECTED}; convert it first")
            return _pillow_pixels(image, name, max_pixels)
    except (PscrError, MemoryError):
        raise
    except pillow.UnidentifiedImageError:
        raise _error(Status.DECODE_FAILED, name, f"{found}; expected {_EXPECTED}") from None
    except pillow.DecompressionBombError as error:
        found = "above Pillow's own limit; scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS"
        raise _error(Status.IMAGE_TOO_LARGE, name, found) from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file drives them to
        reason = " ".join(str(error).split()) or type(error).__name__
        found = f"cut short or damaged: Pillow says {reason!r}; make or copy it again"
        raise _error(Status.DECODE_FAILED, name, found) from error


def _from_pillow(image: Any, max_pixels: int) -> Pixels:
    """The pixels of an image that the caller has opened with Pillow, and which may not have read its file yet."""
    try:
        with _pillow_lock, _no_warnings():
            return _pillow_pixels(image, "Pillow image", max_pixels)
    except PscrError:
        raise
    except MemoryError as error:
        raise _error(Status.OUT_OF_MEMORY, "Pillow image", "its RGB form does not fit into memory") from error
    except Exception as error:  # as in _decode_with_pillow; also a file that was closed meanwhile
        found = f"Pillow says {one_line(error)!r}; open the image again"
        raise _error(Status.DECODE_FAILED, "Pillow image", found) from error


def _pillow_pixels(image: Any, name: str, max_pixels: int) -> Pixels:
    """The pixels of a Pillow image under the policy: upright, alpha dropped, 16 bits scaled."""
    width, height = image.size
    _check_size(name, width, height, max_pixels)
    upright: Any = import_module("PIL.ImageOps").exif_transpose(image)
    if upright.mode.startswith("I;16"):  # Pillow's own conversion clips where it should scale
        return _convert(np.asarray(upright, np.uint16) // 256, cv2.COLOR_GRAY2RGB)
    if upright.mode in ("I", "F"):
        found = f"{image.format or 'image'} with 32-bit samples; expected 8 or 16 bits; scale it to 8 bits first"
        raise _error(Status.DECODE_FAILED, name, found)
    return np.array(upright.convert("RGB"), np.uint8)


@contextlib.contextmanager
def _no_warnings() -> Iterator[None]:
    """Keep Pillow's Python warnings on damaged files from the terminal; the filters belong to the whole process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        found = f"{width}x{height} is {width * height} pixels; expected at most {max_pixels}"
        raise _error(Status.IMAGE_TOO_LARGE, name, f"{found}; scale it down, or raise max_pixels")


def _convert(pixels: NDArray[Any], code: int) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _shown(path: str | os.PathLike[str] | bytes) -> str:
    """A path as one printable line."""
    name = os.fsdecode(path)
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")


def _error(status: Status, name: str, message: str) -> PscrError:
    return PscrError(status, f"{name}: {message}")
