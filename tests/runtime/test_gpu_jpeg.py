"""JPEGs by nvImageCodec: its real library, whose own decoders on the CPU stand in for a GPU's where it is installed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from image_makers import assert_refused, colours, encoded
from PIL import Image

import pscr
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.gpu_jpeg import JpegDecoder
from pscr.runtime.image import load

IMAGE = colours(120, 200)


@pytest.fixture
def decoder() -> JpegDecoder:
    pytest.importorskip("nvidia.nvimgcodec", reason="nvidia-nvimgcodec-cu13 is not installed")
    return JpegDecoder(None)


def test_a_jpeg_has_the_pixels_of_opencv_to_a_few_levels(decoder: JpegDecoder) -> None:
    for options in ({}, {"progressive": True}, {"subsampling": 0}, {"quality": 60}):
        data = encoded(IMAGE, "JPEG", **options)
        found, expected = load(data, jpeg=decoder), load(data)
        assert found.shape == expected.shape
        assert found.flags.c_contiguous
        assert np.abs(found.astype(int) - expected).max() <= 8
        np.testing.assert_array_equal(found, decoder.pixels(data))


def test_grey_becomes_three_channels_and_exif_turns_as_without_it(decoder: JpegDecoder) -> None:
    grey = encoded(Image.fromarray(IMAGE).convert("L"), "JPEG", quality=95)
    assert np.abs(load(grey, jpeg=decoder).astype(int) - load(grey)).max() <= 2
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(IMAGE, "JPEG", exif=exif, quality=95)
    assert load(turned, jpeg=decoder).shape == (200, 120, 3)
    assert np.abs(load(turned, jpeg=decoder).astype(int) - load(turned)).max() <= 8


def test_what_it_cannot_decode_goes_the_cpus_way(decoder: JpegDecoder) -> None:
    cmyk = encoded(Image.fromarray(IMAGE).convert("CMYK"), "JPEG")
    assert decoder.pixels(cmyk) is None
    np.testing.assert_array_equal(load(cmyk, jpeg=decoder), load(cmyk))
    png = encoded(IMAGE, "PNG")
    np.testing.assert_array_equal(load(png, jpeg=decoder), IMAGE)
    for damaged in (encoded(IMAGE, "JPEG")[:900], b"\xff\xd8\xff" + bytes(500)):
        said = []
        for jpeg in (decoder, None):
            with pytest.raises(PscrError) as caught:
                load(damaged, jpeg=jpeg)
            assert caught.value.status is Status.DECODE_FAILED
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_a_limit_of_pixels_is_seen_before_it_decodes(decoder: JpegDecoder) -> None:
    with pytest.raises(PscrError) as caught:
        load(encoded(IMAGE, "JPEG"), jpeg=decoder, max_pixels=100)
    assert caught.value.status is Status.IMAGE_TOO_LARGE


def test_a_colour_profile_is_applied_as_without_it(decoder: JpegDecoder) -> None:
    from PIL import ImageCms

    stream = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(IMAGE).save(stream, "JPEG", icc_profile=profile, quality=95)
    assert np.abs(load(stream.getvalue(), jpeg=decoder).astype(int) - load(stream.getvalue())).max() <= 8


def test_without_the_library_the_extra_is_named(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", None)
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device="cpu", jpeg="gpu")
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, "nvidia.nvimgcodec", "pscr[nvjpeg]")


def test_without_a_gpu_it_is_refused(tiny_model: Path) -> None:
    pytest.importorskip("nvidia.nvimgcodec", reason="nvidia-nvimgcodec-cu13 is not installed")
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device="cpu", jpeg="gpu")
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, "GPU 0 cannot decode JPEGs", "leave jpeg='gpu' out")


def test_another_word_is_refused(tiny_model: Path) -> None:
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device="cpu", jpeg="cuda")  # type: ignore[arg-type]
    assert_refused(caught, Status.INVALID_ARGUMENT, "'cuda'", "'cpu' or 'gpu'")
