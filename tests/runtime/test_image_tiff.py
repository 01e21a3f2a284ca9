"""TIFF: what OpenCV reads wrongly is mended, read by Pillow or refused by its kind; damage is never a black image."""

from __future__ import annotations

import itertools
import struct
import sys
import tracemalloc
from typing import Any

import numpy as np
import PIL
import pytest
from image_makers import assert_refused, by_pillow, colours, encoded
from numpy.typing import NDArray
from PIL import Image
from test_image_exif import TURNED
from tiff_maker import assembled, packed, tiff

from pscr.runtime import image_tiff
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import decode, load

RGB = colours()
GREY = RGB[..., 0]
NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


def without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIL", "PIL.Image", "PIL.ImageOps"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("compression", [9, 10, 34661, 34712, 34887, 50002, 52546, 65000])
@pytest.mark.parametrize("pillow", [True, False], ids=["with Pillow", "without"])
def test_codec_that_nobody_has_is_refused_by_its_number(
    compression: int, pillow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiff(RGB, compression=compression)
    if not pillow:
        without_pillow(monkeypatch)
    with pytest.raises(PscrError) as caught:
        decode(data, name="odd.tif")
    assert_refused(caught, Status.DECODE_FAILED, f"odd.tif: this kind of TIFF (compression {compression})")


OLD = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 12, reason="Pillow's wheels have zstd from 12 on")


@pytest.mark.parametrize("compression", [pytest.param("zstd", marks=OLD), "lzma"])
def test_codec_of_pillows_libtiff_is_read_by_pillow(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(RGB, "TIFF", compression=compression)
    np.testing.assert_array_equal(decode(data), RGB)
    without_pillow(monkeypatch)
    with pytest.raises(PscrError) as caught:
        decode(data)
    assert_refused(caught, Status.DECODE_FAILED, "this kind of TIFF (compression", "pip install pillow")


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize(
    "lies", [{"tile": (16, 16)}, {"tile": (32, 16)}, {"tile": (16, 32), "planar": True}, {"rows": 7}]
)
def test_every_orientation_of_tiles_and_strips(lies: dict[str, Any], compression: int, orientation: int) -> None:
    for pixels, order in itertools.product((RGB, RGB.astype(np.uint16) * 257), "<>"):
        data = tiff(pixels, compression=compression, order=order, tags={274: orientation}, **lies)
        np.testing.assert_array_equal(decode(data), TURNED[orientation](RGB))


@pytest.mark.parametrize("tile", [(16, 16), (48, 32), (32, 32), (64, 64)])
@pytest.mark.parametrize("big", [False, True])
def test_tiles_without_compression_of_any_size(tile: tuple[int, int], big: bool) -> None:
    """libtiff 4.7.1 refuses those whose size is not a multiple of 1024."""
    np.testing.assert_array_equal(decode(tiff(RGB, tile=tile, big=big)), RGB)
    np.testing.assert_array_equal(decode(tiff(GREY, tile=tile, big=big)), np.dstack([GREY] * 3))
    with_alpha = np.dstack([RGB, GREY])
    np.testing.assert_array_equal(decode(tiff(with_alpha, tile=tile, big=big, tags={338: 2})), RGB)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1, 2])
def test_packed_samples_are_scaled(bits: int, photometric: int) -> None:
    pixels = RGB if photometric == 2 else GREY[..., None]
    deep = pixels.astype(np.int64) * (2**bits - 1) // 255
    stored = deep if photometric else 2**bits - 1 - deep
    tags = {256: 64, 257: 48, 258: [bits] * pixels.shape[2], 259: 1, 262: photometric, 277: pixels.shape[2], 278: 48}
    found = decode(assembled(tags, [packed(stored, bits)]))
    assert np.abs(found.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "tags"),
    [
        pytest.param(np.dstack([RGB, GREY, GREY]), {262: 2, 338: [0, 0]}, id="five samples"),
        pytest.param(np.dstack([255 - RGB, 0 * GREY]).astype(np.uint16) * 257, {262: 5}, id="16-bit CMYK"),
    ],
)
def test_kinds_that_pillow_reads_rightly_go_to_pillow(
    pixels: NDArray[Any], tags: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiff(pixels, tags=tags)
    assert np.abs(decode(data).astype(int) - RGB).max() <= 1
    without_pillow(monkeypatch)
    with pytest.raises(PscrError) as caught:
        decode(data)
    assert_refused(caught, Status.DECODE_FAILED, "this kind of TIFF (", "pip install pillow")


@pytest.mark.parametrize("bits", [6, 12, 24, 32])
def test_kinds_that_pillow_reads_wrongly_or_not_at_all_are_refused(bits: int) -> None:
    """Pillow takes packed 12 bits for 16, which is nearly black, and 32 bits for signed."""
    width = 64 * bits // 8
    tags = {256: 64, 257: 48, 258: bits, 259: 34925 if bits == 12 else 1, 262: 1, 277: 1, 278: 48}
    with pytest.raises(PscrError) as caught:
        decode(assembled(tags, [bytes(48 * width)]))
    assert_refused(caught, Status.DECODE_FAILED, "this kind of TIFF (", "34925" if bits == 12 else f"{bits} bits")


@pytest.mark.parametrize(
    ("compression", "nonsense"),
    [
        ("tiff_lzw", b"\xff"),  # codes that mean nothing yet
        ("tiff_deflate", b"\0"),
        ("tiff_adobe_deflate", b"\0"),
        ("packbits", b"\x80"),  # that give no bytes
    ],
)
def test_damaged_strip_is_refused_and_named(compression: str, nonsense: bytes) -> None:
    data = bytearray(encoded(NOISE, "TIFF", compression=compression, strip_size=128 * 3 * 16))
    np.testing.assert_array_equal(decode(bytes(data)), NOISE)
    directory = image_tiff.Directory(bytes(data))
    third, length = directory.numbers(image_tiff.STRIPS)[2], directory.numbers(image_tiff.STRIP_BYTES)[2]
    data[third : third + length] = nonsense * length
    with pytest.raises(PscrError) as caught:
        decode(bytes(data), name="scan.tif")
    assert_refused(caught, Status.DECODE_FAILED, "scan.tif: TIFF, cut short or damaged: part 3 of 6 is damaged")


@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("place", [0x7FFFFFFF, 0xFFFFFFFF])
def test_strip_outside_of_the_file_is_refused(compression: int, place: int) -> None:
    data = tiff(RGB, rows=16, compression=compression)
    strips = struct.pack("<I", image_tiff.Directory(data).numbers(image_tiff.STRIPS)[1])
    with pytest.raises(PscrError) as caught:
        decode(data.replace(strips, struct.pack("<I", place)))
    assert_refused(caught, Status.DECODE_FAILED, "part 2 of 3 lies outside of the file")


def test_damaged_jpeg_in_tiff_is_a_message() -> None:
    data = bytearray(encoded(NOISE, "TIFF", compression="jpeg"))
    data[2000:2020] = bytes(20)
    notes: list[str] = []
    load(bytes(data), notes=notes)
    assert len(notes) == 1
    assert "Corrupt JPEG data" in notes[0]


def test_fax_is_read_with_and_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("group3", "group4", "tiff_ccitt"):
        data = encoded(Image.fromarray(GREY).convert("1"), "TIFF", compression=name)
        expected = by_pillow(data)
        np.testing.assert_array_equal(decode(data), expected)
        with monkeypatch.context() as patch:
            without_pillow(patch)
            np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("value", [1 << 31, (1 << 32) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_offsets_and_counts_beyond_any_file_are_refused(big: bool, value: int) -> None:
    """In every word of the directory in turn: a fault of one image is its own, whatever its numbers."""
    data = tiff(RGB, rows=16, compression=8, big=big, tags={274: 6, 338: 2})
    form = "<Q" if big else "<I"
    start = 8 if big else 4
    (place,) = struct.unpack_from(form, data, start)
    for at in (start, *range(place, len(data) - 8, 4)):
        damaged = bytearray(data)
        struct.pack_into(form, damaged, at, value % (1 << 8 * struct.calcsize(form)))
        try:
            decode(bytes(damaged))
        except PscrError as error:
            assert error.status in (Status.DECODE_FAILED, Status.IMAGE_TOO_LARGE)  # noqa: PT017


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_directory_that_leads_to_itself_is_read_once(big: bool, order: str) -> None:
    """As the next directory, and as those of EXIF, GPS and of smaller images."""
    tags = dict.fromkeys((330, 34665, 34853), 8)
    data = bytearray(tiff(RGB, big=big, order=order, rows=16, compression=8, tags=tags))
    (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    entry, start = (20, place + 8) if big else (12, place + 2)
    entries = len(image_tiff.Directory(bytes(data)).entries)
    form = order + ("Q" if big else "I")
    struct.pack_into(form, data, start + entry * entries, place)
    for number in range(entries):
        at = start + entry * number
        if struct.unpack_from(order + "H", data, at)[0] in tags:
            struct.pack_into(form, data, at + entry - struct.calcsize(form), place)
    np.testing.assert_array_equal(decode(bytes(data)), RGB)


@pytest.mark.parametrize("tags", [{}, {277: 5}, {277: 0}, {259: 50002}])
def test_message_is_short_however_many_samples_there_are(tags: dict[int, int]) -> None:
    with pytest.raises(PscrError) as caught:
        decode(tiff(RGB, tags={258: list(range(3, 60_000)), **tags}))
    assert_refused(caught, Status.DECODE_FAILED, "this kind of TIFF (")
    assert len(caught.value.message) < 300


def test_endless_directory_and_endless_entries_take_no_time_and_no_memory() -> None:
    """A number of entries or values that the file really has room for."""
    directory = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 1 << 63) + bytes(20 * 300_000)
    assert len(image_tiff.Directory(directory).entries) == 1
    many = image_tiff.Directory(tiff(GREY, tags={258: [8] * 3_000_000}))
    tracemalloc.start()
    try:
        assert many.number(image_tiff.BITS) == 8
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_lzw_that_clears_its_table_at_every_turn_takes_no_time() -> None:
    tags = {256: 4000, 257: 4000, 258: 8, 259: 5, 262: 1, 277: 1, 278: 4000}
    with pytest.raises(PscrError) as caught:
        decode(assembled(tags, [packed(np.full((1, 500_000, 1), 256), 9)]))
    assert_refused(caught, Status.DECODE_FAILED, "part 1 of 1 is damaged")
