"""What callers of the flat API pass, read in place: buffers, pixels, tensors; each refusal names the argument."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arguments import whole
from .errors import PscrError, Status
from .image import PIXEL_FORMATS, from_array
from .pipeline import Source
from .pixels import LAYOUTS, TYPES


def item(given: Any) -> Source:
    """An item of a batch as `Scorer.score_many` takes it; pixels become RGB, since it takes one pixel format."""
    if isinstance(given, (str, os.PathLike)):
        return os.fsdecode(given)
    if isinstance(given, tuple) and len(given) == 5:
        return from_array(pixels(*given), given[4])
    return contiguous("item", given)


def pixels(data: Any, height: int, width: int, stride: int, pixel_format: str) -> NDArray[np.uint8]:
    """The caller's own memory as an array [H,W,C] or [H,W]."""
    if pixel_format not in PIXEL_FORMATS:
        raise wrong(f"pixel_format is {pixel_format!r}; expected one of {', '.join(PIXEL_FORMATS)}")
    for name, value in (("height", height), ("width", width), ("stride", stride)):
        least = 0 if name == "stride" else 1
        if whole(value, least) is None:
            raise wrong(f"{name} is {value!r}; expected a whole number of {least} or more")
    channels = PIXEL_FORMATS[pixel_format]
    row = int(width) * channels
    step = int(stride) or row
    flat = np.frombuffer(contiguous("data", data), np.uint8)
    needed = (int(height) - 1) * step + row
    if step < row:
        raise wrong(f"stride is {step}; a row of {width} {pixel_format} pixels takes {row} bytes")
    if len(flat) < needed:
        raise wrong(f"data has {len(flat)} bytes; {width}x{height} {pixel_format} with stride {step} takes {needed}")
    shape, steps = ((height, width, channels), (step, channels, 1)) if channels > 1 else ((height, width), (step, 1))
    return np.ndarray(shape, np.uint8, flat, strides=steps)


def contiguous(name: str, data: Any) -> memoryview:
    """The caller's own bytes."""
    try:
        return memoryview(data).cast("B")
    except (TypeError, ValueError) as error:
        found = f"{name} is a {type(data).__name__}; expected bytes or another C-contiguous buffer"
        raise wrong(found) from error


def out_buffer(name: str, buffer: Any, count: int, *types: type) -> NDArray[Any]:
    """The caller's buffer as a flat array that shares its memory."""
    words = " or ".join(np.dtype(kind).name for kind in types)
    try:
        array = np.asarray(memoryview(buffer))
    except (TypeError, ValueError) as error:
        raise wrong(f"{name} is a {type(buffer).__name__}; expected a writable buffer of {words}") from error
    if not array.flags.writeable or not array.flags.c_contiguous:
        raise wrong(f"{name} is read-only or has gaps; expected a writable C-contiguous buffer of {words}")
    if array.dtype not in types or array.size < count:
        raise wrong(f"{name} has {array.size} items of {array.dtype}; expected {count} or more of {words}")
    return array.reshape(-1)


def tensor(data: Any, shape: Any, layout: str, dtype: str) -> NDArray[Any]:
    """The caller's own memory as an array of this shape and type, a name of `pixels.TYPES`."""
    sides = _sides(shape, layout, dtype)
    size = math.prod(sides)
    if not size:
        return np.empty(sides, dtype)
    given, needed = contiguous("data", data), size * np.dtype(dtype).itemsize
    if len(given) < needed:
        raise wrong(f"data has {len(given)} bytes; {sides} of {dtype} takes {needed}")
    return np.frombuffer(given, dtype, size).reshape(sides)


@dataclass(frozen=True)
class DeviceTensor:
    """Values without gaps in a GPU's memory, as `pixels.read` takes them."""

    shape: tuple[int, ...]
    device: SimpleNamespace
    __cuda_array_interface__: dict[str, Any]


def device_tensor(address: Any, gpu: Any, stream: Any, shape: Any, layout: str, dtype: str) -> DeviceTensor:
    """The caller's own memory on a GPU, after a stream's work (0 for none)."""
    sides = tuple(_sides(shape, layout, dtype))
    numbers = {"address": address, "gpu": gpu, "stream": stream}
    for name, number in numbers.items():
        if whole(number, least=0, most=(1 << 64) - 1) is None:
            raise wrong(f"{name} is {number!r}; expected a whole number of 0 or more")
    entry = {"shape": sides, "typestr": np.dtype(dtype).str, "data": (address, True), "version": 3}
    return DeviceTensor(sides, SimpleNamespace(index=gpu), {**entry, "stream": stream or None})


def _sides(shape: Any, layout: str, dtype: str) -> list[int]:
    """The four sides of a tensor's shape, of a layout and a type that are known."""
    if layout not in LAYOUTS:
        raise wrong(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    if dtype not in TYPES:
        raise wrong(f"dtype is {dtype!r}; expected one of {', '.join(TYPES)}")
    sides = [side for side in map(partial(whole, least=0), shape) if side is not None] if np.iterable(shape) else []
    if len(sides) != 4 or len(shape) != 4:
        raise wrong(f"shape is {shape!r}; expected 4 whole numbers, as {layout} says")
    return sides


def wrong(message: str) -> PscrError:
    """The error for an argument that is not what a function takes."""
    return PscrError(Status.INVALID_ARGUMENT, message)
