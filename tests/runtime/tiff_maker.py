"""TIFF files of any kind, byte by byte: what Pillow and OpenCV do not write. Source: TIFF 6.0; BigTIFF."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tags = Mapping[int, int | bytes | Sequence[int]]
SHORT, LONG, LONG8, UNDEFINED = 3, 4, 16, 7
CODES = {SHORT: "H", LONG: "I", LONG8: "Q"}


def tiff(
    pixels: NDArray[Any],
    *,
    compression: int = 1,
    tile: tuple[int, int] | None = None,
    rows: int | None = None,
    planar: bool = False,
    order: str = "<",
    big: bool = False,
    tags: Tags | None = None,
) -> bytes:
    """A TIFF of `pixels`, [H,W] or [H,W,C] of 8 or 16 bits, in strips or tiles.

    compression: 1, 8 and 32946 are made; for any other the body is left as it is, which no decoder will like.
    tile: height and width. rows: rows of a strip; all of them where it is not given. order: "<" or ">".
    tags: further tags, or other values; lists of numbers, numbers (SHORT where they fit) or bytes.
    """
    image = pixels if pixels.ndim == 3 else pixels[..., None]
    height, width, channels = image.shape
    planes = [image[..., c : c + 1] for c in range(channels)] if planar else [image]
    bits = 8 * image.itemsize
    high, wide = tile or (rows or height, width)
    blocks = [
        _block(plane[top : top + high, left : left + wide], (high, wide) if tile else None, order)
        for plane in planes
        for top in range(0, height, high)
        for left in range(0, width, wide)
    ]
    if compression in (8, 32946):
        blocks = [zlib.compress(block) for block in blocks]
    values: dict[int, int | bytes | Sequence[int]] = {
        256: width,
        257: height,
        258: [bits] * channels,
        259: compression,
        262: 1 if channels < 3 else 2,
        277: channels,
        284: 2 if planar else 1,
    }
    values |= {322: wide, 323: high} if tile else {278: high}
    return assembled(values | dict(tags or {}), blocks, tiled=tile is not None, order=order, big=big)


def assembled(
    tags: Tags, blocks: Sequence[bytes], *, tiled: bool = False, order: str = "<", big: bool = False
) -> bytes:
    """A TIFF of these tags and of strips or tiles that are encoded already."""
    start = 16 if big else 8
    places = start + np.cumsum([0, *map(len, blocks)])
    values = dict(tags) | {
        324 if tiled else 273: [int(place) for place in places[:-1]],
        325 if tiled else 279: [len(block) for block in blocks],
    }
    place, word = int(places[-1]), LONG8 if big else LONG
    body, entries = b"".join(blocks), b""
    for tag in sorted(values):
        value = values[tag]
        numbers = [value] if isinstance(value, int) else value
        if isinstance(numbers, bytes):
            kind, packed = UNDEFINED, numbers
        else:
            kind = SHORT if max(numbers) < 65536 and tag not in (273, 279, 324, 325) else word
            packed = struct.pack(f"{order}{len(numbers)}{CODES[kind]}", *numbers)
        inline = 8 if big else 4
        if len(packed) > inline:
            body, packed, place = body + packed, struct.pack(order + CODES[word], place), place + len(packed)
        count = struct.pack(order + CODES[word], len(numbers))
        entries += struct.pack(order + "HH", tag, kind) + count + packed.ljust(inline, b"\0")
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, place) if big else (42, place)))
    number = struct.pack(order + ("Q" if big else "H"), len(values))
    return mark + head + body + number + entries + bytes(8)


def packed(samples: NDArray[np.int64], bits: int) -> bytes:
    """Samples [H,W,C] of so many bits, one after the other, each row filled up to a byte."""
    rows = samples.reshape(len(samples), -1, 1)
    return np.packbits((rows >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(len(rows), -1), 1).tobytes()


def _block(pixels: NDArray[Any], size: tuple[int, int] | None, order: str) -> bytes:
    """A strip or, padded to its size, a tile."""
    if size:
        below, right = size[0] - pixels.shape[0], size[1] - pixels.shape[1]
        pixels = np.pad(pixels, ((0, below), (0, right), (0, 0)))
    return pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
