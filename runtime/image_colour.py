"""Colours by a file's ICC profile to sRGB, on which the models have been trained.

Only profiles of three curves and a matrix are applied (Display P3, Adobe RGB, ProPhoto and all that a camera or a
browser writes), and those of one curve for grey. Source: ICC.1:2022, sections 7, 9, 10 and F.3; IEC 61966-2-1.
"""

from __future__ import annotations

import functools
import struct
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .samplings import Pixels

_STEPS = 1 << 16  # of linear light, fine enough for the steep end of sRGB's curve
_ROWS = 1 << 20  # pixels that are converted at a time, so that memory stays small
_TOO_MUCH = 1e6  # in a curve or a matrix: damage
_SAME = 2  # levels of 255: what rounding makes of two ways to write down one curve
# sRGB's red, green and blue in columns, as XYZ under D50, which is what profiles hold.
_SRGB_TO_XYZ = np.array(
    [
        [0.4360747, 0.3850649, 0.1430804],
        [0.2225045, 0.7168786, 0.0606169],
        [0.0139322, 0.0971045, 0.7141733],
    ]
)
_PARAMETERS = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}  # how many numbers each kind of parametric curve has

Curve = NDArray[np.float64]


class Conversion(NamedTuple):
    """What a profile makes of pixels.

    name: the profile's own description. curves: [256,3] linear light, 0 to 1, of each level of each channel; None where
    the profile is of a kind that is not applied. matrix: [3,3], to sRGB's linear light. same: whether it is sRGB.
    """

    name: str
    curves: Curve | None = None
    matrix: Curve | None = None
    same: bool = False


def to_srgb(pixels: Pixels, profile: bytes) -> tuple[Pixels, str]:
    """Pixels [H,W,3] RGB in sRGB, converted in place where the profile is not sRGB's, and what was done in words.

    A profile that is none, or damaged, is as no profile. The words are empty where nothing was to be done.
    """
    found = _conversion(profile)
    if found is None or found.same:
        return pixels, ""
    if found.curves is None or found.matrix is None:
        return pixels, f"its colour profile ({found.name}) is of a kind that is not applied"
    if not pixels.flags.writeable:
        pixels = pixels.copy()
    step = max(_ROWS // pixels.shape[1], 1)
    for top in range(0, len(pixels), step):
        pixels[top : top + step] = _convert(pixels[top : top + step], found.curves, found.matrix)
    return pixels, f"colours converted from {found.name} to sRGB"


def _convert(pixels: Pixels, curves: Curve, matrix: Curve) -> Pixels:
    light = cv2.LUT(pixels, curves.astype(np.float32)[None])
    light = cv2.transform(light, matrix.astype(np.float32))
    steps = np.clip(light * (_STEPS - 1) + 0.5, 0, _STEPS - 1).astype(np.uint16)
    return _encoded()[steps]


@functools.cache
def _encoded() -> Pixels:
    """The level of sRGB for each step of linear light."""
    light = np.linspace(0, 1, _STEPS)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * curve).astype(np.uint8)


@functools.lru_cache(maxsize=16)
def _conversion(profile: bytes) -> Conversion | None:
    """What a profile means, or None where it cannot be read."""
    try:
        if profile[36:40] != b"acsp":
            return None
        tags = _tags(profile)
        name, space = _description(tags), profile[16:20]
        if space == b"RGB " and b"A2B0" not in tags and b"rXYZ" in tags:
            curves = np.stack([_curve(tags[kind]) for kind in (b"rTRC", b"gTRC", b"bTRC")], -1)
            colours = [struct.unpack_from(">3i", tags[kind], 8) for kind in (b"rXYZ", b"gXYZ", b"bXYZ")]
            matrix = np.linalg.inv(_SRGB_TO_XYZ) @ np.array(colours).T / 65536
        elif space == b"GRAY" and b"kTRC" in tags:
            curves = np.stack([_curve(tags[b"kTRC"])] * 3, -1)
            matrix = np.eye(3)
        else:
            return Conversion(name)
    except (struct.error, KeyError, ValueError, ArithmeticError):
        return None
    if not (np.abs(curves).max() < _TOO_MUCH and np.abs(matrix).max() < _TOO_MUCH):  # nor NaN
        return None
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    probe = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    probe = probe if space == b"RGB " else np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    moved = np.abs(_convert(probe, curves, matrix).astype(int) - probe).max()
    return Conversion(name, curves, matrix, same=bool(moved <= _SAME))


def _tags(profile: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", profile, 128)
    entries = [struct.unpack_from(">4sII", profile, 132 + 12 * number) for number in range(min(count, 100))]
    return {kind: profile[place : place + length] for kind, place, length in entries}


def _curve(tag: bytes) -> Curve:
    """Linear light of each of the 256 levels."""
    levels = np.arange(256) / 255
    if tag.startswith(b"curv"):
        (count,) = struct.unpack_from(">I", tag, 8)
        points = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
        if count == 0:
            return levels
        if count == 1:
            return np.asarray(levels ** (points[0] / 256))
        return np.interp(levels, np.linspace(0, 1, count), points / 65535)
    if not tag.startswith(b"para"):
        raise ValueError(f"a curve of type {tag[:4]!r}")
    (kind,) = struct.unpack_from(">H", tag, 8)
    if kind not in _PARAMETERS:
        raise ValueError(f"a parametric curve of kind {kind}")
    g, *numbers = (value / 65536 for value in struct.unpack_from(f">{_PARAMETERS[kind]}i", tag, 12))
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if kind in (1, 2):
        a, b = numbers[:2]
        d = -b / a
        e = f = numbers[2] if kind == 2 else 0.0
    elif kind == 3:
        a, b, c, d = numbers
    elif kind == 4:
        a, b, c, d, e, f = numbers
    with np.errstate(all="ignore"):
        return np.asarray(np.where(levels >= d, (a * levels + b) ** g + e, c * levels + f))


def _description(tags: dict[bytes, bytes]) -> str:
    """A profile's name for people, as one short printable line."""
    tag = tags.get(b"desc", b"")
    if tag.startswith(b"mluc") and len(tag) >= 28:
        length, place = struct.unpack_from(">II", tag, 20)
        text = tag[place : place + length].decode("utf-16-be", "replace")
    else:
        text = tag[12:].partition(b"\0")[0].decode("latin-1")
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:60] or "one without a name"
