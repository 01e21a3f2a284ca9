"""PNG: its chunks, which of them a decoder needs, and what they say of colour and orientation.

Source: PNG, third edition (W3C); ImageMagick's "Raw profile type" for EXIF in text.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MOST_TEXT = 1 << 22  # bytes of all text
_MOST_CHUNKS = 1 << 16  # that are looked through for text
_LARGEST = 8_000_000  # bytes that libpng takes of one chunk other than IDAT
_MOST_UNPACKED = 1 << 24  # bytes of a profile or of metadata, unpacked
_OF_THE_PIXELS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # of chunks that need not be understood those that are


class Chunk(NamedTuple):
    """One chunk: its type, and the place and length of its body."""

    kind: bytes
    place: int
    length: int


def chunks(data: bytes) -> list[Chunk]:
    """The chunks to IEND, or to the end of the file; what follows IEND is no part of the image.

    The last may promise more than the file has.
    """
    found = []
    place = 16
    while place <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place - 8)
        found.append(Chunk(kind, place, length))
        if kind == b"IEND":
            break
        place += 12 + length
    return found


def claim(data: bytes, found: Sequence[Chunk]) -> int:
    """The length of a chunk that promises far more than the file has, or 0.

    OpenCV takes memory for what a chunk's length says before it looks at the file: 85 bytes can ask for 2 GiB. Up to
    16 MiB may be promised, so that an animation that is cut short in a later frame keeps its first.
    """
    return next((chunk.length for chunk in found if chunk.length > max(len(data), 1 << 24)), 0)


def for_opencv(data: bytes, found: Sequence[Chunk]) -> bytes:
    """The same PNG without chunks that libpng refuses for their size and no decoder needs: mostly the file itself."""

    def kept(chunk: Chunk) -> bool:
        critical = not chunk.kind[0] & 0x20
        return critical or chunk.kind in _OF_THE_PIXELS or chunk.length <= _LARGEST

    if all(map(kept, found)):
        return data
    parts = [data[chunk.place - 8 : chunk.place + chunk.length + 4] for chunk in found if kept(chunk)]
    return data[:8] + b"".join(parts)


def metadata(data: bytes, found: Sequence[Chunk]) -> tuple[bytes, bytes, bytes]:
    """EXIF data, XMP and the colour profile; each empty where it is not there or is damaged."""
    exif = xmp = profile = raw = b""
    for kind, place, length in found:
        if kind not in (b"eXIf", b"iCCP", b"iTXt", b"tEXt", b"zTXt"):
            continue
        body = data[place : place + length]
        if kind == b"eXIf":
            exif = body
        elif kind == b"iCCP":
            profile = _unpacked(body.partition(b"\0")[2][1:])
        elif kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0"):
            packed, text = body[18:19], body[20:].split(b"\0", 2)[-1]
            xmp = _unpacked(text) if packed == b"\1" else text
        elif body.startswith(b"Raw profile type exif\0"):
            raw = _unpacked(body[23:]) if kind == b"zTXt" else body[22:]
    return exif or _from_hex(raw), xmp, profile


def texts(stream: BinaryIO) -> dict[str, str]:
    """What the text chunks of a PNG file say, by their keyword, of which the first counts; none of anything else.

    stream: at the file's beginning, able to seek: what is no text is not read. What is longer than 4 MiB, unpacked or
    not, is cut off or left out, and so is what follows once that much has been read.
    """
    found: dict[str, str] = {}
    if stream.read(len(SIGNATURE)) != SIGNATURE:
        return found
    left = _MOST_TEXT
    for _ in range(_MOST_CHUNKS):
        head = stream.read(8)
        if len(head) < 8 or left <= 0:
            break
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            break
        if kind not in _TEXTS or length > left:
            stream.seek(length + 4, os.SEEK_CUR)
            continue
        keyword, text = _text(kind, stream.read(length), left)
        left -= max(length, len(text))
        found.setdefault(keyword, text)
        stream.seek(4, os.SEEK_CUR)
    return found


def _text(kind: bytes, body: bytes, most: int) -> tuple[str, str]:
    """Keyword and text of a text chunk; the text is empty where it is damaged."""
    keyword, _, rest = body.partition(b"\0")
    if kind == b"iTXt":
        packed, text = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        text = _unpacked(text, most) if packed else text
        return keyword.decode("latin-1"), text.decode("utf-8", "replace")
    text = _unpacked(rest[1:], most) if kind == b"zTXt" else rest
    return keyword.decode("latin-1"), text.decode("latin-1")


def _unpacked(body: bytes, most: int = _MOST_UNPACKED) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, most)
    except zlib.error:
        return b""


def _from_hex(text: bytes) -> bytes:
    """EXIF data as ImageMagick writes it: a name and a length, each a line, then hexadecimal digits in lines."""
    try:
        return bytes.fromhex("".join(text.decode("latin-1").split("\n")[3:]))
    except ValueError:
        return b""
