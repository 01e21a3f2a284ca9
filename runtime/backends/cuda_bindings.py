"""What `cuda` uses of PyCUDA's driver interface, over cuda-bindings, which installs without a compiler.

The names and arguments are those of `pycuda.driver`, so that either of the two can stand behind `cuda`. The only module
that uses cuda.bindings; its graphs and kernels serve PyCUDA's streams too, by their handles.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..libraries import load

_NO_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING


class Error(Exception):
    """A call of the driver failed: pycuda.driver.Error."""


class MemoryError(Error):  # PyCUDA's name
    """It failed for want of memory: pycuda.driver.MemoryError."""


class Driver:
    """`pycuda.driver`, as far as it is used here."""

    Error, MemoryError = Error, MemoryError

    def __init__(self) -> None:
        """Load the bindings.

        Raises:
            PscrError: DEVICE_UNAVAILABLE where they are not installed.
        """
        self.api: Any = load("cuda.bindings.driver")

    def call(self, name: str, *arguments: Any) -> Any:
        """What a function of the driver gives besides its code.

        Raises:
            Error: it failed, or there is no driver.
        """
        try:
            code, *found = getattr(self.api, name)(*arguments)
        except (RuntimeError, OSError, ImportError) as error:  # whichever the bindings raise without a driver
            raise Error(f"{name}: {error}") from error
        if int(code):
            kind = MemoryError if int(code) == _NO_MEMORY else Error
            raise kind(f"{name} failed: {getattr(code, 'name', code)}")
        return found[0] if found else None

    def init(self) -> None:
        self.call("cuInit", 0)

    def device_count(self) -> int:
        return int(self.call("cuDeviceGetCount"))

    def primary_context(self, index: int) -> Context:
        device = self.call("cuDeviceGet", index)
        return Context(self, device, self.call("cuDevicePrimaryCtxRetain", device))

    def stream(self) -> Stream:
        return Stream(self)

    def event(self) -> Event:
        return Event(self)

    def drop(self, made: Any) -> None:
        made.free()

    def mem_alloc(self, size: int) -> Memory:
        return Memory(self, size)

    def pagelocked_empty(self, count: int, kind: type[np.generic]) -> NDArray[Any]:
        return np.asarray(_Pinned(self, count, np.dtype(kind)))

    def memcpy_htod_async(self, target: Any, source: NDArray[Any], stream: Any) -> None:
        self.call("cuMemcpyHtoDAsync", int(target), source.ctypes.data, source.nbytes, stream.handle)

    def memcpy_dtoh_async(self, target: NDArray[Any], source: Any, stream: Any) -> None:
        self.call("cuMemcpyDtoHAsync", target.ctypes.data, int(source), target.nbytes, stream.handle)


class Context:
    """A device's primary context."""

    def __init__(self, driver: Driver, device: Any, handle: Any) -> None:
        self._driver, self._device, self._handle = driver, device, handle

    def push(self) -> None:
        self._driver.call("cuCtxPushCurrent", self._handle)

    def pop(self) -> None:
        self._driver.call("cuCtxPopCurrent")

    def detach(self) -> None:
        """Give it back; it is current, and is no more."""
        self.pop()
        self._driver.call("cuDevicePrimaryCtxRelease", self._device)


class _Owned:
    """Something of the driver's with a handle, which `free`, or the end of the object, gives back once."""

    def __init__(self, driver: Driver, handle: Any, back: str) -> None:
        self._driver, self.handle, self._back = driver, handle, back

    def free(self) -> None:
        back, self._back = self._back, ""
        if back:
            self._driver.call(back, self.handle)


class Memory(_Owned):
    """Device memory."""

    def __init__(self, driver: Driver, size: int) -> None:
        super().__init__(driver, driver.call("cuMemAlloc", size), "cuMemFree")

    def __int__(self) -> int:
        return int(self.handle)


class Stream(_Owned):
    """A stream that does not wait for the legacy default stream, nor makes it wait."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver, int(driver.call("cuStreamCreate", _NON_BLOCKING)), "cuStreamDestroy")

    def synchronize(self) -> None:
        self._driver.call("cuStreamSynchronize", self.handle)

    def wait_for_event(self, event: Any) -> None:
        self._driver.call("cuStreamWaitEvent", self.handle, event.handle, 0)


class Event(_Owned):
    """A place in a stream's work."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver, int(driver.call("cuEventCreate", _NO_TIMING)), "cuEventDestroy")

    def record(self, stream: Any) -> None:
        self._driver.call("cuEventRecord", self.handle, stream.handle)


class Module(_Owned):
    """Kernels, as PTX, which the driver compiles for its GPU."""

    def __init__(self, driver: Driver, ptx: bytes) -> None:
        super().__init__(driver, driver.call("cuModuleLoadData", ptx + b"\0"), "cuModuleUnload")

    def launch(self, name: str, grid: tuple[int, int, int], threads: int, stream: Any, job: ctypes.Structure) -> None:
        """Put a kernel of one argument, a structure, into a stream; its values are taken at once.

        Raises:
            Error.
        """
        function = self._driver.call("cuModuleGetFunction", self.handle, name.encode())
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(job))
        where = (*grid, threads, 1, 1, 0, stream.handle)
        self._driver.call("cuLaunchKernel", function, *where, ctypes.addressof(arguments), 0)


def wait_for(driver: Driver, other: int, stream: Any) -> None:
    """Have a stream wait for the work that another one has now, by its handle: 1 for the legacy default stream.

    Raises:
        Error.
    """
    event = Event(driver)
    try:
        driver.call("cuEventRecord", event.handle, other)
        driver.call("cuStreamWaitEvent", stream.handle, event.handle, 0)
    finally:
        event.free()  # the driver keeps it until it is reached


class _Pinned(_Owned):
    """Page-locked host memory, of which NumPy makes an array without a copy."""

    def __init__(self, driver: Driver, count: int, kind: np.dtype[Any]) -> None:
        address = int(driver.call("cuMemHostAlloc", max(count * kind.itemsize, 1), 0))
        super().__init__(driver, address, "cuMemFreeHost")
        self.__array_interface__ = {"version": 3, "shape": (count,), "typestr": kind.str, "data": (address, False)}


class Graph:
    """A captured piece of a stream's work, replayed with one call."""

    def __init__(self, driver: Driver, executable: Any, stream: Any) -> None:
        self._driver, self._executable, self._stream = driver, executable, stream

    def launch(self) -> None:
        """Put the recorded work into its stream.

        Raises:
            Error.
        """
        self._driver.call("cuGraphLaunch", self._executable, self._stream.handle)

    def free(self) -> None:
        """Destroy the graph, which must not be running."""
        self._driver.call("cuGraphExecDestroy", self._executable)


def capture(driver: Driver, stream: Any, work: Callable[[], object]) -> Graph | None:
    """Record what `work` puts into a stream, without running it; None where that is not possible here.

    The capture is ended whatever `work` raises, which is raised further unless it is the driver's or the engine's "no".
    """
    # Other threads' CUDA calls stay allowed, such as another library's allocations.
    mode = driver.api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    try:
        driver.call("cuStreamBeginCapture", stream.handle, mode)
    except Error:
        return None
    recorded = False
    try:
        work()
        recorded = True
    finally:
        graph = _ended(driver, stream)
        if graph is not None and not recorded:
            driver.call("cuGraphDestroy", graph)
    if graph is None:
        return None
    try:
        return Graph(driver, driver.call("cuGraphInstantiate", graph, 0), stream)
    except Error:
        return None
    finally:
        driver.call("cuGraphDestroy", graph)


def _ended(driver: Driver, stream: Any) -> Any:
    """The graph of a capture that is ended; None where it was spoilt."""
    try:
        return driver.call("cuStreamEndCapture", stream.handle)
    except Error:
        return None
