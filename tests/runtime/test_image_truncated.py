"""A file that is cut short is DECODE_FAILED, never half an image."""

from __future__ import annotations

import pytest
from image_makers import OPENCV_FORMATS, assert_refused, colours, encoded

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import decode

PIXELS = colours(150, 200)


@pytest.mark.parametrize("kept", [0.002, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("file_format", OPENCV_FORMATS)
def test_cut_file_is_refused(file_format: str, kept: float) -> None:
    data = encoded(PIXELS, file_format)
    with pytest.raises(PscrError) as caught:
        decode(data[: int(len(data) * kept)], name="part.img")
    assert_refused(caught, Status.DECODE_FAILED, "part.img")


@pytest.mark.parametrize("file_format", OPENCV_FORMATS)
def test_one_missing_byte_is_enough(file_format: str) -> None:
    with pytest.raises(PscrError) as caught:
        decode(encoded(PIXELS, file_format)[:-1])
    assert_refused(caught, Status.DECODE_FAILED, "cut short")


def test_progressive_jpeg_without_its_last_scan_is_refused() -> None:
    data = encoded(PIXELS, "JPEG", progressive=True)
    with pytest.raises(PscrError) as caught:
        decode(data[: data.rindex(b"\xff\xda")])
    assert_refused(caught, Status.DECODE_FAILED, "JPEG", "cut short")


@pytest.mark.parametrize("file_format", ["TGA", "PCX", "ICO"])
def test_cut_file_is_refused_by_pillow_too(file_format: str) -> None:
    data = encoded(PIXELS, file_format)
    with pytest.raises(PscrError) as caught:
        decode(data[: len(data) // 2], name="part.img")
    assert_refused(caught, Status.DECODE_FAILED, "part.img")
