"""Formats that OpenCV does not read go through Pillow, under the same policy; without Pillow the message says so."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
from image_makers import OPENCV_FORMATS, assert_refused, by_pillow, colours, encoded
from PIL import Image

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import decode


def block_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIL", "PIL.Image", "PIL.ImageOps"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("file_format", ["TGA", "PCX", "SGI", "ICO", "DDS"])
def test_other_formats_are_read(file_format: str) -> None:
    data = encoded(colours(48, 48), file_format)
    np.testing.assert_array_equal(decode(data), by_pillow(data))


def test_alpha_is_dropped_not_composited() -> None:
    alpha = np.tile(np.arange(64, dtype=np.uint8), (48, 1))
    np.testing.assert_array_equal(decode(encoded(np.dstack([colours(), alpha]), "TGA")), colours())


def test_grey_is_repeated() -> None:
    grey = colours()[..., 0]
    np.testing.assert_array_equal(decode(encoded(grey, "TGA")), np.dstack([grey] * 3))


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    deep = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    codestream = encoded(deep, "JPEG2000", no_jp2=True)
    assert np.abs(decode(codestream) - deep[..., None] / 257).max() < 1


def test_floating_point_samples_are_refused() -> None:
    with pytest.raises(PscrError) as caught:
        decode(cv2.imencode(".pfm", np.ones((8, 8), np.float32))[1].tobytes(), name="deep.pfm")
    assert_refused(caught, Status.DECODE_FAILED, "deep.pfm", "32-bit samples")


def test_bmp_of_os2_is_read() -> None:
    rows = colours()[::-1, :, ::-1].tobytes()
    data = b"BM" + (26 + len(rows)).to_bytes(4, "little") + bytes(4) + b"\x1a\0\0\0"
    data += b"\x0c\0\0\0" + (64).to_bytes(2, "little") + (48).to_bytes(2, "little") + b"\x01\0\x18\0" + rows
    np.testing.assert_array_equal(decode(data), colours())


@pytest.mark.parametrize("file_format", ["GIF", "AVIF", "WEBP", "JPEG2000"])
def test_pillow_steps_in_where_opencv_was_built_without_the_codec(
    file_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(colours(), file_format)
    with_codec = decode(data)
    monkeypatch.setattr(cv2, "haveImageWriter", lambda name: False)
    np.testing.assert_array_equal(decode(data), with_codec)


@pytest.mark.parametrize("file_format", OPENCV_FORMATS)
def test_opencvs_formats_need_no_pillow(file_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(colours(), file_format)
    block_pillow(monkeypatch)
    assert decode(data).shape == (48, 64, 3)


def test_without_pillow_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(colours(), "TGA")
    block_pillow(monkeypatch)
    with pytest.raises(PscrError) as caught:
        decode(data, name="old.tga")
    assert_refused(caught, Status.DECODE_FAILED, "old.tga", "expected JPEG", "pip install pillow")


def test_pillows_own_limit_is_image_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PscrError) as caught:
        decode(encoded(colours(), "TGA"), name="old.tga")
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "old.tga", "MAX_IMAGE_PIXELS")


def test_pillow_is_not_imported_for_what_opencv_reads() -> None:
    program = (
        "import sys, cv2, numpy; from pscr.runtime.image import decode;"
        "decode(cv2.imencode('.png', numpy.zeros((8, 8, 3), numpy.uint8))[1].tobytes());"
        "sys.exit('PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
