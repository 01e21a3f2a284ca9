"""What an image file's first bytes say before anything is decoded: its format, its size, and how to treat it."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

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


def opencv_format(data: bytes) -> str:
    """The name of the format that OpenCV is asked to read, or "" for any other."""
    return next((name for name, begins in _OPENCV if begins.match(data)), "")


def other_format(data: bytes) -> str:
    """The name of a format that OpenCV is not asked to read, or "" where it is not known."""
    return next((name for name, begins in _OTHERS if begins.match(data)), "")


def size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Width and height, before any rotation, or None where the header does not give them.

    kind: what `opencv_format` said. imagesize 2.0.1 gives no size for a rotated AVIF, so there the largest `ispe`
    property counts, which is never below the image's own; and it takes the sides of a GIF for signed numbers.
    """
    if kind == "GIF" and len(data) >= 10:
        width, height = struct.unpack_from("<HH", data, 6)
        return (width, height) if width and height else None
    if kind == "AVIF":
        found = re.findall(rb"ispe\0{4}(.{8})", data, re.DOTALL)
        sizes: list[tuple[int, int]] = [struct.unpack(">II", pair) for pair in found]
        return max(sizes, key=lambda pair: pair[0] * pair[1], default=None)
    from imagesize import get

    width, height = get(io.BytesIO(data), exif_rotation=False)
    return (width, height) if width > 0 and height > 0 else None


def avif_orientation(data: bytes) -> tuple[int, int | None]:
    """Quarter turns against the clock, then the axis to mirror (0 rows, 1 columns) or None.

    Source: ISO/IEC 23008-12, `irot` and `imir`; their order is MIAF's, ISO/IEC 23000-22.
    """
    turn = re.search(rb"\0\0\0\x09irot(.)", data, re.DOTALL)
    mirror = re.search(rb"\0\0\0\x09imir(.)", data, re.DOTALL)
    return (turn[1][0] & 3 if turn else 0), (mirror[1][0] & 1 if mirror else None)


def png_claims(data: bytes) -> int:
    """The length of the first chunk that promises far more than the file has, or 0.

    OpenCV takes memory for what a chunk's length says before it looks at the file: 85 bytes can ask for 2 GiB. Up to
    16 MiB may be promised, so that an animation that is cut short in a later frame keeps its first.
    Source: PNG, third edition (W3C), 5.3 Chunk layout.
    """
    place = 8
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        if length > max(len(data), 1 << 24):
            return int(length)
        place += 12 + length
    return 0


def tiff_has_plain_samples(data: bytes) -> bool:
    """Whether a TIFF's samples are unsigned integers: SampleFormat 1, or 4 (undefined)."""
    return all(value in (1, 4) for tag, _, value in _tiff_shorts(data) if tag == 339)


def tiff_without_straight_alpha(data: bytes) -> bytes:
    """The same TIFF with straight alpha called premultiplied (ExtraSamples 2 made 1).

    libtiff multiplies colour by straight alpha, which composites it over black; alpha is to be dropped instead.
    """
    for tag, place, value in _tiff_shorts(data):
        if tag == 338 and value == 2:
            return data[:place] + struct.pack(_order(data) + "H", 1) + data[place + 2 :]
    return data


def _tiff_shorts(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Tag, place and first value of the 16-bit entries in the first directory. Source: TIFF 6.0, section 2; BigTIFF."""
    order, big = _order(data), data[2:4] in (b"\x2b\0", b"\0\x2b")
    offset, count, entry, inline = ("Q", "Q", "HHQ", 8) if big else ("I", "H", "HHI", 4)
    try:
        (place,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + count, data, place)
        place += struct.calcsize(order + count)
        for _ in range(entries):
            tag, kind, values = struct.unpack_from(order + entry, data, place)
            where = place + struct.calcsize(order + entry)
            place = where + inline
            if kind == 3:
                if 2 * values > inline:
                    (where,) = struct.unpack_from(order + offset, data, where)
                yield tag, where, struct.unpack_from(order + "H", data, where)[0]
    except struct.error:
        return  # the directory leads out of the file, which OpenCV refuses


def _order(data: bytes) -> str:
    return "<" if data.startswith(b"II") else ">"
