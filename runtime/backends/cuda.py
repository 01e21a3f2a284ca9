"""CUDA: the device's primary context, pinned and device memory, streams, events, captured graphs.

PyCUDA stands behind it where it is installed, else cuda-bindings, which installs without a compiler; graphs are always
captured, and kernels launched, by cuda-bindings, since PyCUDA cannot do the one, nor know other libraries' streams.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import PscrError, Status, one_line
from . import cuda_bindings, cuda_pycuda
from .cuda_bindings import Graph, Module

_contexts: dict[int, Any] = {}
_lock = threading.Lock()


def in_use() -> str:
    """The package that stands behind this module here; "" where neither is installed."""
    for package, module in (("pycuda", "pycuda"), ("cuda-bindings", "cuda.bindings")):
        with contextlib.suppress(ImportError, ValueError):  # a parent package that is not there, or is no package
            if find_spec(module):
                return package
    return ""


class Device:
    """One GPU, through the primary context that torch, CuPy and the CUDA runtime use as well.

    What is made is bound to a context that must be current in the thread that uses or frees it: every other method is
    called within `with device.current()`, which any thread may enter. The context is taken once for each GPU and kept
    until the process ends: PyCUDA can give a primary context back only from the thread that took it.
    """

    def __init__(self, index: int) -> None:
        """Take the primary context of GPU `index`.

        Raises:
            PscrError: DEVICE_UNAVAILABLE: neither library is installed, there is no driver, or no such GPU.
        """
        self._driver: Any = cuda_pycuda.Driver() if in_use() == "pycuda" else cuda_bindings.Driver()
        self.index = index
        with _lock, self._said("cannot be opened"):
            if index not in _contexts:
                self._driver.init()
                count = self._driver.device_count()
                if index >= count:
                    raise PscrError(
                        Status.DEVICE_UNAVAILABLE, f"GPU {index} is not there; this machine has {count}, from 0"
                    )
                _contexts[index] = self._driver.primary_context(index)
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
        array: NDArray[Any] = self._driver.pagelocked_empty(count, kind)
        return array

    def free_pinned(self, array: NDArray[Any]) -> None:
        """Give a page-locked array back; it must not be used any more."""
        array.base.free()  # type: ignore[union-attr]

    def memory(self, size: int) -> Any:
        """Device memory of `size` bytes; int() gives its address, `.free()` gives it back."""
        return self._driver.mem_alloc(size)

    def stream(self) -> Any:
        """A stream of its own, which other libraries' work on the default stream neither holds up nor waits for."""
        return self._driver.stream()

    def event(self) -> Any:
        """What `.record(stream)` marks and `stream.wait_for_event` waits for."""
        return self._driver.event()

    def drop(self, made: Any) -> None:
        """Give a stream or an event back."""
        self._driver.drop(made)

    def upload(self, target: Any, source: NDArray[Any], stream: Any) -> None:
        """Copy a pinned array to device memory, in the stream's order; the array must stay as it is until then."""
        self._driver.memcpy_htod_async(target, source, stream)

    def download(self, target: NDArray[Any], source: Any, stream: Any) -> None:
        """Copy device memory to a pinned array, in the stream's order."""
        self._driver.memcpy_dtoh_async(target, source, stream)

    def capture(self, stream: Any, work: Callable[[], object]) -> Graph | None:
        """Record what `work` puts into a stream, without running it; None where that is not possible here."""
        try:
            return cuda_bindings.capture(cuda_bindings.Driver(), stream, work)
        except (self._driver.Error, PscrError):
            return None

    def module(self, ptx: bytes) -> Module:
        """Kernels, to be launched in any stream; `.free()` gives them back.

        Raises:
            PscrError: DEVICE_UNAVAILABLE without cuda-bindings.
        """
        return Module(cuda_bindings.Driver(), ptx)

    def wait_for(self, other: int, stream: Any) -> None:
        """Have a stream wait for the work that another library's has now, by its handle (1 the default stream)."""
        cuda_bindings.wait_for(cuda_bindings.Driver(), other, stream)

    @contextlib.contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Give the driver's errors a status."""
        try:
            yield
        except (self._driver.MemoryError, cuda_bindings.MemoryError) as error:
            found = (
                f"GPU {self.index} has too little free memory ({one_line(error)}); free some, or use smaller batches"
            )
            raise PscrError(Status.OUT_OF_MEMORY, found) from error
        except (self._driver.Error, cuda_bindings.Error) as error:
            status = Status.DEVICE_UNAVAILABLE if what == "cannot be opened" else Status.INTERNAL
            advice = "see pscr doctor, or use cpu"
            raise PscrError(status, f"GPU {self.index} {what} ({one_line(error)}); {advice}") from error


@atexit.register
def _leave() -> None:
    """Give the primary contexts back before the driver goes; `tensorrt_backend` has closed its engines by now."""
    for context in _contexts.values():
        with contextlib.suppress(Exception):  # nobody is left who could be told
            context.push()
            context.detach()
    _contexts.clear()
