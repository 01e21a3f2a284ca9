"""Colours are taken to sRGB by a file's profile, as Little CMS does; a profile of sRGB changes nothing."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_makers import colours, encoded
from PIL import Image, ImageCms

import pscr
from pscr.runtime.image import decode, load

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Red, green and blue as XYZ under D50, as the profiles of these names hold them.
DISPLAY_P3 = ((0.515121, 0.241196, -0.001053), (0.291977, 0.692245, 0.041885), (0.157104, 0.066574, 0.784073))
ADOBE_RGB = ((0.609741, 0.311111, 0.019470), (0.205276, 0.625671, 0.060867), (0.149185, 0.063217, 0.744568))
OF_SRGB = ((0.436066, 0.222488, 0.013916), (0.385147, 0.716873, 0.097076), (0.143066, 0.060608, 0.714096))


def fixed(*values: float) -> bytes:
    """Numbers of 16 bits before the point and 16 behind it."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def parametric(kind: int, *values: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + fixed(*values)


def points(curve: np.ndarray) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">I", len(curve)) + np.rint(curve * 65535).astype(">u2").tobytes()


LEVELS = np.linspace(0, 1, 1024)
CURVES = {
    "sRGB": parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "sRGB in points": points(np.where(LEVELS <= 0.04045, LEVELS / 12.92, ((LEVELS + 0.055) / 1.055) ** 2.4)),
    "power of 2.2": b"curv" + bytes(4) + struct.pack(">IHH", 1, round(2.2 * 256), 0),
    "power of 1.8": parametric(0, 1.8),
    "straight": b"curv" + bytes(8),
    "BT.709": parametric(4, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081, 0, 0),
    "with a black end": parametric(1, 2, 1.1, -0.1),
    "with a raised black": parametric(2, 2, 0.9, -0.05, 0.01),
}


def profile(
    matrix: tuple[tuple[float, ...], ...] = DISPLAY_P3, curve: bytes = CURVES["sRGB"], name: str = "Display P3"
) -> bytes:
    """An ICC profile of version 2, of three curves and a matrix, or without a matrix of one curve for grey."""
    kinds = (b"rXYZ", b"gXYZ", b"bXYZ")
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name.encode() + bytes(79)}
    tags |= {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)}
    tags |= {kind: b"XYZ " + bytes(4) + fixed(*colour) for kind, colour in zip(kinds, matrix, strict=False)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC") if matrix else (b"kTRC",), curve)
    body, entries, start = b"", b"", 132 + 12 * len(tags)
    for kind, tag in tags.items():
        entries += kind + struct.pack(">II", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    space = b"RGB " if matrix else b"GRAY"
    head = struct.pack(">I", start + len(body)) + bytes(4) + b"\2\x40\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    head += bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def by_little_cms(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    target = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(pixels), source, target, intent, "RGB"))


NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("matrix", [DISPLAY_P3, ADOBE_RGB, OF_SRGB], ids=["P3", "Adobe", "sRGB"])
def test_colours_are_those_of_little_cms(matrix: tuple[tuple[float, ...], ...], curve: str) -> None:
    icc = profile(matrix, CURVES[curve])
    found = decode(encoded(NOISE, "PNG", icc_profile=icc)).astype(int)
    assert np.abs(found - by_little_cms(NOISE, icc)).max() <= 1


@pytest.mark.parametrize(
    "icc", [SRGB, profile(OF_SRGB), profile(OF_SRGB, CURVES["sRGB in points"])], ids=["Pillow's", "curve", "points"]
)
def test_profile_of_srgb_changes_and_says_nothing(icc: bytes) -> None:
    for file_format in ("PNG", "JPEG"):
        notes: list[str] = []
        found = load(encoded(NOISE, file_format, icc_profile=icc), notes=notes)
        np.testing.assert_array_equal(found, decode(encoded(NOISE, file_format)))
        assert notes == []


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_format_and_a_pillow_image_give_the_same(file_format: str) -> None:
    icc = profile()
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(colours(), file_format, icc_profile=icc, **options)
    of_bytes: list[str] = []
    of_image: list[str] = []
    found = load(data, notes=of_bytes)
    expected = by_little_cms(decode(encoded(colours(), file_format, **options)), icc).astype(int)
    assert np.abs(found - expected).max() <= 1
    assert of_bytes == ["colours converted from Display P3 to sRGB"]
    np.testing.assert_array_equal(load(Image.open(io.BytesIO(data)), notes=of_image), found)
    assert of_image == of_bytes


def test_profile_of_several_jpeg_segments_is_put_together() -> None:
    large = profile(name="Display P3") + bytes(70_000)
    large = struct.pack(">I", len(large)) + large[4:]
    notes: list[str] = []
    load(encoded(colours(), "JPEG", icc_profile=large), notes=notes)
    assert notes == ["colours converted from Display P3 to sRGB"]


def test_no_score_depends_on_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(NOISE, "PNG", icc_profile=profile())
    expected = decode(data)
    for name in ("PIL", "PIL.Image", "PIL.ImageCms"):
        monkeypatch.setitem(sys.modules, name, None)
    np.testing.assert_array_equal(decode(data), expected)


def test_grey_goes_by_its_one_curve() -> None:
    data = encoded(NOISE[..., 0], "PNG", icc_profile=profile((), CURVES["power of 1.8"], "Grey"))
    linear = (np.arange(256) / 255) ** 1.8
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(decode(data) - expected[NOISE[..., :1]]).max() <= 1
    np.testing.assert_array_equal(
        decode(encoded(NOISE[..., 0], "PNG", icc_profile=profile((), CURVES["sRGB"]))), np.dstack([NOISE[..., 0]] * 3)
    )


def test_profile_that_is_not_applied_is_said() -> None:
    cmyk = profile(name="Coated").replace(b"RGB XYZ ", b"CMYKLab ")
    data = encoded(Image.fromarray(colours()).convert("CMYK"), "JPEG", icc_profile=cmyk)
    for source in (data, Image.open(io.BytesIO(data))):
        notes: list[str] = []
        load(source, notes=notes)
        assert notes == ["its colour profile (Coated) is of a kind that is not applied"]


@pytest.mark.parametrize("icc", [bytes(200), profile()[:140], profile()[:200], b"acsp" * 50])
def test_damaged_profile_is_as_none(icc: bytes) -> None:
    np.testing.assert_array_equal(decode(encoded(NOISE, "TIFF", icc_profile=icc)), NOISE)


def test_profile_of_any_bytes_raises_nothing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        icc = bytearray(profile(curve=list(CURVES.values())[int(rng.integers(0, len(CURVES)))]))
        for place in rng.integers(0, len(icc), 3):
            icc[place] = int(rng.integers(0, 256))
        assert decode(encoded(NOISE[:4, :4], "TIFF", icc_profile=bytes(icc))).shape == (4, 4, 3)


def test_caller_of_a_scorer_reads_it_in_the_result(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encoded(cv2.resize(NOISE, (256, 256)), "JPEG", icc_profile=profile()))
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        assert "colours converted from Display P3 to sRGB" in scorer.score(tmp_path / "photo.jpg").message
