"""A stand-in for TensorRT on the machine of `cuda_stand_in`, and what puts all stand-ins in the libraries' places.

A plan is the bytes of an ONNX score graph, which onnxruntime runs when its stream is waited for.
"""

from __future__ import annotations

import sys
import weakref
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from cuda_stand_in import StandIn, bindings, driver

from pscr.runtime.backends import cuda


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
            self.engine, self.config, self.profile, self.activations = engine, config, 0, 0
            self.address: dict[str, int] = {}
            self.shape: dict[str, tuple[int, ...]] = {}

        def set_tensor_address(self, tensor: str, address: int) -> bool:
            self.address[tensor] = address
            return address in machine.live

        def set_optimization_profile_async(self, profile: int, handle: int) -> bool:
            self.profile = profile
            return True

        def set_device_memory(self, address: int, size: int) -> None:
            assert size <= len(machine.live[address].data)
            self.activations = address

        def set_input_shape(self, tensor: str, shape: tuple[int, ...]) -> bool:
            low, _, high = self.engine.get_tensor_profile_shape(tensor, self.profile)
            self.shape[tensor] = tuple(shape)
            return all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))

        def execute_async_v3(self, handle: int) -> bool:
            number = next(machine.runs)
            machine.events.append("run")
            shape = dict(self.shape)
            machine.shapes.append((self.profile, shape["patches"][0]))

            def work() -> None:
                machine.computed.append((handle, self.activations))
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
            if profile:
                images, patches = machine.static[profile - 1]
                return [(images, patches, *shape[2:]) if tensor == "patches" else (5, *shape[1:])] * 3
            if tensor == "patches":
                return [(n, p, *shape[2:]) for n, p in zip(machine.profile, (1, 9, machine.patches), strict=True)]
            return [(k, *shape[1:]) for k in (1, 5, 20)]

        def get_tensor_shape(self, tensor: str) -> tuple[int, ...]:
            shape = next(entry.shape for entry in self.tensors if entry.name == tensor)
            return tuple(side if isinstance(side, int) else -1 for side in shape)

        @property
        def num_optimization_profiles(self) -> int:
            return 1 + len(machine.static)

        def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
            return 1000 + profile

        def create_runtime_config(self) -> Any:
            return RuntimeConfig()

        def create_execution_context(self, config: Any = None) -> ExecutionContext | None:
            assert config == "user managed" or config.allocation == "user managed"
            if not machine.makes_contexts:
                for words in ("Error Code 2: OutOfMemory", "no context"):
                    machine.logger.log(ILogger.Severity.ERROR, words)
                return None
            return ExecutionContext(self, config)

    class RuntimeCache:
        def __init__(self) -> None:
            self.data = b"compiled"

        def serialize(self) -> bytes:
            return self.data

        def deserialize(self, data: bytes) -> bool:
            machine.events.append(f"cache {data.decode()}")
            return True

    class RuntimeConfig:
        cuda_graph_strategy = dynamic_shapes_kernel_specialization_strategy = allocation = None

        def set_execution_context_allocation_strategy(self, strategy: str) -> None:
            self.allocation = strategy

        def create_runtime_cache(self) -> RuntimeCache:
            made = RuntimeCache()
            machine.cache = weakref.ref(made)
            return made

        def set_runtime_cache(self, cache: RuntimeCache) -> bool:
            return True  # as the library does, it does not keep it alive

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = machine.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> CudaEngine | None:
            machine.check_current()
            if not machine.deserialises:
                self.logger.log(ILogger.Severity.ERROR, "the version tag does\nnot match")
                return None
            return CudaEngine(plan)

    module.ILogger, module.Runtime = ILogger, Runtime
    module.DataType = SimpleNamespace(UINT8="uint8")
    module.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    module.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")
    module.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")
    return module


def install(machine: StandIn, monkeypatch: pytest.MonkeyPatch, *, pycuda: bool = True) -> None:
    """Put the stand-ins where the libraries would be imported from; with PyCUDA, or without."""
    there = {"pycuda": ModuleType("pycuda"), "pycuda.driver": driver(machine)} if pycuda else {}
    modules = {
        **there,
        "cuda": ModuleType("cuda"),
        "cuda.bindings": ModuleType("cuda.bindings"),
        "cuda.bindings.driver": bindings(machine),
        "tensorrt": tensorrt(machine),
        "tensorrt_rtx": tensorrt(machine, "tensorrt_rtx"),
    }
    for name, module in modules.items():
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(cuda, "_contexts", {})
