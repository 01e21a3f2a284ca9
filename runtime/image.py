"""Reading images: a path, encoded bytes or an array in, RGB pixels out, and a plain answer where that cannot be.

The policy (one test file for each line, tests/runtime/test_image_*.py):

- orientation is applied: EXIF's, of any type of number but BYTE, or where it has none XMP's; in AVIF that of the `irot`
  and `imir` properties;
- alpha is dropped, not composited: the colour under it is what is scored. GIF and animated WebP store no colour for a
  fully transparent pixel, which takes the canvas colour;
- colours are taken to sRGB by an ICC profile of three curves and a matrix, or of one curve for grey, in JPEG, PNG,
  WebP, TIFF and AVIF; a profile of sRGB changes nothing, one of another kind (CMYK, tables) is said and not applied.
  PNG's gAMA, cHRM and cICP and AVIF's numbered colours are not applied;
- grey is repeated to three channels, CMYK converted without a profile, 10 to 16 bits become 8, to within one level;
- of an animation or a multi-page file the first frame is read, of PNG and TIFF even where a later one is cut off; the
  screen of a GIF is at least as large as its first frame;
- what follows a PNG's end, and its large chunks that are no part of the pixels, are passed over;
- a file cut short, an empty file, a file that is no image, and a TIFF with a damaged strip or tile are DECODE_FAILED,
  as are signed and floating-point samples, which have no fixed white; damage in the middle of a file goes unseen where
  its format has no checksum, and is a message where the decoder speaks of it;
- what is no regular file (a pipe, a device, a socket) is DECODE_FAILED, and is not waited for;
- an image above the pixel limit is IMAGE_TOO_LARGE, told from its header before any pixel is decoded, and so is a file
  of 2 GiB; a file that does not begin as an image is DECODE_FAILED above 256 MiB, and is not read.

OpenCV decodes what it knows, equal to Pillow's `convert("RGB")` (CMYK: to within one level). Pillow, where it is
installed, is asked for other formats and kinds of TIFF only, and for faxes, whose damage it tells: no score depends on
whether it is there.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from . import image_file, image_pillow
from . import image_header as header
from .errors import PscrError, Status
from .gpu_jpeg import JpegDecoder
from .image_words import EXPECTED, UNNAMED, check_size, refused, unreadable
from .samplings import Pixels

DEFAULT_MAX_PIXELS = 178_000_000
PIXEL_FORMATS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "gray": 1}  # and how many channels each has

_HEAD = 4096  # bytes of a file that tell its format
_MOST_BYTES = 2**31 - 1  # of an encoded image: OpenCV counts them in 32 bits
_MOST_UNKNOWN = 1 << 28  # of a file that does not begin as an image that OpenCV reads
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
_TO_RGB = {
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "gray": cv2.COLOR_GRAY2RGB,
}


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
    jpeg: JpegDecoder | None = None,
) -> Pixels:
    """Read one image from wherever it is.

    source: a path, the bytes of an encoded image, an array as `from_array` takes it, an image that Pillow has opened,
        or a mapping with the bytes or the path of an image file under these names (see `Undecoded`).
    pixel_format: one of `PIXEL_FORMATS`; needed for an array of 3 or 4 channels (an array of one is "gray"), and not
        used for anything else, which says it itself.
    max_pixels: largest height * width that is accepted.
    notes: where it is put what the decoder had to say of an image that it could read after all, which is logged too,
        and what became of the image's colour profile.
    jpeg: what decodes JPEGs; None for OpenCV.

    Returns [H,W,3] uint8, RGB, C-contiguous; the caller's own memory where that already was such an array.

    Raises:
        PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT, DECODE_FAILED, IMAGE_TOO_LARGE, OUT_OF_MEMORY.
    """
    if isinstance(source, Mapping) and ("bytes" in source or "path" in source):
        source = _held(source)
    if isinstance(source, (str, os.PathLike)):
        return decode(read_file(source), name=_shown(source), max_pixels=max_pixels, notes=notes, jpeg=jpeg)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode(source, max_pixels=max_pixels, notes=notes, jpeg=jpeg)
    pillow = sys.modules.get("PIL.Image")  # whoever has such an image has imported it
    if isinstance(source, getattr(pillow, "Image", ())):  # another thread may have imported half of it
        pixels, said = image_pillow.from_image(source, max_pixels)
        if notes is not None:
            notes += said
        return pixels
    if not isinstance(source, np.ndarray):
        advice = "pass its read()" if hasattr(source, "read") else "pass numpy.asarray(image) and pixel_format="
        raise PscrError(
            Status.INVALID_ARGUMENT,
            f"found {type(source).__name__}; expected a path, the bytes of an image file, a uint8 array or a Pillow "
            f"image; {advice}",
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


def _held(source: Undecoded) -> Any:
    """The bytes of a mapping, or where it has none its path.

    Raises:
        PscrError: INVALID_ARGUMENT where it has neither.
    """
    for name in ("bytes", "path"):
        if source.get(name) is not None:
            return source[name]
    found = "a mapping whose bytes and path are both None or missing; expected one of them; drop the row, or fetch it"
    raise PscrError(Status.INVALID_ARGUMENT, found)


def read_file(path: str | os.PathLike[str] | bytes) -> bytes:
    """Read a whole file, without waiting for anything: a pipe, a device or a socket is none.

    Raises:
        PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT for a folder or a name that cannot be one; DECODE_FAILED for what is
            no regular file, and for a file that cannot be read, with the system's reason; OUT_OF_MEMORY.
    """
    name = _shown(path)
    if not os.fspath(path):
        raise refused(Status.INVALID_ARGUMENT, "path", "empty; expected the name of an image file")
    try:
        file = os.fsdecode(path)
        _check_kind(Path(file).stat(), name)  # to open a device may already do something
        with open(file, "rb", opener=_opened) as stream:
            _check_kind(os.fstat(stream.fileno()), name)  # where it was replaced meanwhile
            return _whole(stream, name)
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from error
    except MemoryError as error:
        raise refused(Status.OUT_OF_MEMORY, name, "the file does not fit into memory") from error


def _opened(file: str, flags: int) -> int:
    """A file's descriptor. A pipe that took the file's place is opened without waiting for a writer."""
    return os.open(file, flags | getattr(os, "O_NONBLOCK", 0))


def _check_kind(found: os.stat_result, name: str) -> None:
    """Refuse what is no regular file."""
    if stat.S_ISDIR(found.st_mode):
        raise refused(Status.INVALID_ARGUMENT, name, "a folder; expected an image file; pass the files in it")
    kind = next((word for is_kind, word in _KINDS if is_kind(found.st_mode)), "")
    if kind or not stat.S_ISREG(found.st_mode):
        advice = "expected a regular file; write the image to a file first, or pass its bytes"
        raise refused(Status.DECODE_FAILED, name, f"{kind or 'no file'}; {advice}")


def _whole(stream: BinaryIO, name: str) -> bytes:
    """A file's bytes; of one that does not begin as an image, and of one that is too long, no more than its head."""
    head = stream.read(_HEAD) or b""  # None where /proc has nothing to give yet
    known = header.opencv_format(head)
    most = _MOST_BYTES if known else _MOST_UNKNOWN
    if stream.seek(0, os.SEEK_END) <= most:
        stream.seek(0)
        return stream.read() or b""
    if not known:
        found = f"not an image (starts with {head[:8]!r}) and above {most} bytes; expected {EXPECTED}"
        raise refused(Status.DECODE_FAILED, name, found)
    raise refused(Status.IMAGE_TOO_LARGE, name, f"{known} of more than {most} bytes; OpenCV reads no more; convert it")


def decode(
    data: bytes | bytearray | memoryview,
    *,
    name: str = UNNAMED,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    notes: list[str] | None = None,
    jpeg: JpegDecoder | None = None,
) -> Pixels:
    """Decode an image file's bytes by the policy at the top of this file.

    name: what error messages call the image.
    max_pixels: largest height * width that is accepted.
    notes, jpeg: as in `load`.

    Returns [H,W,3] uint8, RGB, C-contiguous.

    Raises:
        PscrError: DECODE_FAILED; IMAGE_TOO_LARGE, from the header alone; OUT_OF_MEMORY; INVALID_ARGUMENT where
            `data` is not bytes.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise refused(Status.INVALID_ARGUMENT, name, f"found {type(data).__name__}; expected bytes; use load()")
    try:
        data = bytes(data)
        if not data:
            raise refused(Status.DECODE_FAILED, name, f"empty (0 bytes); expected {EXPECTED}")
        pixels, said = image_file.pixels_of(data, name, max_pixels, jpeg)
        check_size(name, pixels.shape[1], pixels.shape[0], max_pixels)
        if notes is not None:
            notes += said
        return pixels
    except MemoryError as error:
        raise refused(Status.OUT_OF_MEMORY, name, "the decoded image does not fit into memory") from error


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
    channels = PIXEL_FORMATS[pixel_format]
    fits = array.ndim == 3 and array.shape[2] == channels
    if not (fits or (array.ndim == 2 and channels == 1)):
        expected = "(height, width) or (height, width, 1)" if channels == 1 else f"(height, width, {channels})"
        advice = "name the pixel_format that it has, put channels last, and pass one image at a time"
        found = f"shape {array.shape}; expected {expected} for pixel_format {pixel_format!r}; {advice}"
        raise refused(Status.INVALID_ARGUMENT, "array", found)
    if array.dtype != np.uint8:
        found = f"dtype {array.dtype}; expected uint8, 0 to 255; scale to that range, round and use astype('uint8')"
        raise refused(Status.INVALID_ARGUMENT, "array", found)
    if array.size == 0:
        found = f"shape {array.shape} holds no pixels; expected at least 1x1"
        raise refused(Status.INVALID_ARGUMENT, "array", found)
    check_size("array", array.shape[1], array.shape[0], max_pixels)
    try:
        array = np.ascontiguousarray(array)
        return array if pixel_format == "rgb" else _convert(array, _TO_RGB[pixel_format])
    except (MemoryError, cv2.error) as error:
        raise refused(Status.OUT_OF_MEMORY, "array", "its RGB form does not fit into memory") from error


def _convert(pixels: NDArray[Any], code: int) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _shown(path: str | os.PathLike[str] | bytes) -> str:
    """A path as one printable line."""
    name = os.fsdecode(path)
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
