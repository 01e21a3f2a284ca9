"""CUDA by way of PyCUDA: the device's primary context, pinned and device memory, streams, captured graphs.

The only module that uses pycuda, and cuda.bindings, which captures: PyCUDA cannot; a stream's handle serves both.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PscrError, Status, one_line
from ..libraries import load

_contexts: dict[int, Any] = {}
_lock = threading.Lock()


class Device:
    """One GPU, through the primary context that torch, CuPy and the CUDA runtime use as well.

    PyCUDA binds what it makes to a context that must be current in the thread that uses or frees it: every other
    method is called within `with device.current()`, which any thread may enter. The context is taken once for each
    GPU and kept until the process ends: PyCUDA can give a primary context back only from the thread that took it.
    """

    def __init__(self, index: int) -> None:
        """Take the primary context of GPU `index`.

        Raises:
            PscrError: DEVICE_UNAVAILABLE: PyCUDA is not installed, there is no driver, or no such GPU.
        """
        self._cuda: Any = load("pycuda.driver")
        self.index = index
        with _lock, self._said("cannot be opened"):
            if index not in _contexts:
                self._cuda.init()
                count = self._cuda.Device.count()
                if index >= count:
                    raise PscrError(
                        Status.DEVICE_UNAVAILABLE, f"GPU {index} is not there; this machine has {count}, from 0"
                    )
                _contexts[index] = self._cuda.Device(index).retain_primary_context()
            self._context = _contexts[index]

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make the context current in this thread; what was current before is current again afterwards."""
        with self._said("failed"):
            self._context.push()
            try:
                yield
            finally:
                self._context.pop()

    def pinned(self, count: int, kind: type[np.generic]) -> NDArray[Any]:
        """A page-locked host array of `count` elements; `free_pinned` gives it back."""
        array: NDArray[Any] = self._cuda.pagelocked_empty(count, kind)
        return array

    def free_pinned(self, array: NDArray[Any]) -> None:
        """Give a page-locked array back; it must not be used any more."""
        array.base.free()  # type: ignore[union-attr]

    def memory(self, size: int) -> Any:
        """Device memory of `size` bytes; int() gives its address, `.free()` gives it back."""
        return self._cuda.mem_alloc(size)

    def stream(self) -> Any:
        """A stream of its own; it lives as long as the object."""
        return self._cuda.Stream()

    def upload(self, target: Any, source: NDArray[Any], stream: Any) -> None:
        """Copy a pinned array to device memory, in the stream's order; the array must stay as it is until then."""
        self._cuda.memcpy_htod_async(target, source, stream)

    def download(self, target: NDArray[Any], source: Any, stream: Any) -> None:
        """Copy device memory to a pinned array, in the stream's order."""
        self._cuda.memcpy_dtoh_async(target, source, stream)

    def capture(self, stream: Any, work: Callable[[], None]) -> Graph | None:
        """Record what `work` puts into a stream, without running it; None where that is not possible here."""
        try:
            driver = import_module("cuda.bindings.driver")
        except ImportError:
            return None
        handle = driver.CUstream(stream.handle)
        # Other threads' CUDA calls stay allowed, such as another library's allocations.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        if driver.cuStreamBeginCapture(handle, mode)[0]:
            return None
        try:
            work()
        except (self._cuda.Error, PscrError):
            recorded = False
        else:
            recorded = True
        code, graph = driver.cuStreamEndCapture(handle)
        if code or not recorded:
            if not code:
                driver.cuGraphDestroy(graph)
            return None
        code, executable = driver.cuGraphInstantiate(graph, 0)
        driver.cuGraphDestroy(graph)
        return None if code else Graph(driver, executable, handle)

    @contextlib.contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Give PyCUDA's errors a status."""
        try:
            yield
        except self._cuda.MemoryError as error:
            found = (
                f"GPU {self.index} has too little free memory ({one_line(error)}); free some, or use smaller batches"
            )
            raise PscrError(Status.OUT_OF_MEMORY, found) from error
        except self._cuda.Error as error:
            status = Status.DEVICE_UNAVAILABLE if what == "cannot be opened" else Status.INTERNAL
            advice = "see pscr doctor, or use cpu"
            raise PscrError(status, f"GPU {self.index} {what} ({one_line(error)}); {advice}") from error


class Graph:
    """A captured piece of a stream's work, replayed with one call."""

    def __init__(self, driver: Any, executable: Any, stream: Any) -> None:
        self._driver, self._executable, self._stream = driver, executable, stream

    def launch(self) -> None:
        """Put the recorded work into its stream.

        Raises:
            PscrError: INTERNAL.
        """
        (code,) = self._driver.cuGraphLaunch(self._executable, self._stream)
        if code:
            raise PscrError(Status.INTERNAL, f"a CUDA graph could not be launched ({code}); open the model again")

    def free(self) -> None:
        """Destroy the graph, which must not be running."""
        self._driver.cuGraphExecDestroy(self._executable)


@atexit.register
def _leave() -> None:
    """Give the primary contexts back before the driver goes; `tensorrt_backend` has closed its engines by now."""
    for context in _contexts.values():
        with contextlib.suppress(Exception):  # nobody is left who could be told
            context.push()
            context.detach()
    _contexts.clear()
