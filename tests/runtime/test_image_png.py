"""PNG: what follows its end and what is too large and no part of its pixels is passed over."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from image_makers import assert_refused, colours, encoded, png_chunk
from PIL import Image

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import decode, load

PLAIN = encoded(colours(), "PNG")
EXIF = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHH", 1, 0x0112, 3, 1, 6, 0) + bytes(4)
LARGE = np.random.default_rng(0).bytes(9_000_000)


def with_chunk(kind: bytes, body: bytes, before: bytes) -> bytes:
    place = PLAIN.index(before) - 4
    return PLAIN[:place] + png_chunk(kind, body) + PLAIN[place:]


@pytest.mark.parametrize(
    "tail",
    [b"x" * 8, bytes(20), b"\xff" * 30, b"\xff\xff\xff\xffIDAT", PLAIN, LARGE],
    ids=["8 bytes", "zeros", "ones", "a chunk that claims gigabytes", "another PNG", "9 MB"],
)
def test_what_follows_the_end_is_no_part_of_the_image(tail: bytes) -> None:
    np.testing.assert_array_equal(decode(PLAIN + tail), colours())


def test_what_follows_the_end_does_not_stand_in_for_what_is_missing() -> None:
    with pytest.raises(PscrError) as caught:
        decode(PLAIN[:-20] + bytes(100))
    assert_refused(caught, Status.DECODE_FAILED, "PNG, cut short")


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"iTXt", b"workflow\0\0\0\0\0" + LARGE),
        (b"tEXt", b"workflow\0" + b"x" * len(LARGE)),
        (b"zTXt", b"workflow\0\0" + LARGE),
        (b"iCCP", b"profile\0\0" + zlib.compress(LARGE, 0)),
        (b"caBX", LARGE),
        (b"prIv", LARGE),
    ],
)
def test_large_chunk_that_is_no_part_of_the_pixels_is_passed_over(kind: bytes, body: bytes, before: bytes) -> None:
    notes: list[str] = []
    np.testing.assert_array_equal(load(with_chunk(kind, body, before), notes=notes), colours())
    assert notes == []


def test_orientation_of_a_large_exif_chunk_is_applied() -> None:
    np.testing.assert_array_equal(decode(with_chunk(b"eXIf", EXIF + LARGE, b"IDAT")), np.rot90(colours(), -1))


def test_transparency_and_animation_are_kept_beside_a_large_chunk() -> None:
    second = Image.fromarray(255 - colours())
    data = encoded(colours(), "PNG", save_all=True, append_images=[second])
    place = data.index(b"IDAT") - 4
    np.testing.assert_array_equal(decode(data[:place] + png_chunk(b"prIv", LARGE) + data[place:]), colours())


def test_packed_metadata_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(1 << 26), 9)
    for kind, head in (
        (b"zTXt", b"Raw profile type exif\0\0"),
        (b"iCCP", b"p\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
    ):
        np.testing.assert_array_equal(decode(with_chunk(kind, head + bomb, b"IDAT")), colours())
