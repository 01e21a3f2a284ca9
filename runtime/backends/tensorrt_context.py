"""What TensorRT's two libraries do for `tensorrt_backend`: contexts, what they compute with, and what they say."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import output_file
from ..cache_folder import cache_folder
from ..errors import PscrError, Status
from ..libraries import load
from ..samplings import Pixels
from .cuda import Device, Graph

_MOST_WORDS = 8  # errors of the library that are kept
Shape = tuple[int, ...]


class Library:
    """One of the two libraries, with its runtime.

    tensorrt_rtx compiles kernels where it runs: what it has compiled for an engine is kept in a file below $PSCR_CACHE.
    """

    def __init__(self, name: str, plan_sha256: str) -> None:
        """Load it.

        Raises:
            PscrError: DEVICE_UNAVAILABLE.
        """
        self.trt = load(name)
        self.rtx = name == "tensorrt_rtx"
        self._said: deque[str] = deque(maxlen=_MOST_WORDS)
        self._logger = _collecting(self.trt, self._said)
        self._runtime: Any = self.trt.Runtime(self._logger)
        self._plan = plan_sha256
        self._cache: Any = None  # the library does not keep it alive by itself
        self._config: Any = None

    def __str__(self) -> str:
        return f"{self.trt.__name__} {self.trt.__version__}"

    def words(self) -> str:
        """What the library said last of what it could not do, all of it."""
        return "; ".join(self._said) or "no reason given"

    def deserialise(self, plan: bytes) -> Any:
        """The engine of a plan; None where the library refuses it."""
        return self._runtime.deserialize_cuda_engine(plan)

    def activations(self, engine: Any, profiles: list[int]) -> int:
        """Bytes that a context needs for the largest of these profiles."""
        return max(int(engine.get_device_memory_size_for_profile_v2(profile)) for profile in profiles)

    def context(self, engine: Any, profile: int, stream: Any, named: str) -> Any:
        """An execution context for a profile, that is to be given its memory.

        Raises:
            PscrError: OUT_OF_MEMORY, or ENGINE_INCOMPATIBLE, with the library's own words.
        """
        self._said.clear()
        given = self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.rtx:
            self._config = self._config or self._configured(engine, given)
            context = engine.create_execution_context(self._config)
        else:
            context = engine.create_execution_context(given)
        if context is None:
            words = self.words()
            memory = re.search("memory|alloc", words, re.IGNORECASE)
            status = Status.OUT_OF_MEMORY if memory else Status.ENGINE_INCOMPATIBLE
            advice = "free some of the GPU's memory" if memory else "see pscr doctor, or use cuda or cpu"
            raise PscrError(status, f"{named}: it cannot be run here ({words}); {advice}")
        if profile and not context.set_optimization_profile_async(profile, stream.handle):
            found = f"{named}: its profile {profile} is refused ({self.words()})"
            raise PscrError(Status.ENGINE_INCOMPATIBLE, f"{found}; build it again")
        stream.synchronize()
        return context

    def keep(self) -> None:
        """Write down what was compiled, where that can be written."""
        if self._cache is None:
            return
        with contextlib.suppress(OSError, RuntimeError):
            file = self._file()
            file.parent.mkdir(parents=True, exist_ok=True)
            output_file.write(file, bytes(self._cache.serialize()))

    def close(self) -> None:
        """Let go of the runtime; contexts and engines are gone."""
        self._config = self._cache = self._runtime = None

    def _configured(self, engine: Any, given: Any) -> Any:
        """How tensorrt_rtx makes contexts: it records graphs by itself, and compiles for the shapes that it meets."""
        trt, config = self.trt, engine.create_runtime_config()
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        config.set_execution_context_allocation_strategy(given)
        self._cache = config.create_runtime_cache()
        with contextlib.suppress(OSError, RuntimeError):  # there is none yet, or no home folder
            self._cache.deserialize(self._file().read_bytes())
        config.set_runtime_cache(self._cache)
        return config

    def _file(self) -> Path:
        return cache_folder("tensorrt_rtx", f"{self.trt.__version__}-{self._plan[:32]}.cache")


class Context:
    """An execution context that is bound to a slot's buffers, and the graph of its last shape."""

    def __init__(self, library_context: Any, device: Device, stream: Any, capturable: bool) -> None:
        self._context, self._device, self._stream = library_context, device, stream
        self._capturable = capturable
        self._graph: Graph | None = None
        self._shape: Shape = ()
        self._runs = 0

    def bind(self, addresses: Mapping[str, int], shapes: Mapping[str, Shape], memory: tuple[int, int]) -> bool:
        """Give every tensor its place for good, and the activations theirs; whether that was taken."""
        address, size = memory
        self._context.set_device_memory(address, size)
        good = all(self._context.set_tensor_address(name, address) for name, address in addresses.items())
        return good and all(self._context.set_input_shape(name, shape) for name, shape in shapes.items())

    def run(self, shape: Shape) -> bool:
        """Put a computation on `patches` of a shape into the stream; whether that was taken."""
        if shape != self._shape:
            self._drop_graph()
            if not self._context.set_input_shape("patches", shape):
                return False
            self._shape, self._runs = shape, 0
        self._runs += 1
        # The first run of a shape sets the context up; what it then does is the same every time, and can be recorded.
        if self._capturable and self._runs > 1 and self._graph is None:
            self._graph = self._device.capture(self._stream, self._enqueue)
            self._capturable = self._graph is not None
        if self._graph is not None:
            self._graph.launch()
            return True
        return self._enqueue()

    def free(self) -> None:
        """Let go of the context and its graph, neither of which may be running."""
        self._drop_graph()
        self._context = None

    def _enqueue(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream.handle))

    def _drop_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.free()


class Slot:
    """Pinned and device buffers for one part of a batch, the stream that copies them, and contexts bound to them."""

    def __init__(self, device: Device, compute: Any) -> None:
        self._device, self._compute = device, compute
        self.host: dict[str, NDArray[Any]] = {}
        self._memory: dict[str, Any] = {}
        self._contexts: dict[int, Context] = {}
        self._widths: Mapping[str, int] = {}
        self._stream: Any = None
        self._copied: Any = None
        self._computed: Any = None

    def allocate(self, images: int, pixels: int, widths: Mapping[str, int]) -> None:
        """Make the stream and the buffers. pixels: bytes of an image's patches. widths: numbers of its outputs."""
        self._widths = widths
        self._stream = self._device.stream()
        self._copied, self._computed = self._device.event(), self._device.event()
        kinds: dict[str, tuple[int, type[np.generic]]] = {"patches": (images * pixels, np.uint8)}
        kinds |= {name: (images * width, np.float32) for name, width in widths.items()}
        for name, (count, kind) in kinds.items():
            self.host[name] = self._device.pinned(count, kind)
            self._memory[name] = self._device.memory(count * np.dtype(kind).itemsize)

    def bind(
        self,
        profile: int,
        context: Any,
        constants: Mapping[str, int],
        shapes: Mapping[str, Shape],
        memory: tuple[int, int],
        *,
        capturable: bool,
    ) -> None:
        """Take a context for a profile.

        constants: their addresses, and `shapes`. memory: of the activations, address and bytes. capturable: whether we
        may record its work, which the library does not do by itself.

        Raises:
            PscrError: INTERNAL.
        """
        made = self._contexts[profile] = Context(context, self._device, self._compute, capturable)
        buffers = {name: int(memory) for name, memory in self._memory.items()}
        if not made.bind({**constants, **buffers}, shapes, memory):
            raise PscrError(Status.INTERNAL, "an engine's tensors cannot be bound; build it again")

    def upload(self, images: Pixels | list[Pixels]) -> None:
        """Put into the streams that the next computation is on the patches of these images, [P,S,S,3] each."""
        size = images[0].size
        staged = self.host["patches"][: len(images) * size]
        for place, patches in zip(staged.reshape(-1, *images[0].shape), images, strict=True):
            place[...] = patches
        self._device.upload(self._memory["patches"], staged, self._stream)
        self._copied.record(self._stream)
        self._compute.wait_for_event(self._copied)

    @property
    def patches(self) -> int:
        """The address that patches are computed from, for who makes them there in the order of the computing stream."""
        return int(self._memory["patches"])

    def compute(self, profile: int, shape: Shape, images: int, names: tuple[str, ...]) -> bool:
        """Put the computation on the patches, and what comes back, into the streams; whether the engine took it.

        shape: that the engine is given. images: how many of its images count. names: the outputs that are copied back.
        """
        device, stream = self._device, self._stream
        if not self._contexts[profile].run(shape):
            return False
        self._computed.record(self._compute)
        stream.wait_for_event(self._computed)
        for name in names:
            device.download(self.host[name][: images * self._widths[name]], self._memory[name], stream)
        return True

    def settle(self) -> None:
        """Wait until nothing uses the buffers."""
        self._stream.synchronize()

    def free(self) -> None:
        """Give everything back; called once, also after making it has failed half-way."""
        for stream in (self._stream, self._compute):
            with contextlib.suppress(Exception):  # of a GPU that failed
                stream.synchronize()
        for context in self._contexts.values():
            context.free()  # before the memory that it is bound to
        self._contexts.clear()
        for array in self.host.values():
            self._device.free_pinned(array)
        for memory in self._memory.values():
            memory.free()
        self.host, self._memory = {}, {}
        for made in filter(None, (self._copied, self._computed, self._stream)):
            self._device.drop(made)


def _collecting(trt: Any, said: deque[str]) -> Any:
    """A logger that keeps the library's errors, for our own messages, and prints nothing.

    It may be called by any of the library's threads, while others wait for Python: it takes no lock and logs nothing.
    """

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                said.append(" ".join(message.split())[:300])

    return Logger()
