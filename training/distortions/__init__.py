"""The 25 distortions of KADID-10k in five levels, by numpy and OpenCV alone, and how bad people found each of them.

Types, order and people's means are those of KADID-10k (Lin, Hosu and Saupe: "KADID-10k: A large-scale artificially
distorted IQA database", QoMEX 2019); KADIS-700k, on which CONTRIQUE and ARNIQA were trained, is made the same way. The
functions are written from the published descriptions and parameters, so an image distorted here is not KADID's to the
byte. Where KADID's parameter changes nothing (blur of sigma 0.1, a shift of 0), a change that is just there stands in
its place: a class that equals the original would teach nothing.

    >>> image = np.full((4, 6, 3), 100, np.uint8)
    >>> distort(image, "mean shift", 1, seed=0)[0, 0].tolist()
    [138, 138, 138]
    >>> severity("jpeg", 5)
    1.3502
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...runtime.errors import PscrError, Status
from . import effects
from .effects import Pixels

Change = Callable[[Pixels, Any, np.random.Generator], Any]  # floats may leave 0..255: `distort` rounds and clips

LEVELS = 5
PRISTINE = 4.61  # people's mean where KADID's parameter changes nothing (types 1, 3 and 18)
GROUPS = ("blur", "colour", "compression", "noise", "brightness", "spatial", "sharpness and contrast")


@dataclass(frozen=True)
class Distortion:
    """One type.

    number: 1..25, KADID's. group: one of `GROUPS`. parameters: what `change` is given at each level.
    people: mean judgement at each level over KADID's 81 contents, 5 best to 1 worst.
    rises: whether a higher level is a stronger change; false for the two whose levels run from one sign to the other.
    """

    number: int
    name: str
    group: str
    change: Change = field(repr=False)
    parameters: tuple[Any, ...]
    people: tuple[float, ...]
    rises: bool = True


_BLUR, _COLOUR, _COMPRESSION, _NOISE, _BRIGHTNESS, _SPATIAL, _SHARPNESS = GROUPS
# fmt: off
TYPES: tuple[Distortion, ...] = (
    Distortion(1, "gaussian blur", _BLUR, effects.gaussian, (0.4, 0.5, 1, 2, 5),
               (4.6122, 4.3817, 2.9111, 1.873, 1.3027)),
    Distortion(2, "lens blur", _BLUR, effects.lens, (1, 2, 4, 6, 8), (3.8625, 2.6536, 1.7558, 1.4419, 1.2991)),
    Distortion(3, "motion blur", _BLUR, effects.motion, (1.5, 2, 4, 6, 10), (4.6041, 4.0952, 2.8479, 2.1751, 1.6679)),
    Distortion(4, "colour diffusion", _COLOUR, effects.diffusion, (1, 3, 6, 8, 12),
               (4.4951, 2.602, 1.7559, 1.6052, 1.3938)),
    Distortion(5, "colour shift", _COLOUR, effects.shift, (1, 3, 6, 8, 12), (4.2267, 2.5454, 1.9163, 1.8537, 1.8638)),
    Distortion(6, "colour quantization", _COLOUR, effects.palette, (64, 48, 32, 16, 8),
               (4.1081, 3.9733, 3.7186, 3.2028, 2.4249)),
    Distortion(7, "colour saturation 1", _COLOUR, effects.saturation_hsv, (0.4, 0.2, 0.1, 0, -0.4),
               (2.7463, 2.3346, 2.262, 2.2435, 2.0274)),
    Distortion(8, "colour saturation 2", _COLOUR, effects.saturation_lab, (1.1, 2, 3, 6, 9),
               (4.5798, 3.3305, 2.6484, 1.8156, 1.5249)),
    Distortion(9, "JPEG 2000", _COMPRESSION, effects.jpeg2000, (16, 32, 45, 120, 170),
               (4.5531, 4.2047, 3.8733, 2.4448, 1.3938)),
    Distortion(10, "JPEG", _COMPRESSION, effects.jpeg, (43, 36, 24, 7, 4), (4.338, 4.2456, 3.8658, 1.9454, 1.3502)),
    Distortion(11, "white noise", _NOISE, effects.white, (0.001, 0.002, 0.003, 0.005, 0.01),
               (3.8932, 3.3904, 3.0451, 2.7096, 2.3007)),
    Distortion(12, "white noise in colour components", _NOISE, effects.white_colour,
               (0.0001, 0.0005, 0.001, 0.002, 0.003), (4.4684, 3.6825, 3.17, 2.6872, 2.3799)),
    Distortion(13, "impulse noise", _NOISE, effects.impulse, (0.001, 0.005, 0.01, 0.02, 0.03),
               (3.5838, 2.9304, 2.6126, 2.3123, 2.1319)),
    Distortion(14, "multiplicative noise", _NOISE, effects.multiplicative, (0.001, 0.005, 0.01, 0.02, 0.05),
               (4.4044, 3.5815, 3.0842, 2.6394, 2.1173)),
    Distortion(15, "denoise", _NOISE, effects.denoise, (0.002, 0.005, 0.01, 0.025, 0.05),
               (3.6677, 2.7272, 2.2027, 1.6549, 1.4665)),
    Distortion(16, "brighten", _BRIGHTNESS, effects.curve, (0.1, 0.2, 0.4, 0.7, 1.1),
               (4.5057, 4.2875, 3.6323, 2.7009, 1.8093)),
    Distortion(17, "darken", _BRIGHTNESS, effects.curve, (-0.05, -0.1, -0.2, -0.4, -0.8),
               (4.6004, 4.5275, 4.2309, 3.5349, 2.221)),
    Distortion(18, "mean shift", _BRIGHTNESS, effects.mean_shift, (0.15, 0.08, 0.01, -0.08, -0.15),
               (4.218, 4.5188, 4.603, 4.3695, 3.9033), rises=False),
    Distortion(19, "jitter", _SPATIAL, effects.jitter, (0.05, 0.1, 0.2, 0.5, 1),
               (4.4194, 4.0864, 3.2352, 1.8485, 1.3386)),
    Distortion(20, "non-eccentricity patch", _SPATIAL, effects.patches, (20, 40, 60, 80, 100),
               (4.3333, 3.9379, 3.7726, 3.4644, 3.2612)),
    Distortion(21, "pixelate", _SPATIAL, effects.pixelate, (0.89, 0.78, 0.7, 0.57, 0.29),
               (3.8891, 3.0983, 2.8998, 2.7943, 1.4957)),
    Distortion(22, "quantization", _SPATIAL, effects.quantize, (20, 16, 13, 10, 7),
               (4.1685, 3.9335, 3.6859, 3.3728, 2.799)),
    Distortion(23, "colour block", _SPATIAL, effects.blocks, (2, 4, 6, 8, 10), (2.687, 2.359, 2.2995, 2.1262, 2.0352)),
    Distortion(24, "high sharpen", _SHARPNESS, effects.sharpen, (1, 2, 3, 6, 12),
               (3.579, 2.6359, 2.1364, 1.6133, 1.3359)),
    Distortion(25, "contrast change", _SHARPNESS, effects.contrast, (0.3, 0.15, 0, -0.4, -0.6),
               (3.4194, 3.8584, 4.2901, 4.1415, 3.3238), rises=False),
)
# fmt: on


def distort(image: Pixels, kind: str | int, level: int, seed: int) -> Pixels:
    """A distorted copy of an image.

    image: [H,W,3] uint8 RGB, H and W of 1 to 32766 (an image of few pixels may come back as it was).
    kind: a name (of any case) or number of `TYPES`. level: 1..5.
    seed: 0 or more; the same seed gives the same bytes, on one version of numpy and OpenCV. What is random (noise,
    places, directions) is the same at every level, so that levels differ in strength alone.
    Returns: [H,W,3] uint8 RGB, contiguous.

    Raises:
        PscrError: INVALID_ARGUMENT for an unknown type, another level, a negative seed or another array.
    """
    found, step = by_name(kind), _level(level)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        what = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise PscrError(Status.INVALID_ARGUMENT, f"image is {what}; expected uint8 [H,W,3], RGB")
    if not 0 < min(image.shape[:2]) <= max(image.shape[:2]) < 32767:
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise PscrError(Status.INVALID_ARGUMENT, f"image of {size} pixels; expected sides of 1 to 32766")
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise PscrError(Status.INVALID_ARGUMENT, f"seed {seed!r}; expected a whole number of 0 or more")
    rng = np.random.default_rng((int(seed), found.number))
    result = found.change(np.ascontiguousarray(image), found.parameters[step - 1], rng)
    if result.dtype != np.uint8:
        result = np.clip(np.rint(result, out=result), 0, 255, out=result).astype(np.uint8)
    return np.ascontiguousarray(result)


def severity(kind: str | int, level: int) -> float:
    """What people gave a type and level on average, 5 best to 1 worst (KADID-10k's table of means).

    Raises:
        PscrError: INVALID_ARGUMENT for an unknown type or another level.
    """
    return by_name(kind).people[_level(level) - 1]


def by_name(kind: str | int) -> Distortion:
    """The type with this name (of any case) or number.

    Raises:
        PscrError: INVALID_ARGUMENT where there is none.
    """
    for one in TYPES:
        if one.name.lower() == kind.strip().lower() if isinstance(kind, str) else one.number == kind:
            return one
    names = ", ".join(f"{one.number} {one.name}" for one in TYPES)
    raise PscrError(Status.INVALID_ARGUMENT, f"distortion {kind!r} is not known; expected one of: {names}")


def _level(level: int) -> int:
    try:
        found = operator.index(level)
    except TypeError:
        found = 0
    if not 1 <= found <= LEVELS:
        raise PscrError(Status.INVALID_ARGUMENT, f"level {level!r}; expected 1 (weakest) to {LEVELS} (strongest)")
    return found
