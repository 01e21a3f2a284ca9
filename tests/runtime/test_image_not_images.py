"""What is no image is DECODE_FAILED, with what it starts with and what was expected."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
from image_makers import assert_refused

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import decode, load


def test_empty_bytes_are_refused() -> None:
    with pytest.raises(PscrError) as caught:
        decode(b"")
    assert_refused(caught, Status.DECODE_FAILED, "empty (0 bytes)", "expected JPEG")


def test_text_is_quoted_and_the_file_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("hello world, this is no picture")
    with pytest.raises(PscrError) as caught:
        load(path)
    assert_refused(caught, Status.DECODE_FAILED, f"{path}: not an image (starts with b'hello wo'); expected JPEG, PNG")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0" * 1000, id="zeros"),
        pytest.param(b"BMW makes cars, and " * 10, id="text-like-bmp"),
        pytest.param(b"P6 is a road in " * 10, id="text-like-pnm"),
        pytest.param(b"II*\0" + b"\xff" * 100, id="tiff-directory-outside"),
        pytest.param(
            b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01\0\0\0\x01\0\0\0" * 9, id="tiff-endless-directory"
        ),
        pytest.param(b"\xff\xd8\xff\xe0" + b"\xff" * 100, id="jpeg-marker-only"),
        pytest.param(b"GIF89a" + b"\0" * 100, id="gif-of-no-size"),
        pytest.param(b"\0\0\0\x1cftypavif" + b"\0" * 100, id="avif-of-no-size"),
        pytest.param(b"\x89PNG\r\n\x1a\n", id="png-signature-only"),
        pytest.param(np.random.default_rng(0).bytes(4096), id="noise"),
        pytest.param(b"a" * 7, id="seven-bytes"),
    ],
)
def test_junk_is_refused(data: bytes) -> None:
    with pytest.raises(PscrError) as caught:
        decode(data, name="junk.png")
    assert_refused(caught, Status.DECODE_FAILED, "junk.png: ")


@pytest.mark.parametrize(
    ("data", "called"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF (HEIC)"),
        (b"\xff\x0a" + b"\0" * 40, "JPEG XL"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='100000' height='100000'></svg>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"#?RADIANCE\n", "floating-point"),
    ],
)
def test_other_formats_are_called_by_name(data: bytes, called: str) -> None:
    with pytest.raises(PscrError) as caught:
        decode(data, name="file")
    assert_refused(caught, Status.DECODE_FAILED, "file: ", called, "expected JPEG")


def test_postscript_is_not_run() -> None:
    header = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(PscrError) as caught:
        decode(header, name="page.eps")
    assert_refused(caught, Status.DECODE_FAILED, "page.eps: EPS", "convert it first")


def test_large_file_that_begins_as_no_image_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "zeros.jpg"
    with path.open("wb") as stream:
        stream.truncate(1_500_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PscrError) as caught:
        load(path)
    assert_refused(caught, Status.DECODE_FAILED, "zeros.jpg: not an image", "above 268435456 bytes", "expected JPEG")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_image_file_longer_than_opencv_reads_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "endless.png"
    with path.open("wb") as stream:
        stream.write(b"\x89PNG\r\n\x1a\n")
        stream.truncate(2**31)
    with pytest.raises(PscrError) as caught:
        load(path)
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "endless.png: PNG of more than 2147483647 bytes")
