"""Mutated images of every format through the decoder: python tests/stress/fuzz_images.py [--count 20000] [--seed 1]

Each is refused or decoded, within a bounded time and memory, and nothing is written to the terminal.
"""

from __future__ import annotations

import functools
import io
import itertools
import struct
import sys
from pathlib import Path

import numpy as np
from harness import main
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))

from image_makers import png_chunk
from tiff_maker import packed, tiff

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import load

MAX_PIXELS = 16_000_000
ALLOWED = (Status.DECODE_FAILED, Status.IMAGE_TOO_LARGE, Status.OUT_OF_MEMORY)
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 0xFFFFFF00)


@functools.cache
def samples() -> tuple[bytes, ...]:
    """Good files of every format and of many of their kinds."""
    y, x = np.mgrid[:96, :128]
    rgb = np.stack([x * 2 % 256, y * 2 % 256, (x * y) % 256], -1).astype(np.uint8)
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "x" * 400
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 2000, zip=True)
    text.add_itxt("c", "d" * 500)
    frames = [Image.fromarray(np.roll(rgb, 9 * n, 1)) for n in range(1, 4)]
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (image, "JPEG", {}),
        (image, "JPEG", {"progressive": True, "exif": exif, "icc_profile": bytes(300), "comment": b"c" * 300}),
        (image, "JPEG", {"icc_profile": srgb, "xmp": b'<x tiff:Orientation="6"/>'}),
        (image.convert("L"), "JPEG", {"restart_marker_blocks": 2}),
        (image.convert("CMYK"), "JPEG", {"subsampling": 2}),
        (image, "PNG", {"pnginfo": text, "exif": exif, "icc_profile": bytes(200)}),
        (image.convert("P"), "PNG", {"transparency": 3, "icc_profile": srgb}),
        (image.convert("RGBA"), "PNG", {}),
        (deep, "PNG", {}),
        (image.convert("1"), "PNG", {}),
        (image, "WEBP", {"exif": exif}),
        (image.convert("RGBA"), "WEBP", {"lossless": True}),
        (image, "WEBP", {"save_all": True, "append_images": frames}),
        (image, "BMP", {}),
        (image.convert("P"), "BMP", {}),
        *(
            (image, "TIFF", {"compression": name})
            for name in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits", "zstd")
        ),
        (deep, "TIFF", {}),
        (image.convert("RGBA"), "TIFF", {"save_all": True, "append_images": frames}),
        (image.convert("1"), "TIFF", {"compression": "group4"}),
        (image, "GIF", {"save_all": True, "append_images": frames}),
        (image, "AVIF", {"exif": exif}),
        (image.convert("RGBA"), "AVIF", {}),
        (image, "JPEG2000", {"num_resolutions": 3, "tile_size": (32, 32)}),
        (image.convert("L"), "JPEG2000", {}),
        (image, "PPM", {}),
        (image.convert("L"), "PPM", {}),
    ]
    found = []
    for picture, name, options in kinds:
        stream = io.BytesIO()
        picture.save(stream, name, **options)
        found.append(stream.getvalue())
    return (*found, *_made_by_hand(rgb, found[5]))


def _made_by_hand(rgb: NDArray[np.uint8], png: bytes) -> list[bytes]:
    """What Pillow does not write: BigTIFF in both orders, tiles that are turned, packed samples, and odd PNGs."""
    deep = packed(rgb[..., :1].astype(np.int64) * 16, 12)
    rows = np.frombuffer(deep, np.uint8).reshape(96, -1)
    kinds = [
        tiff(rgb, big=True, order=order, rows=16, compression=compression)
        for order, compression in itertools.product("<>", (1, 8))
    ]
    kinds += [
        tiff(rgb, tile=(32, 32), compression=8, tags={274: 6}),
        tiff(rgb, tile=(16, 48), tags={274: 3}, big=True),
        tiff(rgb.astype(np.uint16) * 257, tile=(16, 16), planar=True, tags={274: 8}, order=">"),
        tiff(rows, tags={256: 128, 258: 12}),
        tiff(np.dstack([rgb, rgb[..., 0]]), tile=(16, 16), tags={338: 2}),
        tiff(rgb, compression=50002),
    ]
    place = png.index(b"IDAT") - 4
    large = png_chunk(b"iTXt", b"workflow\0\0\0\0\0" + bytes(8_000_001))
    return [*kinds, png + b"x" * 8, png + bytes(3000), png[:place] + large + png[place:]]


def mutated(seed: int, number: int) -> bytes:
    """A file with up to four mutations."""
    rng = np.random.default_rng([seed, number])
    data = bytearray(samples()[number % len(samples())])
    for _ in range(int(rng.integers(1, 5))):
        kind = int(rng.integers(0, 8))
        place = int(rng.integers(0, max(len(data), 1)))
        if kind == 0:  # flipped bits
            for at in rng.integers(0, max(len(data), 1), int(rng.integers(1, 9))):
                if at < len(data):
                    data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:  # cut short
            del data[place:]
        elif kind in (2, 3):  # a length, a count or a side: anywhere, or in the header
            place = place if kind == 2 else int(rng.integers(0, min(64, max(len(data), 1))))
            form = ("<I", ">I", "<H", ">H")[int(rng.integers(0, 4))]
            value = struct.pack(form, EXTREMES[int(rng.integers(0, len(EXTREMES)))] % (1 << 8 * struct.calcsize(form)))
            data[place : place + len(value)] = value
        elif kind == 4:  # metadata in metadata: a part once more, many times
            part = bytes(data[place : place + int(rng.integers(1, 200))])
            data[place:place] = part * int(rng.integers(1, 400))
        elif kind == 5:  # a gap
            data[place : place + int(rng.integers(1, 300))] = b""
        elif kind == 6:  # the rest of another format
            other = samples()[int(rng.integers(0, len(samples())))]
            data[place:] = other[int(rng.integers(0, len(other))) :]
        else:  # random bytes
            data[place : place + 64] = rng.bytes(64)
    return bytes(data)


def case(seed: int, number: int) -> str:
    """Decode one; its outcome in a word."""
    try:
        pixels = load(mutated(seed, number), max_pixels=MAX_PIXELS)
    except PscrError as error:
        if error.status not in ALLOWED or "\n" in error.message or len(error.message) > 1000:
            return f"BROKEN: {error.status.name} {error.message!r}"
        return error.status.name
    except Exception as error:
        return f"BROKEN: {type(error).__name__} {error!r}".replace("\n", " ")
    good = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.flags.c_contiguous
    return "OK" if good and pixels[..., 0].size <= MAX_PIXELS else f"BROKEN: pixels {pixels.shape} {pixels.dtype}"


if __name__ == "__main__":
    sys.exit(main("fuzz_images.py", case, 20_000, gigabytes=2))
