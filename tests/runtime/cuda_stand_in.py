"""A recording stand-in for PyCUDA, cuda.bindings and TensorRT: order and ownership only, no GPU and no proof of one.

Device memory is host memory, a stream is a list of work that is done when it is waited for, and an "engine" is an ONNX
graph that onnxruntime runs. So what is copied too late, used after it was freed, freed twice or used without the
context being current shows, as it would on a GPU. Everything is written down in `events`.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from pscr.runtime.backends import cuda

PROFILE = {"patches": 0, "bank_terms": 1}


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
        self.graphs = 0
        self.fail_allocation = self.fail_run = -1
        self.capture_works = True
        self.deserialises = True
        self.profile = (1, best, most)
        self.gpus = gpus
        self.numbers = itertools.count(1)
        self.allocations = itertools.count()
        self.runs = itertools.count()
        self.stack = threading.local()

    @property
    def depth(self) -> int:
        """How many contexts are pushed in this thread."""
        return len(getattr(self.stack, "items", []))

    def check_current(self) -> None:
        if not self.depth:
            raise CudaError("invalid device context")

    def allocate(self, kind: str) -> int:
        self.check_current()
        if next(self.allocations) == self.fail_allocation:
            raise OutOfMemoryError("out of memory")
        self.events.append(f"allocate {kind}")
        return next(self.numbers) * 4096


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
    def __init__(self, machine: StandIn) -> None:
        machine.check_current()
        self.machine, self.handle = machine, next(machine.numbers)
        self.waiting: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None
        machine.streams[self.handle] = self

    def add(self, work: Callable[[], None]) -> None:
        self.machine.check_current()
        (self.waiting if self.captured is None else self.captured).append(work)

    def synchronize(self) -> None:
        self.machine.check_current()
        work, self.waiting = self.waiting, []
        for step in work:
            step()


def driver(machine: StandIn) -> ModuleType:
    """pycuda.driver."""
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
    module.Stream = lambda: Stream(machine)
    module.mem_alloc = lambda size: Memory(machine, size)
    module.pagelocked_empty = lambda count, kind: np.asarray(Pinned(machine, count, kind))
    module.memcpy_htod_async, module.memcpy_dtoh_async = htod, dtoh
    return module


def bindings(machine: StandIn) -> ModuleType:
    """cuda.bindings.driver."""
    module: Any = ModuleType("cuda.bindings.driver")
    module.CUstream = int
    module.CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)

    def begin(handle: int, mode: int) -> tuple[int]:
        if not machine.capture_works:
            return (900,)
        machine.events.append("capture")
        machine.streams[handle].captured = []
        return (0,)

    def end(handle: int) -> tuple[int, Any]:
        stream = machine.streams[handle]
        work, stream.captured = stream.captured, None
        return 0, work

    def instantiate(graph: Any, flags: int) -> tuple[int, Any]:
        machine.graphs += 1
        return 0, list(graph)

    def launch(executable: Any, handle: int) -> tuple[int]:
        machine.events.append("launch")
        machine.streams[handle].waiting += executable
        return (0,)

    def destroy(executable: Any) -> tuple[int]:
        machine.graphs -= 1
        return (0,)

    module.cuStreamBeginCapture, module.cuStreamEndCapture = begin, end
    module.cuGraphInstantiate, module.cuGraphLaunch = instantiate, launch
    module.cuGraphDestroy, module.cuGraphExecDestroy = (lambda graph: (0,)), destroy
    return module


def tensorrt(machine: StandIn, name: str = "tensorrt") -> ModuleType:
    """tensorrt, or tensorrt_rtx; a plan is the bytes of an ONNX score graph."""
    module: Any = ModuleType(name)
    module.__version__ = "10.9.8"
    kinds = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}

    class ILogger:
        Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    class ExecutionContext:
        def __init__(self, engine: Any, config: Any = None) -> None:
            machine.check_current()
            self.engine, self.config = engine, config
            self.address: dict[str, int] = {}
            self.shape: dict[str, tuple[int, ...]] = {}

        def set_tensor_address(self, tensor: str, address: int) -> bool:
            self.address[tensor] = address
            return address in machine.live

        def set_input_shape(self, tensor: str, shape: tuple[int, ...]) -> bool:
            self.shape[tensor] = tuple(shape)
            return True

        def execute_async_v3(self, handle: int) -> bool:
            number = next(machine.runs)
            machine.events.append("run")
            shape = dict(self.shape)

            def work() -> None:
                feed = {
                    key: machine.live[self.address[key]]
                    .data[: np.prod(shape[key]) * (1 if key == "patches" else 4)]
                    .view(np.uint8 if key == "patches" else np.float32)
                    .reshape(shape[key])
                    for key in shape
                }
                outputs = self.engine.session.run(["score", "votes", "terms"], feed)
                for key, value in zip(("score", "votes", "terms"), outputs, strict=True):
                    machine.live[self.address[key]].data[: value.nbytes] = value.reshape(-1).view(np.uint8)

            machine.streams[handle].add(work)
            return number != machine.fail_run

    class CudaEngine:
        def __init__(self, plan: bytes) -> None:
            self.session = onnxruntime.InferenceSession(plan, providers=["CPUExecutionProvider"])
            self.tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
            self.num_io_tensors = len(self.tensors)

        def get_tensor_name(self, index: int) -> str:
            return str(self.tensors[index].name)

        def get_tensor_dtype(self, tensor: str) -> str:
            return next(kinds[entry.type] for entry in self.tensors if entry.name == tensor)

        def get_tensor_profile_shape(self, tensor: str, profile: int) -> list[tuple[int, ...]]:
            shape = next(entry.shape for entry in self.tensors if entry.name == tensor)
            if tensor == "patches":
                return [(n, p, *shape[2:]) for n, p in zip(machine.profile, (1, 9, 9), strict=True)]
            return [(k, *shape[1:]) for k in (1, 5, 20)]

        def get_tensor_shape(self, tensor: str) -> tuple[int, ...]:
            shape = next(entry.shape for entry in self.tensors if entry.name == tensor)
            return tuple(side if isinstance(side, int) else -1 for side in shape)

        def create_runtime_config(self) -> Any:
            return SimpleNamespace(cuda_graph_strategy=None)

        def create_execution_context(self, config: Any = None) -> ExecutionContext:
            return ExecutionContext(self, config)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> CudaEngine | None:
            machine.check_current()
            if not machine.deserialises:
                self.logger.log(ILogger.Severity.ERROR, "the version tag does\nnot match")
                return None
            return CudaEngine(plan)

    module.ILogger, module.Runtime = ILogger, Runtime
    module.DataType = SimpleNamespace(UINT8="uint8")
    module.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    return module


def install(machine: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-ins where the libraries would be imported from."""
    package = ModuleType("pycuda")
    modules = {
        "pycuda": package,
        "pycuda.driver": driver(machine),
        "cuda": ModuleType("cuda"),
        "cuda.bindings": ModuleType("cuda.bindings"),
        "cuda.bindings.driver": bindings(machine),
        "tensorrt": tensorrt(machine),
        "tensorrt_rtx": tensorrt(machine, "tensorrt_rtx"),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(cuda, "_contexts", {})
