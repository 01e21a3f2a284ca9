"""A batch of images that a program has in memory: a NumPy array, or a tensor of another library, read where it lies.

Nothing is guessed. The layout and the range of the values are the caller's to say; what contradicts them, or fits
another of them as well, is refused with the call that would be right. No array library but NumPy is imported: tensors
are read through the protocols that they offer (DLPack, `__cuda_array_interface__`, `__array_interface__`).

Floats become levels as diffusers' `VaeImageProcessor` makes its PIL images: float32, scaled to 0 to 255, rounded to
the nearest, halves to the even one. A value less than half a level outside of its range counts as the range's end; what
lies farther out, where diffusers would have clipped, is refused, since then the range is probably not the one named;
and so are floats of 0 to 255 of which none is above 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from .errors import PscrError, Status, one_line
from .samplings import Pixels, Plan

Layout = Literal["NHWC", "NCHW"]
LAYOUTS: dict[str, tuple[int, int, int, int]] = {"NHWC": (0, 1, 2, 3), "NCHW": (0, 2, 3, 1)}  # axes of [N,H,W,C]
RANGES = ((0, 1), (-1, 1), (0, 255))
TYPES = ("uint8", "float16", "float32")
LEVELS = (0, 255)
_UNTOLD = 0  # a stream: `__cuda_array_interface__` of version 2 names none, and 0 is none of version 3
DARKEST = 2  # levels: floats that stay below it are of a narrower range, whether clipped to it or not
_HOST = 1, 3, 11, 13  # DLPack's device types whose memory NumPy reads: CPU, CUDA host, ROCm host, CUDA managed
_DEVICES = {2: "cuda", 4: "opencl", 7: "vulkan", 8: "metal", 10: "rocm", 14: "oneapi"}


@dataclass(frozen=True, eq=False)
class HostBatch:
    """Images in host memory.

    values: [N,H,W,3] RGB of one of `TYPES`: a view of the caller's own memory, with any strides.
    value_range: the values of black and white, one of `RANGES`.
    """

    values: NDArray[Any]
    value_range: tuple[int, int] = LEVELS

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """N, H, W and 3."""
        return cast("tuple[int, int, int, int]", self.values.shape)

    def images(self) -> Iterator[NDArray[Any]]:
        """The images one by one, [H,W,3], views of the caller's memory."""
        return iter(self.values)

    def levels(self, image: Any) -> Pixels:
        """One of `images` as [H,W,3] uint8; uint8 values as they are, without a copy."""
        values: NDArray[Any] = image
        if values.dtype == np.uint8:
            return values
        return np.clip(np.rint(_scaled(values.astype(np.float32), self.value_range)), *LEVELS).astype(np.uint8)

    def check(self) -> None:
        """See that all values lie in the range, and that no narrower one was meant.

        Raises:
            PscrError: INVALID_ARGUMENT.
        """
        if self.values.dtype != np.uint8 and len(self.values):
            lows, highs = (np.array([end(image) for image in self.values], np.float64) for end in (np.min, np.max))
            _check_values(self.values.dtype, self.value_range, lows, highs)


@dataclass(frozen=True, eq=False)
class DeviceBatch:
    """Images in an accelerator's memory, for a backend that reads them there.

    device: where, such as "cuda:0". pointer: the address of the first value on it.
    shape, strides: of [N,H,W,3], strides in bytes. dtype: one of `TYPES`. value_range: as of a `HostBatch`.
    stream: the stream whose work has to end before the values are read, as `__cuda_array_interface__` numbers them (1
        the legacy default stream, 2 the thread's own, else a handle); None for none, 0 where that is not told.
    owner: the object that was passed, which keeps the memory alive.
    """

    device: str
    pointer: int
    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    stream: int | None
    owner: object
    value_range: tuple[int, int] = LEVELS

    def refusal(self, engine: str, memory: str) -> PscrError:
        """The error of a device, by its name, that reads other memory: that of a device, or "" for the host's."""
        return _elsewhere(self.device, f"{engine} reads {memory or 'host memory'}")

    def follow(self, stream: int, wait_for: Callable[[int], None]) -> object:
        """Have a stream of ours, by its handle, come after what the producer has still to do to the values.

        wait_for: makes our stream wait for the work that another one, by its number, has now. Returns what is to be
        kept until the values have been read.

        Raises:
            PscrError: INVALID_ARGUMENT where the producer cannot say.
        """
        if self.stream != _UNTOLD:
            if self.stream is not None:
                wait_for(self.stream)
            return None
        if hasattr(self.owner, "__dlpack__"):  # torch, whose current stream only torch knows
            try:
                return self.owner.__dlpack__(stream=stream)
            except (BufferError, RuntimeError, TypeError, ValueError) as error:
                raise _elsewhere(self.device, f"cannot be read there ({one_line(error)})") from error
        wait_for(1)
        return None

    def check(self, lows: NDArray[Any], highs: NDArray[Any]) -> None:
        """`HostBatch.check`, by the lowest and the highest value of each image [N]; NaN for one that has NaN."""
        _check_values(self.dtype, self.value_range, lows, highs)


@dataclass(frozen=True, eq=False)
class DevicePatches:
    """The patches [N,P,S,S,3] of images in an accelerator's memory, to be made there, in an engine's input.

    batch: the images. plan: what is done to each.
    """

    batch: DeviceBatch
    plan: Plan

    @property
    def shape(self) -> tuple[int, ...]:
        """N, P, their height and width, and 3."""
        return len(self), len(self.plan.corners), *self.plan.patch, 3

    def __len__(self) -> int:
        return self.batch.shape[0]


def read(pixels: Any, layout: str, value_range: Any) -> HostBatch | DeviceBatch:
    """Find out where a batch of images lies, and that it is one; no value is read or copied.

    pixels: [N,H,W,3] or [N,3,H,W] by `layout`, N 0 or more, of one of `TYPES`: a NumPy array or what has `__dlpack__`,
        `__cuda_array_interface__` or `__array_interface__`. Any strides.
    layout: a key of `LAYOUTS`. value_range: one of `RANGES`.

    Raises:
        PscrError: INVALID_ARGUMENT saying what would be right.
    """
    if layout not in LAYOUTS:
        raise _wrong(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}")
    scale = _range(value_range)
    if getattr(pixels, "requires_grad", False) is True:
        raise _wrong("pixels require a gradient, and a score has none; pass pixels.detach()")
    axes = LAYOUTS[layout]
    device = getattr(pixels, "__cuda_array_interface__", None)
    if device is not None:
        return _on_device(pixels, device, layout, scale)
    values = _on_host(pixels)
    _check_shape(values.shape, layout)
    _check_type(values.dtype, scale)
    return HostBatch(values.transpose(axes), scale)


def _on_host(pixels: Any) -> NDArray[Any]:
    """The values as an array that shares their memory."""
    if isinstance(pixels, np.ndarray):
        return np.asarray(pixels)
    try:
        if hasattr(pixels, "__dlpack__"):
            kind, index = map(int, pixels.__dlpack_device__())
            if kind not in _HOST:
                name = _DEVICES.get(kind, f"a device of DLPack's kind {kind}")
                raise _elsewhere(f"{name}:{index}", "they are read from host memory")
            return np.from_dlpack(pixels)
        if hasattr(pixels, "__array_interface__"):
            return np.asarray(pixels)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:  # a kind of values or of memory
        dtype = getattr(pixels, "dtype", "an unknown type")
        found = f"pixels are {dtype} of a {type(pixels).__name__} and cannot be read ({one_line(error)})"
        raise _wrong(f"{found}; expected {_one_of(TYPES)} in host memory; pass pixels.float().cpu()") from error
    found = f"pixels are a {type(pixels).__name__}; expected an array or tensor [N,H,W,3]"
    if hasattr(pixels, "__array__"):
        raise _wrong(f"{found}; pass numpy.asarray(pixels)")
    raise _wrong(f"{found}; stack images of one size with numpy.stack or torch.stack, or use score_many")


def _on_device(pixels: Any, entry: dict[str, Any], layout: str, value_range: tuple[int, int]) -> DeviceBatch:
    """What `__cuda_array_interface__` says (version 2 or 3), as a batch."""
    shape, dtype = tuple(entry["shape"]), np.dtype(entry["typestr"])
    _check_shape(shape, layout)
    _check_type(dtype, value_range)
    packed = tuple(int(np.prod(shape[axis + 1 :])) * dtype.itemsize for axis in range(len(shape)))
    strides = tuple(entry.get("strides") or packed)
    axes = LAYOUTS[layout]
    place = getattr(pixels, "device", None)
    numbers = (getattr(place, name, None) for name in ("index", "id"))  # torch's, CuPy's
    return DeviceBatch(
        f"cuda:{next((one for one in numbers if isinstance(one, int)), 0)}",
        int(entry["data"][0]),
        cast("tuple[int, int, int, int]", tuple(shape[axis] for axis in axes)),
        cast("tuple[int, int, int, int]", tuple(strides[axis] for axis in axes)),
        dtype,
        entry.get("stream", _UNTOLD),
        pixels,
        value_range,
    )


def _check_type(dtype: np.dtype[Any], value_range: tuple[int, int]) -> None:
    if dtype not in map(np.dtype, TYPES):
        found = f"pixels are {dtype}; expected {_one_of(TYPES)}"
        raise _wrong(f"{found}; pass pixels.astype('float32'), of a tensor pixels.float(), with their value_range")
    if dtype == np.uint8 and value_range != LEVELS:
        found = f"uint8 pixels with value_range={value_range}; uint8 is 0 to 255"
        raise _wrong(f"{found}: pass value_range={LEVELS}, or what was meant as floats")


def _check_values(dtype: Any, value_range: tuple[int, int], lows: NDArray[Any], highs: NDArray[Any]) -> None:
    """See that floats lie in their range, by what each image's values reach [N], and that no narrower one was meant."""
    unknown = np.flatnonzero(np.isnan(lows))
    if unknown.size:
        raise _wrong(f"image {unknown[0]} of {len(lows)} has NaN; expected finite values; look at what made it")
    low, high = float(lows.min()), float(highs.max())
    if not _fits(value_range, low, high):
        found = f"{dtype} values from {low:.4g} to {high:.4g} with value_range={value_range}"
        raise _wrong(f"{found}; {_advice(value_range, low, high)}")


def _advice(value_range: tuple[int, int], low: float, high: float) -> str:
    fitting = next((one for one in RANGES if _fits(one, low, high)), None)
    if fitting:
        dark = ", or uint8 where the images are as dark as that" if value_range == LEVELS else ""
        return f"pass value_range={fitting}{dark}"
    bounds = value_range
    if bounds != (-1, 1) and high <= DARKEST:
        bounds = (-1, 1) if low < -0.5 else (0, 1)
    return f"pass pixels.clip{bounds} with value_range={bounds}"


def _check_shape(shape: tuple[int, ...], layout: str) -> None:
    """See that a shape is [N,H,W,3] or [N,3,H,W], as the layout says."""
    found = f"pixels have shape {list(shape)}; expected [{','.join(layout).replace('C', '3')}]"
    if len(shape) == 4:
        axis, (other, at) = layout.index("C"), next((one, one.index("C")) for one in LAYOUTS if one != layout)
        place = "..., {}" if axis == 3 else ":, {}"
        if shape[axis] == 3:
            if 0 in shape[1:]:
                raise _wrong(f"{found} with at least one pixel an image")
            return
        if shape[at] == 3:
            raise _wrong(f"{found}; pass layout={other!r}")
        if shape[axis] == 4:
            raise _wrong(f"{found}; drop the fourth channel: pass pixels[{place.format(':3')}]")
        if shape[axis] == 1:
            raise _wrong(f"{found}; repeat grey: pass pixels[{place.format('[0, 0, 0]')}]")
        raise _wrong(f"{found}; the channels are red, green and blue")
    if len(shape) == 3:
        fitting = layout if shape[layout.index("C") - 1] == 3 else next(one for one in LAYOUTS if one != layout)
        said = f", layout={fitting!r}" if shape[fitting.index("C") - 1] == 3 else ""
        raise _wrong(f"{found}; of one image pass pixels[None]{said}")
    if len(shape) == 5:
        raise _wrong(f"{found}; of several batches, or videos, pass pixels.reshape(-1, *pixels.shape[2:])")
    if len(shape) == 2:
        raise _wrong(f"{found}; of one grey image pass pixels[None, :, :, None][..., [0, 0, 0]], layout='NHWC'")
    raise _wrong(found)


def _range(value_range: Any) -> tuple[int, int]:
    try:
        asked = tuple(map(float, value_range))
    except (TypeError, ValueError):
        asked = ()
    for one in RANGES:
        if asked == one:
            return one
    raise _wrong(f"value_range is {value_range!r}; expected {_one_of(map(str, RANGES))}: the values of black and white")


def _scaled(values: Any, value_range: tuple[int, int]) -> Any:
    """Values of a range on the scale of levels, 0 to 255."""
    if value_range == (-1, 1):
        values = values * np.float32(0.5) + np.float32(0.5)
    return values if value_range == LEVELS else values * np.float32(255)


def _fits(value_range: tuple[int, int], low: float, high: float) -> bool:
    """Whether values from `low` to `high` lie in a range, to less than half a level, and are not of a narrower one."""
    inside = _scaled(low, value_range) > LEVELS[0] - 0.5 and _scaled(high, value_range) < LEVELS[1] + 0.5
    return bool(inside and (value_range != LEVELS or high > DARKEST))


def _one_of(names: Any) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def _elsewhere(device: str, why: str) -> PscrError:
    return _wrong(f"pixels are on {device}, and {why}; pass pixels.cpu(), of a CuPy array pixels.get()")


def _wrong(message: str) -> PscrError:
    return PscrError(Status.INVALID_ARGUMENT, message)
