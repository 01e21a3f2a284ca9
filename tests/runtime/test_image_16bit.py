"""Sixteen bits become eight, to within one level; samples with no fixed white are refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from image_makers import assert_refused, colours, encoded

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import decode

DEEP = (colours().astype(np.uint16) << 8) + np.arange(64, dtype=np.uint16)[:, None] * 4


@pytest.mark.parametrize("extension", [".png", ".tiff", ".ppm"])
def test_sixteen_bit_colour_is_scaled(extension: str) -> None:
    data = cv2.imencode(extension, DEEP[..., ::-1])[1].tobytes()
    assert np.abs(decode(data) - DEEP / 257).max() < 1


@pytest.mark.parametrize("extension", [".png", ".tiff", ".pgm"])
def test_sixteen_bit_grey_is_scaled_not_clipped(extension: str) -> None:
    data = cv2.imencode(extension, DEEP[..., 0])[1].tobytes()
    assert np.abs(decode(data) - DEEP[..., :1] / 257).max() < 1


def test_sixteen_bit_jpeg_2000_is_scaled() -> None:
    data = cv2.imencode(".jp2", DEEP[..., ::-1], [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])[1].tobytes()
    assert np.abs(decode(data) - DEEP / 257).max() < 1.5


def test_floating_point_tiff_is_refused() -> None:
    for data in (
        cv2.imencode(".tiff", np.ones((8, 8, 3), np.float32))[1].tobytes(),
        encoded(np.ones((8, 8), np.float32), "TIFF"),
        encoded(np.ones((8, 8), np.int32), "TIFF"),
    ):
        with pytest.raises(PscrError) as caught:
            decode(data, name="deep.tiff")
        assert_refused(caught, Status.DECODE_FAILED, "deep.tiff", "floating-point", "convert")


@pytest.mark.parametrize("extension", [".hdr", ".pfm"])
def test_floating_point_formats_are_refused(extension: str) -> None:
    data = cv2.imencode(extension, np.ones((8, 8, 3), np.float32))[1].tobytes()
    with pytest.raises(PscrError) as caught:
        decode(data, name="deep" + extension)
    assert_refused(caught, Status.DECODE_FAILED, "deep" + extension, "expected")
