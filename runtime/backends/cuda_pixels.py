"""The patches of images that are in a GPU's memory already, made there: the kernels of pixels.cu."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pixels import RANGES, TYPES, DevicePatches
from .cuda import Device

PTX = Path(__file__).with_name("pixels.ptx")
_KINDS = ("uint8", "float16", "float32")  # by their numbers in pixels.cu
_SCALES = ((0, 255), (0, 1), (-1, 1))
_THREADS = 256  # of a block
_BLOCKS = 64  # of an image, that look for its extremes
_NOTHING = np.array([0xFFFFFFFF, 0, 0], np.uint32)  # lowest, highest, whether NaN: before any value was seen

assert set(_KINDS) == set(TYPES)
assert set(_SCALES) == set(RANGES)


class Job(ctypes.Structure):
    """The one argument of the kernels; see pixels.cu."""

    _fields_ = (
        *((name, ctypes.c_longlong) for name in ("source", "patches", "corners", "found")),
        *((f"{name}_stride", ctypes.c_longlong) for name in ("image", "row", "pixel", "channel")),
        *((name, ctypes.c_int) for name in ("kind", "range", "images", "height", "width")),
        *((name, ctypes.c_int) for name in ("tall", "wide", "top", "left", "count", "patch_height", "patch_width")),
    )


class PixelKernels:
    """What makes patches in one stream of a device: `begin`, `place` for each part of the images, `end`, `check`.

    `forget` follows, whatever happened. Device and pinned memory for a plan and for what the values reach is kept, and
    grows with the largest batch.
    """

    def __init__(self, device: Device, stream: Any) -> None:
        """Load the kernels.

        Raises:
            PscrError: DEVICE_UNAVAILABLE without cuda-bindings. An error of the driver's that `Device.current` words.
        """
        self._device, self._stream = device, stream
        self._module = device.module(PTX.read_bytes())
        self._table: Any = None
        self._host: NDArray[np.uint32] | None = None
        self._patches: DevicePatches | None = None
        self._kept: object = None

    def begin(self, patches: DevicePatches) -> None:
        """Have the stream come after the images' producer, and take their plan. Nothing of an earlier call is running.

        Raises:
            PscrError: INVALID_ARGUMENT; OUT_OF_MEMORY.
        """
        plan, words = patches.plan, 2 * patches.shape[1] + _NOTHING.size * len(patches)
        if self._host is None or self._host.size < words:
            self._drop_table()
            self._table = self._device.memory(4 * words)
            self._host = self._device.pinned(words, np.uint32)
        corners = np.array(plan.corners, np.uint32).reshape(-1)
        table = self._host[:words]
        table[: corners.size] = corners
        table[corners.size :] = np.tile(_NOTHING, len(patches))
        stream = self._stream
        self._kept = patches.batch.follow(int(stream.handle), lambda other: self._device.wait_for(other, stream))
        self._device.upload(self._table, table, stream)
        self._patches = patches

    def place(self, part: slice, address: int) -> None:
        """Put into the stream that the patches of some images, [n,P,S,S,3] uint8, are made at an address."""
        assert self._patches is not None
        batch, plan = self._patches.batch, self._patches.plan
        corners, first, images = int(self._table), part.start, part.stop - part.start
        found = corners + 8 * len(plan.corners) + 4 * _NOTHING.size * first
        job = Job(
            *(batch.pointer + first * batch.strides[0], address, corners, found),
            *batch.strides,
            *(_KINDS.index(batch.dtype.name), _SCALES.index(batch.value_range), images, *batch.shape[1:3]),
            *(*plan.view, *plan.padding, len(plan.corners), *plan.patch),
        )
        blocks = -(-plan.patch[0] * plan.patch[1] // _THREADS)
        self._module.launch("windows", (blocks, len(plan.corners), images), _THREADS, self._stream, job)
        if self._floats:
            blocks = min(-(-batch.shape[1] * batch.shape[2] // _THREADS), _BLOCKS)
            self._module.launch("extremes", (blocks, 1, images), _THREADS, self._stream, job)

    def end(self) -> None:
        """Put into the stream that what the values reach comes back."""
        if self._floats:
            assert self._host is not None
            self._device.download(self._host, self._table, self._stream)

    def check(self) -> None:
        """Wait for the stream, and see that the values lie in their range.

        Raises:
            PscrError: INVALID_ARGUMENT.
        """
        self._stream.synchronize()
        if not self._floats:
            return
        assert self._host is not None
        assert self._patches is not None
        patches, first = self._patches, 2 * self._patches.shape[1]
        found = self._host[first : first + _NOTHING.size * len(patches)].reshape(-1, _NOTHING.size)
        lows, highs = (np.where(found[:, 2], np.nan, _floats(found[:, place])) for place in (0, 1))
        patches.batch.check(lows, highs)

    def forget(self) -> None:
        """Let go of the images; nothing reads them any more."""
        self._patches = self._kept = None

    def free(self) -> None:
        """Give everything back; none of it is in use."""
        self._drop_table()
        self._module.free()

    @property
    def _floats(self) -> bool:
        return self._patches is not None and self._patches.batch.dtype != np.uint8

    def _drop_table(self) -> None:
        if self._table is not None:
            self._table.free()
        if self._host is not None:
            self._device.free_pinned(self._host)
        self._table = self._host = None


def _floats(ordered: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The floats of pixels.cu's unsigned numbers of the same order."""
    bits = np.where(ordered & np.uint32(1 << 31), ordered & np.uint32((1 << 31) - 1), ~ordered)
    return np.ascontiguousarray(bits.astype(np.uint32)).view(np.float32)
