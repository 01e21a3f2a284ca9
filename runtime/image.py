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

import logging
import os
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from . import image_colour, image_pillow, image_png, image_tiff
from . import image_header as header
from . import image_metadata as metadata
from .errors import PscrError, Status
from .image_errors import EXPECTED, check_size, refused
from .samplings import Pixels
from .stderr_capture import caught

DEFAULT_MAX_PIXELS = 178_000_000
PIXEL_FORMATS = ("rgb", "bgr", "rgba", "bgra", "gray")

_log = logging.getLogger(__name__)
_HEAD = 4096  # bytes of a file that tell its format
_MOST_BYTES = 2**31 - 1  # of an encoded image: OpenCV counts them in 32 bits
_MOST_UNKNOWN = 1 << 28  # of a file that does not begin as an image that OpenCV reads
_CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "gray": 1}
_TO_RGB = {
    "bgr": cv2.COLOR_BGR2RGB,
    "rgba": cv2.COLOR_RGBA2RGB,
    "bgra": cv2.COLOR_BGRA2RGB,
    "gray": cv2.COLOR_GRAY2RGB,
}
_CODECS = {"WebP": ".webp", "GIF": ".gif", "AVIF": ".avif", "JPEG 2000": ".jp2"}  # that an OpenCV build may lack


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
        return _noted(*image_pillow.from_image(source, max_pixels), "Pillow image", notes)
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
        raise refused(Status.INVALID_ARGUMENT, "path", "empty; expected the name of an image file")
    try:
        file = Path(os.fsdecode(path))
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            raise refused(Status.INVALID_ARGUMENT, name, "a folder; expected an image file; pass the files in it")
        if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
            raise refused(Status.INVALID_ARGUMENT, name, "a device or socket; expected an image file")
        with file.open("rb") as stream:
            return _whole(stream, name)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise refused(Status.FILE_NOT_FOUND, name, "no such file; check the path") from error
    except ValueError as error:
        raise refused(Status.INVALID_ARGUMENT, name, f"cannot be a file name ({error})") from error
    except OSError as error:
        raise refused(Status.DECODE_FAILED, name, f"cannot be read ({error.strerror}); check the file") from error
    except MemoryError as error:
        raise refused(Status.OUT_OF_MEMORY, name, "the file does not fit into memory") from error


def _whole(stream: BinaryIO, name: str) -> bytes:
    """A file's bytes; of one that does not begin as an image, and of one that is too long, no more than its head."""
    head = stream.read(_HEAD)
    known = header.opencv_format(head)
    most = _MOST_BYTES if known else _MOST_UNKNOWN
    if stream.seekable():
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        data = stream.read() if size <= most else b""
    else:
        data = head + stream.read(most + 1 - len(head))
        size = len(data)
    if size <= most:
        return data
    if not known:
        found = f"not an image (starts with {head[:8]!r}) and above {most} bytes; expected {EXPECTED}"
        raise refused(Status.DECODE_FAILED, name, found)
    raise refused(Status.IMAGE_TOO_LARGE, name, f"{known} of more than {most} bytes; OpenCV reads no more; convert it")


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
        raise refused(Status.INVALID_ARGUMENT, name, f"found {type(data).__name__}; expected bytes; use load()")
    try:
        data = bytes(data)
        if not data:
            raise refused(Status.DECODE_FAILED, name, f"empty (0 bytes); expected {EXPECTED}")
        pixels, said = _decoded(data, name, max_pixels)
        check_size(name, pixels.shape[1], pixels.shape[0], max_pixels)
        return _noted(pixels, said, name, notes)
    except MemoryError as error:
        raise refused(Status.OUT_OF_MEMORY, name, "the decoded image does not fit into memory") from error


def _decoded(data: bytes, name: str, max_pixels: int) -> tuple[Pixels, list[str]]:
    """The pixels of an image file, and what is to be said of them."""
    kind = header.opencv_format(data)
    if not kind:
        other = header.other_format(data)
        found = f"{other}, which cannot be read" if other else f"not an image (starts with {data[:8]!r})"
        return image_pillow.decode(data, name, found, max_pixels)
    if kind in _CODECS and not cv2.haveImageWriter(_CODECS[kind]):
        found = f"{kind}, which this build of OpenCV cannot read"
        return image_pillow.decode(data, name, found, max_pixels)
    size = header.size(data, kind)
    if size is None:
        return image_pillow.decode(data, name, f"{kind} whose header gives no size: cut short or damaged", max_pixels)
    check_size(name, *size, max_pixels)
    return _from_tiff(data, name, max_pixels) if kind == "TIFF" else _from_opencv(data, kind, name)


def _noted(pixels: Pixels, said: list[str], name: str, notes: list[str] | None) -> Pixels:
    """The pixels, after what is to be said of them has been logged and added to `notes`."""
    for words in said:
        _log.warning("%s: %s", name, words)
    if notes is not None:
        notes += said
    return pixels


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
        return image_pillow.decode(data, name, found, max_pixels)
    if directory.number(image_tiff.COMPRESSION) in image_tiff.FAX and image_pillow.installed():
        return image_pillow.decode(data, name, "TIFF of a fax, cut short or damaged", max_pixels)
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
    return decoded, [f"the decoder says: {words}"] if words else []


def _finished(
    decoded: NDArray[Any], meant: metadata.Metadata, notes: list[str], *, rgb: bool = False
) -> tuple[Pixels, list[str]]:
    """Decoded pixels as RGB, upright and in sRGB. rgb: whether they are RGB already, and not BGR."""
    try:
        pixels = np.asarray(decoded, np.uint8) if rgb else _convert(decoded, cv2.COLOR_BGR2RGB)
        pixels, colour = image_colour.to_srgb(metadata.upright(pixels, meant.orientation), meant.profile)
    except cv2.error as error:
        raise MemoryError from error
    return pixels, [*notes, colour] if colour else notes


def _convert(pixels: NDArray[Any], code: int) -> Pixels:
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _shown(path: str | os.PathLike[str] | bytes) -> str:
    """A path as one printable line."""
    name = os.fsdecode(path)
    return name if name.isprintable() else name.encode("unicode_escape").decode("ascii")
