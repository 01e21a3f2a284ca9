"""PyCUDA as `cuda` uses it, where it is installed. The only module that uses it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..libraries import load

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING


class Driver:
    """`pycuda.driver` under the few names that differ by how things are made; see `cuda_bindings.Driver`."""

    def __init__(self) -> None:
        """Load PyCUDA.

        Raises:
            PscrError: DEVICE_UNAVAILABLE where it is not installed, or there is no NVIDIA driver.
        """
        self._cuda: Any = load("pycuda.driver")
        self.Error, self.MemoryError = self._cuda.Error, self._cuda.MemoryError
        self.init, self.mem_alloc = self._cuda.init, self._cuda.mem_alloc
        self.memcpy_htod_async, self.memcpy_dtoh_async = self._cuda.memcpy_htod_async, self._cuda.memcpy_dtoh_async

    def device_count(self) -> int:
        return int(self._cuda.Device.count())

    def primary_context(self, index: int) -> Any:
        return self._cuda.Device(index).retain_primary_context()

    def stream(self) -> Any:
        return self._cuda.Stream(_NON_BLOCKING)

    def event(self) -> Any:
        return self._cuda.Event(_NO_TIMING)

    def drop(self, made: Any) -> None:
        """Streams and events go with their last reference."""

    def pagelocked_empty(self, count: int, kind: type[np.generic]) -> NDArray[Any]:
        array: NDArray[Any] = self._cuda.pagelocked_empty(count, kind)
        return array
