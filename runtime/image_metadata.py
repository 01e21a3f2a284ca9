"""What an image file says of its pixels: which way up they belong, and on which colours its numbers stand.

Source: EXIF 2.32, tag 274; XMP, part 2 (tiff:Orientation); ICC.1, annex B (embedding); RIFF container of WebP.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import cv2
import numpy as np

from . import image_png, image_tiff
from .image_header import jpeg_segments
from .samplings import Pixels

_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_APP1, _APP2 = 0xE1, 0xE2
_BYTE = 1


class Metadata(NamedTuple):
    """orientation: 1 (upright) to 8, as in EXIF. profile: an ICC profile, or empty."""

    orientation: int = 1
    profile: bytes = b""


_NONE = Metadata()


def of_jpeg(data: bytes) -> Metadata:
    """That of the segments before the first scan."""
    exif = xmp = b""
    parts: dict[int, bytes] = {}
    for marker, place, end in jpeg_segments(data):
        if marker not in (_APP1, _APP2):
            continue
        if marker == _APP1 and data.startswith(_EXIF, place):
            exif = exif or data[place:end]
        elif marker == _APP1 and data.startswith(_XMP, place):
            xmp = data[place:end]
        elif marker == _APP2 and data.startswith(_ICC, place) and end - place > 14:
            parts.setdefault(data[place + 12], data[place + 14 : end])
    if not (exif or xmp or parts):
        return _NONE
    return Metadata(_orientation(exif, xmp), b"".join(parts[number] for number in sorted(parts)))


def of_png(data: bytes, chunks: list[image_png.Chunk]) -> Metadata:
    """That of its chunks, wherever they stand."""
    exif, xmp, profile = image_png.metadata(data, chunks)
    return Metadata(_orientation(exif, xmp), profile)


def of_webp(data: bytes) -> Metadata:
    """That of its chunks; a file without the extended header has none."""
    found: dict[bytes, bytes] = {}
    place = 12 if data.startswith(b"VP8X", 12) else len(data)
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        if kind in (b"EXIF", b"XMP ", b"ICCP"):
            found.setdefault(kind, data[place + 8 : place + 8 + length])
        place += 8 + length + (length & 1)
    return Metadata(_orientation(found.get(b"EXIF", b""), found.get(b"XMP ", b"")), found.get(b"ICCP", b""))


def of_tiff(directory: image_tiff.Directory) -> Metadata:
    """That of its first directory."""
    turned = directory.number(image_tiff.ORIENTATION)
    return Metadata(
        _known(turned) if turned else _orientation(b"", directory.body(image_tiff.XMP)),
        directory.body(image_tiff.PROFILE),
    )


def of_avif(data: bytes) -> Metadata:
    """Its colour profile; for its orientation see `image_header.avif_orientation`. Source: ISO/IEC 23008-12, `colr`."""
    box = re.search(rb"(.{4})colr(?:prof|rICC)", data, re.DOTALL)
    return Metadata(profile=data[box.end() : box.start() + int.from_bytes(box[1], "big")] if box else b"")


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels [H,W,3] as a viewer shows them; those of orientation 1 as they are."""
    if orientation in (5, 7):
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    if orientation in (2, 3, 4, 7):
        return np.asarray(cv2.flip(pixels, {2: 1, 4: 0}.get(orientation, -1)), np.uint8)
    if orientation in (6, 8):
        way = cv2.ROTATE_90_CLOCKWISE if orientation == 6 else cv2.ROTATE_90_COUNTERCLOCKWISE
        return np.asarray(cv2.rotate(pixels, way), np.uint8)
    return pixels


def _orientation(exif: bytes, xmp: bytes) -> int:
    """EXIF's orientation counts, of whatever type of number (a BYTE is none to Pillow and to browsers); else XMP's."""
    while exif.startswith(_EXIF):
        exif = exif[len(_EXIF) :]
    if exif[:4] in (b"II*\0", b"MM\0*"):
        directory = image_tiff.Directory(exif)
        numbers = directory.numbers(image_tiff.ORIENTATION)
        if len(numbers) == 1 and directory.entries[image_tiff.ORIENTATION].kind != _BYTE:
            return _known(numbers[0])
    found = _XMP_ORIENTATION.search(xmp)
    return _known(int(found[1])) if found else 1


def _known(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1
