"""A recording stand-in for PyCUDA and cuda.bindings: order and ownership only, no GPU and no proof of one.

Device memory is host memory, and a stream is a list of work that is done when it is waited for. So what is copied too
late, used after it was freed, freed twice or used without the context being current shows, as it would on a GPU.
Kernels are pixels.cu's own, compiled for this machine. Everything is written down in `events`.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import shutil
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pscr.runtime.backends import cuda_pixels


@functools.cache
def kernels() -> ctypes.CDLL:
    """The kernels of pixels.cu as functions of this machine, which the C compiler makes of the same source."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler, with which the kernels run without a GPU")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "pixels.so"
        source = cuda_pixels.PTX.with_suffix(".cu")
        command = [compiler, "-x", "c", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-o", library, source, "-lm"]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(library))


class CudaError(Exception):
    """pycuda.driver.Error."""


class OutOfMemoryError(CudaError):
    """pycuda.driver.MemoryError."""


class StandIn:
    """The whole machine. fail_allocation: the number of the allocation that fails; fail_run: of the run that does."""

    def __init__(self, most: int = 8, best: int = 2, gpus: int = 2) -> None:
        self.events: list[str] = []
        self.live: dict[int, Memory] = {}
        self.pinned: dict[int, Pinned] = {}
        self.streams: dict[int, Stream] = {}
        self.marks: dict[int, Event] = {}
        self.graphs = self.modules = 0
        self.fail_allocation = self.fail_run = -1
        self.capture_works = True
        self.capturing = 0
        self.makes_contexts = True
        self.patches = 9  # of an image, at most
        self.static: list[tuple[int, int]] = []  # images and patches of further profiles
        self.deserialises = True
        self.profile = (1, best, most)
        self.gpus = gpus
        self.numbers = itertools.count(16)  # 1 and 2 are streams that are always there
        self.allocations = itertools.count()
        self.runs = itertools.count()
        self.stack = threading.local()
        self.logger: Any = None
        self.cache: Any = None
        self.shapes: list[tuple[int, int]] = []  # profile and images of each run
        self.computed: list[tuple[int, int]] = []  # stream and activations of each

    @property
    def depth(self) -> int:
        """How many contexts are pushed in this thread."""
        return len(getattr(self.stack, "items", []))

    def check_current(self) -> None:
        if not self.depth:
            raise CudaError("invalid device context")

    def real(self, address: int) -> int:
        """Where an address in the device's memory is on this machine; of what is not the device's, as it is."""
        base = address >> 48 << 48
        return self.live[base].data.ctypes.data + address - base if base in self.live else address

    def allocate(self, kind: str) -> int:
        self.check_current()
        if next(self.allocations) == self.fail_allocation:
            raise OutOfMemoryError("out of memory")
        self.events.append(f"allocate {kind}")
        return next(self.numbers) << 48


class Context:
    def __init__(self, machine: StandIn) -> None:
        self.machine = machine

    def push(self) -> None:
        stack = self.machine.stack.__dict__.setdefault("items", [])
        stack.append(self)

    def pop(self) -> None:
        self.machine.stack.items.pop()

    def detach(self) -> None:
        self.machine.stack.items.pop()


class Memory:
    def __init__(self, machine: StandIn, size: int) -> None:
        self.machine, self.address = machine, machine.allocate("device")
        self.data = np.zeros(size, np.uint8)
        machine.live[self.address] = self

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        self.machine.check_current()
        del self.machine.live[self.address]  # KeyError where it is freed twice
        self.machine.events.append("free device")


class Pinned:
    def __init__(self, machine: StandIn, count: int, kind: Any) -> None:
        self.machine, self.address = machine, machine.allocate("pinned")
        self.data = np.full(count, 77, kind)
        self.__array_interface__ = self.data.__array_interface__
        machine.pinned[self.address] = self

    def free(self) -> None:
        self.machine.check_current()
        del self.machine.pinned[self.address]
        self.machine.events.append("free pinned")


class Stream:
    def __init__(self, machine: StandIn, flags: int = 0) -> None:
        machine.check_current()
        self.machine, self.handle = machine, next(machine.numbers)
        self.flags = flags
        self.waiting: deque[Callable[[], None]] = deque()
        self.captured: list[Callable[[], None]] | None = None
        machine.streams[self.handle] = self

    def add(self, work: Callable[[], None]) -> None:
        self.machine.check_current()
        (self.waiting if self.captured is None else self.captured).append(work)

    def wait_for_event(self, event: Event) -> None:
        place = event.place  # as it is recorded now
        self.add(lambda: place and place.reach())

    def synchronize(self) -> None:
        self.machine.check_current()
        self.machine.events.append("wait")
        self.run_until(lambda: False)

    def run_until(self, reached: Callable[[], bool]) -> None:
        while self.waiting and not reached():
            self.waiting.popleft()()


class Place:
    """Where an event was recorded in a stream's work."""

    def __init__(self, stream: Stream) -> None:
        self.stream, self.reached = stream, False
        stream.add(self.mark)

    def mark(self) -> None:
        self.reached = True

    def reach(self) -> None:
        self.stream.run_until(lambda: self.reached)


class Event:
    def __init__(self, machine: StandIn) -> None:
        machine.check_current()
        self.machine, self.handle = machine, next(machine.numbers)
        self.place: Place | None = None
        machine.marks[self.handle] = self

    def record(self, stream: Stream) -> None:
        self.place = Place(stream)


def driver(machine: StandIn) -> ModuleType:
    """pycuda.driver; its streams and events go with their last reference."""
    module: Any = ModuleType("pycuda.driver")

    def htod(target: Memory, source: np.ndarray, stream: Stream) -> None:
        machine.events.append(f"upload {source.nbytes}")

        def copy() -> None:
            assert int(target) in machine.live
            target.data[: source.nbytes] = source.reshape(-1).view(np.uint8)

        stream.add(copy)

    def dtoh(target: np.ndarray, source: Memory, stream: Stream) -> None:
        machine.events.append(f"download {target.nbytes}")

        def copy() -> None:
            assert int(source) in machine.live
            target.view(np.uint8)[...] = source.data[: target.nbytes]

        stream.add(copy)

    class Device:
        def __init__(self, index: int) -> None:
            self.index = index

        @staticmethod
        def count() -> int:
            return machine.gpus

        def retain_primary_context(self) -> Context:
            machine.events.append(f"retain {self.index}")
            return Context(machine)

    module.Error, module.MemoryError = CudaError, OutOfMemoryError
    module.init = lambda: None
    module.Device = Device
    module.Stream = lambda flags=0: Stream(machine, flags)
    module.Event = lambda flags=0: Event(machine)
    module.mem_alloc = lambda size: Memory(machine, size)
    module.pagelocked_empty = lambda count, kind: np.asarray(Pinned(machine, count, kind))
    module.memcpy_htod_async, module.memcpy_dtoh_async = htod, dtoh
    return module


def bindings(machine: StandIn) -> ModuleType:
    """cuda.bindings.driver: every function gives its code first, and takes handles or their numbers."""
    module: Any = ModuleType("cuda.bindings.driver")
    module.CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)

    def begin(handle: int, mode: int) -> tuple[int]:
        if not machine.capture_works:
            return (900,)
        machine.events.append("capture")
        machine.capturing += 1
        machine.streams[handle].captured = []
        return (0,)

    def end(handle: int) -> tuple[int, Any]:
        stream = machine.streams[handle]
        work, stream.captured = stream.captured, None
        machine.capturing -= 1
        return 0, work

    def instantiate(graph: Any, flags: int) -> tuple[int, Any]:
        machine.graphs += 1
        return 0, list(graph)

    def launch(executable: Any, handle: int) -> tuple[int]:
        machine.events.append("launch")
        machine.streams[handle].waiting.extend(executable)
        return (0,)

    def destroy(executable: Any) -> tuple[int]:
        machine.graphs -= 1
        return (0,)

    def code(work: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        """A function of the driver: its errors are codes."""

        def call(*arguments: Any) -> tuple[Any, ...]:
            try:
                found = work(*arguments)
            except OutOfMemoryError:
                return (2, None)
            except CudaError:
                return (201, None)
            return (0,) if found is None else (0, found)

        return call

    def host(size: int, flags: int) -> int:
        pinned = Pinned(machine, size, np.uint8)
        pinned.address = pinned.data.ctypes.data
        machine.pinned[pinned.address] = machine.pinned.pop(next(reversed(machine.pinned)))
        return pinned.address

    def copied(target: int, source: int, size: int, handle: int, kind: str) -> None:
        device, address = (target, source) if kind == "upload" else (source, target)
        machine.events.append(f"{kind} {size}")

        def copy() -> None:
            memory = machine.live[device].data[:size]
            there = np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)
            np.copyto(*((memory, there) if kind == "upload" else (there, memory)))

        machine.streams[handle].add(copy)

    def launched(function: Any, *arguments: Any) -> None:
        *grid, threads, _, _, _, handle, address, extra = arguments
        assert extra == 0
        assert threads <= 1024
        assert grid[1] < 65536
        assert grid[2] < 65536
        source = ctypes.cast(address, ctypes.POINTER(ctypes.c_void_p))[0]
        job = cuda_pixels.Job.from_buffer_copy(ctypes.string_at(source, ctypes.sizeof(cuda_pixels.Job)))  # as it is now
        machine.events.append(f"kernel {function.__name__}")

        def work() -> None:
            for name in ("source", "patches", "corners", "found"):
                setattr(job, name, machine.real(getattr(job, name)))
            function(ctypes.byref(job))

        machine.streams[handle].add(work)

    def loaded(ptx: bytes) -> int:
        assert ptx == cuda_pixels.PTX.read_bytes() + b"\0"
        machine.check_current()
        machine.modules += 1
        return machine.modules

    def unloaded(module: int) -> None:
        machine.modules -= 1

    def dropped(kept: dict[int, Any], handle: int) -> None:
        del kept[handle]  # KeyError where it is dropped twice

    def retained(index: int) -> Context:
        machine.events.append(f"retain {index}")
        return Context(machine)

    def popped() -> Context:
        return machine.stack.items.pop()  # type: ignore[no-any-return]

    module.cuInit = code(lambda flags: None)
    module.cuDeviceGetCount, module.cuDeviceGet = code(lambda: machine.gpus), code(lambda index: index)
    module.cuDevicePrimaryCtxRetain, module.cuDevicePrimaryCtxRelease = code(retained), code(lambda index: None)
    module.cuCtxPushCurrent, module.cuCtxPopCurrent = code(Context.push), code(popped)
    module.cuMemAlloc = code(lambda size: Memory(machine, size).address)
    module.cuMemFree = code(lambda address: machine.live[address].free())
    module.cuMemHostAlloc, module.cuMemFreeHost = code(host), code(lambda address: machine.pinned[address].free())
    module.cuStreamCreate = code(lambda flags: Stream(machine, flags).handle)
    module.cuStreamDestroy = code(lambda handle: dropped(machine.streams, handle))
    module.cuStreamSynchronize = code(lambda handle: machine.streams[handle].synchronize())
    module.cuStreamWaitEvent = code(
        lambda stream, event, _: machine.streams[stream].wait_for_event(machine.marks[event])
    )
    module.cuEventCreate = code(lambda flags: Event(machine).handle)
    module.cuEventDestroy = code(lambda handle: dropped(machine.marks, handle))
    module.cuEventRecord = code(lambda event, stream: machine.marks[event].record(machine.streams[stream]))
    module.cuMemcpyHtoDAsync = code(partial(copied, kind="upload"))
    module.cuMemcpyDtoHAsync = code(partial(copied, kind="download"))
    module.cuModuleLoadData, module.cuModuleUnload = code(loaded), code(unloaded)
    module.cuModuleGetFunction = code(lambda _, name: getattr(kernels(), name.decode()))
    module.cuLaunchKernel = code(launched)
    module.cuStreamBeginCapture, module.cuStreamEndCapture = begin, end
    module.cuGraphInstantiate, module.cuGraphLaunch = instantiate, launch
    module.cuGraphDestroy, module.cuGraphExecDestroy = (lambda graph: (0,)), destroy
    return module
