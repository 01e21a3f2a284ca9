"""TIFF: its directory, which kinds of it OpenCV reads rightly, whether its pixels are all there, and its mending.

libtiff inside OpenCV fills what it cannot decode with black and goes on, and says so nowhere that a program could
read. So strips and tiles are looked at first. Source: TIFF 6.0; Adobe's Technical Notes 1 to 3; BigTIFF.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .samplings import Pixels

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION = 256, 257, 258, 259, 262, 274
SAMPLES, ROWS_PER_STRIP, PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT = 277, 278, 284, 338, 339
STRIPS, STRIP_BYTES, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES = 273, 279, 322, 323, 324, 325
JPEG_TABLES, SUBSAMPLING, XMP, PROFILE = 347, 530, 700, 34675

_PLAIN, _LZW, _JPEG, _PACKBITS = 1, 5, 7, 32773
_DEFLATE = (8, 32946)
FAX = (2, 3, 4, 32771)  # bits without any check: damage shows only in what a decoder says of it
_CODECS = (_PLAIN, _LZW, _JPEG, _PACKBITS, *_DEFLATE, *FAX)
_GREY, _RGB, _PALETTE, _CMYK = (0, 1), 2, 3, 5
PACKED = (10, 12, 14)  # bits that OpenCV unpacks, where it is asked for 16

_MOST_ENTRIES = 1 << 16  # of a directory: there are no more tags
_MOST_VALUES = 1 << 24  # of an entry
_LARGE_TILE = 1 << 24  # pixels that a tile may have, whatever the size of the image

_CODES = {1: "B", 2: "c", 3: "H", 4: "I", 6: "b", 7: "c", 8: "h", 9: "i", 13: "I", 16: "Q"}
_LONG, _LONG8 = 4, 16


class Entry(NamedTuple):
    """One entry of a directory: the type and number of its values, their place in the file, and its own bytes."""

    kind: int
    values: int
    place: int
    raw: bytes


class Directory:
    """The first directory of a TIFF, or of EXIF data; of a damaged one as many entries as can be read.

    data: the whole file. order: "<" or ">". big: whether it is a BigTIFF.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = data[2:4] in (b"\x2b\0", b"\0\x2b")
        self.entries: dict[int, Entry] = {}
        offset, count, entry, inline = ("Q", "Q", "HHQ", 8) if self.big else ("I", "H", "HHI", 4)
        try:
            (place,) = struct.unpack_from(self.order + offset, data, 8 if self.big else 4)
            (entries,) = struct.unpack_from(self.order + count, data, place)
            place += struct.calcsize("=" + count)
            for _ in range(min(entries, _MOST_ENTRIES)):
                tag, kind, values = struct.unpack_from(self.order + entry, data, place)
                where = place + struct.calcsize("=" + entry)
                end = where + inline
                if values * struct.calcsize("=" + _CODES.get(kind, "Q")) > inline:
                    (where,) = struct.unpack_from(self.order + offset, data, where)
                self.entries.setdefault(tag, Entry(kind, values, where, bytes(data[place:end])))
                place = end
        except (struct.error, OverflowError):
            return  # it leads out of the file

    def numbers(self, tag: int, most: int = _MOST_VALUES) -> tuple[int, ...]:
        """The values of an entry of whole numbers, the first `most` of them; none where there is no such entry, or they
        are not in the file.
        """
        entry = self.entries.get(tag)
        code = _CODES.get(entry.kind, "c") if entry else "c"
        if entry is None or code == "c" or entry.place + entry.values * struct.calcsize("=" + code) > len(self.data):
            return ()
        return struct.unpack_from(f"{self.order}{min(entry.values, most)}{code}", self.data, entry.place)

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of an entry."""
        return next(iter(self.numbers(tag, 1)), default)

    def body(self, tag: int) -> bytes:
        """The bytes of an entry of single bytes, as far as they are in the file."""
        entry = self.entries.get(tag)
        return bytes(self.data[entry.place : entry.place + entry.values]) if entry and entry.kind in (1, 2, 7) else b""


class Layout(NamedTuple):
    """How a TIFF's pixels lie in it: strips or tiles, in planes.

    places, lengths: of the encoded blocks. sizes: bytes that each gives when decoded; -1 where the format leaves it
    open. row: bytes of a decoded block's row.
    """

    places: tuple[int, ...]
    lengths: tuple[int, ...]
    sizes: tuple[int, ...]
    row: int


def fixed_white(directory: Directory) -> bool:
    """Whether the samples are unsigned integers: SampleFormat 1, or 4 (undefined)."""
    return set(directory.numbers(SAMPLE_FORMAT)) <= {1, 4}


def rare_kind(directory: Directory) -> str:
    """What makes this TIFF one that OpenCV does not read, or reads wrongly; "" for all others."""
    codec, samples = directory.number(COMPRESSION, 1), directory.number(SAMPLES, 1)
    colour, bits = directory.number(PHOTOMETRIC, -1), directory.numbers(BITS, max(samples, 1)) or (1,)
    planes = directory.number(PLANAR, 1)
    if codec not in _CODECS:
        return f"compression {codec}"
    if samples > 4:
        return f"{samples} samples a pixel"
    if len(set(bits)) > 1:
        return f"samples of {' and '.join(map(str, sorted(set(bits))))} bits"
    plain = (*_GREY, _RGB)
    readable = (
        bits[0] in (1, 8)
        or (bits[0] == 16 and colour in plain)
        or (bits[0] == 4 and colour == _PALETTE)
        or (bits[0] in PACKED and colour in plain and samples in (1, 3) and (planes == 1 or samples == 1))
    )
    if not readable:
        return f"{bits[0]} bits a sample, photometric interpretation {colour}"
    return ""


def pillow_reads(directory: Directory) -> bool:
    """Whether Pillow, which reads kinds that OpenCV does not, is known to read this one rightly."""
    return directory.number(PHOTOMETRIC, -1) in (*_GREY, _RGB, _PALETTE, _CMYK) and set(
        directory.numbers(BITS) or (1,)
    ) <= {1, 2, 4, 8, 16}


def layout(directory: Directory) -> Layout | None:
    """Where the pixels lie, or None where the directory does not say so in a way that can be true."""
    width, height = directory.number(WIDTH), directory.number(HEIGHT)
    samples, planar = max(directory.number(SAMPLES, 1), 1), directory.number(PLANAR, 1) == 2
    bits = directory.number(BITS, 1) * (1 if planar else samples)
    tiled = TILE_WIDTH in directory.entries
    wide = directory.number(TILE_WIDTH) if tiled else width
    high = directory.number(TILE_HEIGHT) if tiled else min(directory.number(ROWS_PER_STRIP) or height, height)
    if not (width and height and wide and high) or wide * high > max(4 * width * height, _LARGE_TILE):
        return None
    row = -(-wide * bits // 8)
    across, down, planes = -(-width // wide), -(-height // high), samples if planar else 1
    places = directory.numbers(TILES if tiled else STRIPS)
    lengths = directory.numbers(TILE_BYTES if tiled else STRIP_BYTES)
    blocks = across * down * planes
    if len(places) < blocks:
        return None
    if directory.number(PHOTOMETRIC) == 6 and set(directory.numbers(SUBSAMPLING) or (2, 2)) != {1}:
        sizes = (-1,) * blocks
    elif tiled:
        sizes = (row * high,) * blocks
    else:
        sizes = ((row * high,) * (down - 1) + (row * (height - high * (down - 1)),)) * planes
    return Layout(places[:blocks], lengths[:blocks] if len(lengths) >= blocks else sizes, sizes, row)


def damage(directory: Directory) -> str:
    """What is wrong with the strips or tiles, of which a decoder would make black without a word; "" for none."""
    found = layout(directory)
    if found is None:
        return "its directory does not say where its pixels are"
    codec, data = directory.number(COMPRESSION, 1), memoryview(directory.data)
    tables = directory.body(JPEG_TABLES)
    if codec != _PLAIN and sum(found.lengths) > len(data):
        return "its parts are longer together than the file"
    for number, (place, length, size) in enumerate(zip(found.places, found.lengths, found.sizes, strict=True)):
        if codec == _PLAIN and len(found.places) == 1:
            length = size  # which libtiff takes as well, where a single strip's length is wrong
        if place + length > len(data) or length == 0:
            return f"part {number + 1} of {len(found.places)} lies outside of the file"
        block = data[place : place + length]
        whole = (
            _jpeg_is_whole(tables, block)
            if codec == _JPEG
            else codec in FAX or size < 0 or _decodes_to(block, size, codec)
        )
        if not whole:
            return f"part {number + 1} of {len(found.places)} is damaged"
    return ""


def for_opencv(directory: Directory) -> bytes | bytearray:
    """The same TIFF in a form that OpenCV reads rightly: often the file itself.

    Its orientation is called 1, since OpenCV would turn tile by tile; straight alpha is called premultiplied, since
    libtiff would multiply colour by it, where alpha is to be dropped; and tiles without compression whose size is not
    a multiple of 1024, which libtiff 4.7.1 refuses, become strips.
    """
    changes: dict[int, Sequence[int] | None] = {}
    body = b""
    if directory.number(ORIENTATION, 1) != 1:
        changes[ORIENTATION] = [1]
    extra = directory.numbers(EXTRA_SAMPLES)
    if 2 in extra:
        changes[EXTRA_SAMPLES] = [1 if value == 2 else value for value in extra]
    found = layout(directory)
    tiled = TILE_WIDTH in directory.entries and directory.number(COMPRESSION, 1) == _PLAIN
    if tiled and found and found.sizes[0] % 1024 and found.sizes[0] > 0:
        planes = list(_untiled(directory, found))
        starts = np.cumsum([len(directory.data), *map(len, planes)])
        body = b"".join(planes)
        changes |= {
            **dict.fromkeys((TILE_WIDTH, TILE_HEIGHT, TILES, TILE_BYTES)),
            STRIPS: [int(start) for start in starts[:-1]],
            STRIP_BYTES: [len(plane) for plane in planes],
            ROWS_PER_STRIP: [directory.number(HEIGHT)],
        }
    return _rewritten(directory, changes, body) if changes else directory.data


def from_packed(pixels: NDArray[np.uint16], directory: Directory) -> Pixels:
    """Samples of 10, 12 or 14 bits, which OpenCV has moved to the top of 16: their upper 8 bits, black at 0."""
    upper = (pixels >> 8).astype(np.uint8)
    return ~upper if directory.number(PHOTOMETRIC) == 0 else upper


def _decodes_to(block: memoryview, size: int, codec: int) -> bool:
    """Whether a block is encoded without a fault and gives `size` bytes or more."""
    if codec == _LZW:
        return _lzw_length(block, size) >= size
    if codec == _PACKBITS:
        return _packbits_length(block, size) >= size
    if codec in _DEFLATE:
        return _deflate_length(block, size) >= size
    return len(block) >= size


def _deflate_length(block: memoryview, enough: int) -> int:
    """Bytes of a zlib stream, or of as much of it as gives enough; counted in pieces, so that memory stays small."""
    stream, total = zlib.decompressobj(), 0
    try:
        for start in range(0, len(block), 1 << 16):
            total += len(stream.decompress(block[start : start + (1 << 16)]))
            if total >= enough or stream.eof:
                break
        return total + len(stream.flush())
    except zlib.error:
        return -1


def _packbits_length(block: memoryview, enough: int) -> int:
    """Bytes of PackBits data, as above. Source: TIFF 6.0, section 9."""
    place = total = 0
    while place < len(block) and total < enough:
        head = block[place]
        if head < 128:
            place += 2 + head
            total += 1 + head - max(place - len(block), 0)
        else:
            total += 257 - head if head > 128 and place + 1 < len(block) else 0
            place += 2 if head > 128 else 1
    return total


_MOST = 4096  # codes from one clearing of the table to the next; it is full before
_CODE_BITS = 9 + (np.arange(257, 257 + _MOST) >= np.array([[511], [1023], [2047]])).sum(0)
_CODE_PLACES = np.concatenate([[0], np.cumsum(_CODE_BITS)[:-1]])


def _lzw_length(block: memoryview, enough: int) -> int:
    """Bytes of LZW data, as above; -1 where a code is used that means nothing yet. Source: TIFF 6.0, section 13."""
    if len(block) > 1 and block[0] == 0 and block[1] & 1:
        return enough  # bits in the other order: files from before 1992, which are not looked into
    start = total = runs = 0
    while total < enough:
        runs += 1
        if runs > 8 + total // 256:
            return -1  # cleared at every turn, which no encoder does: it is full after some 3800 codes
        codes, bits = _lzw_codes(block, start)
        ends = np.flatnonzero(codes >> 1 == 128)  # 256 clears the table, 257 ends the data
        stop = int(ends[0]) if len(ends) else len(codes)
        lengths, last = [1] * 256 + [0], 0
        try:
            for code in codes[:stop].tolist():
                lengths.append(last + 1)
                last = lengths[code]
                total += last
        except IndexError:
            return -1
        if not len(ends) or codes[stop] == 257:
            break
        start += int(bits[: stop + 1].sum())
    return total


def _lzw_codes(block: memoryview, start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The codes from bit `start` on, as many as can come until the table is cleared, and their numbers of bits."""
    first = start >> 3
    part = np.frombuffer(block[first : first + 2 * _MOST], np.uint8)
    places = (start & 7) + _CODE_PLACES
    count = int(np.searchsorted(places + _CODE_BITS, 8 * len(part), "right"))
    places, bits = places[:count], _CODE_BITS[:count]
    wide = np.concatenate([part, np.zeros(2, np.uint8)]).astype(np.int64)
    at = places >> 3
    three = wide[at] << 16 | wide[at + 1] << 8 | wide[at + 2]
    return three >> (24 - (places & 7) - bits) & ((1 << bits) - 1), bits


def _jpeg_is_whole(tables: bytes, block: memoryview) -> bool:
    """Whether a JPEG of a strip or tile, with the tables that all share, can be decoded to its end."""
    stream = tables[:-2] + bytes(block[2:]) if tables else bytes(block)
    end = stream.rstrip(b"\0")[-2:]
    return end == b"\xff\xd9" and cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE) is not None


def _untiled(directory: Directory, found: Layout) -> Iterator[bytes]:
    """The rows of each plane, of tiles without compression."""
    width, height, high = directory.number(WIDTH), directory.number(HEIGHT), directory.number(TILE_HEIGHT)
    wide = directory.number(TILE_WIDTH)
    row = -(-found.row * width // wide)
    across, down = -(-width // wide), -(-height // high)
    for plane in range(0, len(found.places), across * down):
        canvas = np.empty((height, row), np.uint8)
        for number, place in enumerate(found.places[plane : plane + across * down]):
            top, left = number // across * high, number % across * found.row
            tile = np.frombuffer(directory.data, np.uint8, found.sizes[0], place).reshape(high, found.row)
            part = canvas[top : top + high, left : left + found.row]
            part[:] = tile[: part.shape[0], : part.shape[1]]
        yield canvas.tobytes()


def _rewritten(directory: Directory, changes: Mapping[int, Sequence[int] | None], body: bytes) -> bytearray:
    """The file with `body` and a new first directory behind it. changes: new values by tag; None leaves a tag out."""
    order, big = directory.order, directory.big
    word, inline = ("Q", 8) if big else ("I", 4)
    data = bytearray(directory.data)
    data += body
    entries = {tag: entry.raw for tag, entry in directory.entries.items()}
    for tag, values in changes.items():
        entries.pop(tag, None)
        if values is None:
            continue
        packed = struct.pack(f"{order}{len(values)}{word}", *values)
        if len(packed) > inline:
            packed, place = struct.pack(order + word, len(data)), packed
            data += place
        entries[tag] = struct.pack(order + "HH" + word, tag, _LONG8 if big else _LONG, len(values)) + packed
    struct.pack_into(order + word, data, 8 if big else 4, len(data))
    data += struct.pack(order + ("Q" if big else "H"), len(entries))
    data += b"".join(entries[tag] for tag in sorted(entries)) + bytes(inline)
    return data
