"""An image above the pixel limit is refused from its header, before anything is decoded."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from image_makers import OPENCV_FORMATS, assert_refused, colours, encoded, png_header

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import DEFAULT_MAX_PIXELS, decode, from_array, load


@pytest.mark.parametrize("side", [20_000, 2**31 - 1])
def test_header_alone_is_enough(side: int) -> None:
    tracemalloc.start()
    with pytest.raises(PscrError) as caught:
        decode(png_header(side, side), name="bomb.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert_refused(caught, Status.IMAGE_TOO_LARGE, "bomb.png", f"{side}x{side}", "expected at most 178000000")
    assert peak < 10_000_000


@pytest.mark.parametrize("file_format", [*OPENCV_FORMATS, "TGA", "PCX"])
def test_every_format_keeps_to_the_limit(file_format: str) -> None:
    data = encoded(colours(), file_format)
    with pytest.raises(PscrError) as caught:
        decode(data, max_pixels=64 * 48 - 1)
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "64x48", "3071")
    assert decode(data, max_pixels=64 * 48).shape == (48, 64, 3)


def test_rotated_avif_keeps_to_the_limit() -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(PscrError) as caught:
        decode(encoded(colours(), "AVIF", exif=exif), max_pixels=3000)
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "64x48")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GIF89a" + struct.pack("<HH", 40_000, 60_000) + bytes(60), id="gif"),
        pytest.param(b"P6 99999 99999 255 ", id="pnm"),
        pytest.param(b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", 65500, 65500) + b"\x03" + bytes(60), id="jpeg"),
        pytest.param(
            b"RIFF" + struct.pack("<I", 40) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff\xff\0" * 2 + bytes(40),
            id="webp",
        ),
        pytest.param(
            b"II*\0\x08\0\0\0\x02\0"
            + struct.pack("<HHII", 256, 4, 1, 60_000)
            + struct.pack("<HHII", 257, 4, 1, 60_000)
            + bytes(40),
            id="tiff",
        ),
        pytest.param(
            b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 \0\0\0\x2djp2h\0\0\0\x16ihdr"
            + struct.pack(">IIH", 60_000, 60_000, 3)
            + bytes(40),
            id="jpeg2000",
        ),
        pytest.param(
            b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0\0\0\x14ispe\0\0\0\0" + struct.pack(">II", 60_000, 60_000),
            id="avif",
        ),
        pytest.param(b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 99999, -99999, 1, 24) + bytes(40), id="bmp"),
    ],
)
def test_tiny_file_of_huge_size_is_refused_before_memory_is_taken(data: bytes) -> None:
    assert len(data) < 200
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PscrError) as caught:
        decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "expected at most")
    assert peak < 10_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize("kind", [b"tEXt", b"IDAT", b"iCCP", b"eXIf"])
@pytest.mark.parametrize("length", [1 << 25, 1 << 30, 2**31 - 1, 2**32 - 1])
def test_png_part_that_promises_gigabytes_is_refused_before_memory_is_taken(kind: bytes, length: int) -> None:
    """OpenCV 5.0 takes as much as the length says: 2 GiB and seconds for 100 bytes (found by the fuzzer)."""
    whole = png_header(64, 48)
    data = whole[:33] + struct.pack(">I", length) + kind + whole[33:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PscrError) as caught:
        decode(data)
    assert_refused(caught, Status.DECODE_FAILED, str(length), "expected a whole file")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_opencvs_own_limit_is_image_too_large() -> None:
    with pytest.raises(PscrError) as caught:
        decode(png_header(40_000, 40_000), name="huge.png", max_pixels=10**12)
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "huge.png", "OPENCV_IO_MAX_IMAGE_PIXELS")


def test_array_above_the_limit_is_refused_without_a_copy() -> None:
    huge = np.broadcast_to(np.zeros(3, np.uint8), (20_000, 20_000, 3))
    with pytest.raises(PscrError) as caught:
        from_array(huge, "rgb")
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "20000x20000")


def test_limit_can_be_set_through_load() -> None:
    with pytest.raises(PscrError) as caught:
        load(colours(), pixel_format="rgb", max_pixels=10)
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "max_pixels")
    assert DEFAULT_MAX_PIXELS == 178_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="limits its own address space")
def test_image_that_does_not_fit_into_memory_is_out_of_memory() -> None:
    program = (
        "import resource, sys; from pscr.runtime.image import PscrError, decode\n"
        "data = sys.stdin.buffer.read()\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**27, resource.RLIM_INFINITY))\n"
        "try: decode(data, name='wide.png')\n"
        "except PscrError as error: print(error.status.name, error)"
    )
    data = png_header(12_000, 12_000)
    done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True)
    assert done.stdout.decode().startswith("OUT_OF_MEMORY wide.png: ")
