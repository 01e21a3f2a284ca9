"""What an image file's first bytes say before anything is decoded: its format, its size, and how to treat it."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

from .image_tiff import HEIGHT, WIDTH, Directory

_GAP = rb"(?:\s|#[^\n]*\n)+"
_Table = tuple[tuple[str, re.Pattern[bytes]], ...]


def _table(*rows: tuple[str, bytes]) -> _Table:
    return tuple((name, re.compile(begins, re.DOTALL)) for name, begins in rows)


# What OpenCV is asked to read. Left out: the BMP of OS/2, whose size imagesize 2.0.1 misreads, and PNM whose maximum is
# neither 255 nor 65535, which OpenCV does not scale. No row fits the beginning of a format that OpenCV tells by other
# bytes: with any length of an AVIF's first box, \xff\x4f\xff\x51 (JPEG 2000) or P5 could stand in its place.
_OPENCV = _table(
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("WebP", rb"RIFF.{4}WEBP"),
    ("BMP", rb"BM.{12}[\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
    ("TIFF", rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]"),
    ("GIF", rb"GIF8[79]a"),
    ("AVIF", rb"\0\0\0.ftyp(?:.{4}){0,16}?avi[fs]"),
    ("JPEG 2000", rb"\0\0\0\x0cjP  \r\n\x87\n"),
    ("PNM", rb"P[14]\s|P[2356]" + _GAP + rb"\d+" + _GAP + rb"\d+" + _GAP + rb"(?:255|65535)\s"),
)
# What deserves its name in the error message.
_OTHERS = _table(
    ("HEIF (HEIC)", rb".{4}ftyp(?:hei|hev|mif|msf)"),
    ("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("a floating-point image", rb"v/1\x01|#\?R|P[Ff]\s"),
    ("SVG", rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|svg|!--)"),
    ("PDF or PostScript", rb"%PDF|%!PS|\xc5\xd0\xd3\xc6"),
)


_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))


def opencv_format(data: bytes) -> str:
    """The name of the format that OpenCV is asked to read, or "" for any other."""
    return next((name for name, begins in _OPENCV if begins.match(data)), "")


def other_format(data: bytes) -> str:
    """The name of a format that OpenCV is not asked to read, or "" where it is not known."""
    return next((name for name, begins in _OTHERS if begins.match(data)), "")


def size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Width and height, before any rotation, or None where the header does not give them.

    kind: what `opencv_format` said. imagesize 2.0.1 gives no size for a rotated AVIF, so there the largest `ispe`
    property counts, which is never below the image's own; and it takes the sides of a GIF for signed numbers. JPEG,
    TIFF and GIF are read here, which is faster; of a GIF the screen and the first frame count.
    """
    if kind == "GIF" and len(data) >= 13:
        return _positive(*_gif_size(data))
    if kind == "AVIF":
        found = re.findall(rb"ispe\0{4}(.{8})", data, re.DOTALL)
        sizes: list[tuple[int, int]] = [struct.unpack(">II", pair) for pair in found]
        return max(sizes, key=lambda pair: pair[0] * pair[1], default=None)
    if kind == "JPEG":
        sides = (place + 1 for marker, place, _ in jpeg_segments(data) if marker in _STARTS_OF_FRAME)
        place = next(sides, len(data))
        height, width = struct.unpack_from(">HH", data, place) if place + 4 <= len(data) else (0, 0)
        return _positive(width, height)
    if kind == "TIFF":
        directory = Directory(data)
        return _positive(directory.number(WIDTH), directory.number(HEIGHT))
    from imagesize import get

    return _positive(*get(io.BytesIO(data), exif_rotation=False))


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, and place and end of the body, of each segment before the first scan. Source: ITU-T T.81, annex B."""
    place, last = 2, len(data) - 4
    while 0 <= place <= last:
        marker = data[place + 1]
        if data[place] != 0xFF or marker in _WITHOUT_LENGTH:
            place = data.find(b"\xff", place + 1)
        elif marker == 0xFF:  # a fill byte
            place += 1
        elif marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return
        else:
            end = place + 2 + (data[place + 2] << 8 | data[place + 3])
            yield marker, place + 4, end
            place = max(end, place + 4)


def _positive(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if width > 0 and height > 0 else None


def avif_orientation(data: bytes) -> tuple[int, int | None]:
    """Quarter turns against the clock, then the axis to mirror (0 rows, 1 columns) or None.

    Source: ISO/IEC 23008-12, `irot` and `imir`; their order is MIAF's, ISO/IEC 23000-22.
    """
    turn = re.search(rb"\0\0\0\x09irot(.)", data, re.DOTALL)
    mirror = re.search(rb"\0\0\0\x09imir(.)", data, re.DOTALL)
    return (turn[1][0] & 3 if turn else 0), (mirror[1][0] & 1 if mirror else None)


def gif_for_opencv(data: bytes) -> bytes | bytearray:
    """The same GIF with a screen that holds its first frame, as browsers see it: mostly the file itself."""
    screen = size(data, "GIF")
    if screen is None or screen == struct.unpack_from("<HH", data, 6):
        return data
    enlarged = bytearray(data)
    struct.pack_into("<HH", enlarged, 6, *screen)
    return enlarged


def _gif_size(data: bytes) -> tuple[int, int]:
    """Width and height of the screen, or as far as the first frame reaches. Source: GIF89a, sections 18 to 20."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while data[place : place + 1] == b"!":  # an extension: a label, then blocks to an empty one
        place += 2
        while place < len(data) and data[place]:
            place += 1 + data[place]
        place += 1
    if width and height and data[place : place + 1] == b"," and place + 9 <= len(data):
        left, top, wide, high = struct.unpack_from("<4H", data, place + 1)
        return min(max(width, left + wide), 0xFFFF), min(max(height, top + high), 0xFFFF)
    return width, height
