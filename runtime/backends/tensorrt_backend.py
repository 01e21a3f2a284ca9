"""Inference with TensorRT engines, of `tensorrt` and `tensorrt_rtx`; the only runtime module that uses them."""

from __future__ import annotations

import atexit
import contextlib
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines import EXTRAS, Engine
from ..errors import PscrError, Status
from ..families.head import Floats, Outputs, Signature
from ..libraries import load
from ..samplings import Pixels
from .base import Backend, Takes, check_constant
from .cuda import Device, Graph

SLOTS = 2  # one computes while the other's images are copied in

_open: weakref.WeakSet[TensorRTBackend] = weakref.WeakSet()


class TensorRTBackend(Backend):
    """A score engine on one GPU. All is allocated here, at the profile's largest shape; `infer` allocates nothing.

    A batch above the profile's best size is split over two streams, each with its own execution context and buffers, so
    that the copy of one part overlaps the computation of another.
    """

    def __init__(self, engine: Engine, signature: Signature, patch: int, *, index: int = 0) -> None:
        """Load an engine that `engines.choose` found to fit.

        Raises:
            PscrError: ENGINE_INCOMPATIBLE: the plan is damaged, cannot be deserialised, is no score engine, or the head
                is larger than its profile. MODEL_INVALID: the head is another model's. OUT_OF_MEMORY.
                DEVICE_UNAVAILABLE: no such GPU, or PyCUDA or the library is missing.
        """
        super().__init__(signature, patch)
        plan = engine.plan()
        self._named, self._rebuild = engine.path.name, engine.rebuild()
        self._rtx = engine.sidecar.library == "tensorrt_rtx"
        self._trt = load(engine.sidecar.library)
        self._device = Device(index)
        self._slots: list[_Slot] = []
        self._owned: list[Any] = []
        self._runtime: Any = None
        self._engine: Any = None
        try:
            with self._device.current():
                self._load(plan)
                shapes = self._check_signature()
                addresses = self._place_constants()
                self._slots = [_Slot(self, shapes) for _ in range(SLOTS)]
                for slot in self._slots:
                    slot.prepare(addresses)
        except BaseException:
            self.close()
            raise
        self.device = f"tensorrt:{index}"
        self.provider = f"{engine.sidecar.precision} engine {self._named}"
        self.library = f"{engine.sidecar.library} {engine.sidecar.library_version}"
        _open.add(self)

    def __del__(self) -> None:
        with contextlib.suppress(
            Exception
        ):  # one that never opened; or at the interpreter's end, which `_close_all` saw
            self.close()

    def infer_impl(self, patches: Pixels) -> Outputs:
        """See Backend."""
        found = self._run(patches, self._plain)
        return Outputs(found["score"], found.get("votes"))

    def terms_impl(self, patches: Pixels) -> Floats:
        """See Backend."""
        return self._run(patches, ("terms",))["terms"]

    def release(self) -> None:
        """See Backend. Any thread may call it."""
        _open.discard(self)
        with contextlib.suppress(PscrError), self._device.current():  # a GPU that failed cannot be asked to tidy up
            for slot in self._slots:
                slot.free()
            self._slots.clear()
            self._engine = self._runtime = None
            for memory in self._owned:
                memory.free()
            self._owned.clear()

    def _load(self, plan: bytes) -> None:
        trt = self._trt
        said: list[str] = []
        self._logger = _collecting(trt, said)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            reason = said[-1] if said else "no reason given"
            raise self._unfit(f"{trt.__name__} {trt.__version__} cannot deserialise it ({reason})")

    def _check_signature(self) -> dict[str, tuple[int, ...]]:
        """Compare the engine's tensors with the contract; gives the largest shape of `patches`."""
        engine, trt = self._engine, self._trt
        names = {engine.get_tensor_name(i): None for i in range(engine.num_io_tensors)}
        if set(names) != {"patches", *self.signature.constants, *self.signature.outputs}:
            raise self._unfit(f"it has the tensors {', '.join(names)}; expected those of a score graph")
        if engine.get_tensor_dtype("patches") != trt.DataType.UINT8:
            raise self._unfit("its patches are not uint8")
        low, best, high = (tuple(shape) for shape in engine.get_tensor_profile_shape("patches", 0))
        if high[4] != 3 or (self.patch and high[2:4] != (self.patch, self.patch)):
            raise self._unfit(f"it takes patches {list(high)}; the manifest's sampling cuts {self.patch} pixels")
        for name, value in self.signature.constants.items():
            least, _, most = (tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0))
            check_constant(name, value.shape, [None, *most[1:]], self.signature.advice)
            if not least[0] <= len(value) <= most[0]:
                raise self._unfit(f"its {name} has {least[0]} to {most[0]} rows; found {len(value)}")
        self._best, self._high = best, high
        self.takes = Takes(low[0], high[0], high[1], None if self.patch else (max(low[2:4]), min(high[2:4])))
        self._plain = tuple(name for name in ("score", "votes") if name in self.signature.outputs)
        self._widths = {"score": 1, "votes": self.signature.votes, "terms": engine.get_tensor_shape("terms")[-1]}
        return {"patches": high}

    def _place_constants(self) -> dict[str, int]:
        """Upload the head's constants, once; gives the address of each."""
        stream, addresses = self._device.stream(), {}
        for name, value in self.signature.constants.items():
            memory = self._device.memory(value.nbytes)
            self._owned.append(memory)
            self._device.upload(memory, np.ascontiguousarray(value), stream)
            addresses[name] = int(memory)
        stream.synchronize()
        return addresses

    def _run(self, patches: Pixels, names: tuple[str, ...]) -> dict[str, Floats]:
        """The outputs `names` for all images, part by part, the slots taking turns."""
        targets = {name: np.empty((len(patches), self._widths[name]), np.float32) for name in names}
        least = self.takes.least
        size = max(self._best[0], least)
        if len(patches) % size and len(patches) % size < least:
            size = len(patches)  # the last part would be smaller than the profile allows
        waiting: list[tuple[_Slot, slice]] = []
        with self._device.current():
            try:
                for number, first in enumerate(range(0, len(patches), size)):
                    if len(waiting) == SLOTS:
                        self._collect(*waiting.pop(0), targets)
                    part = slice(first, min(first + size, len(patches)))
                    slot = self._slots[number % SLOTS]
                    slot.begin(patches[part], names)
                    waiting.append((slot, part))
                while waiting:
                    self._collect(*waiting.pop(0), targets)
            except BaseException:
                for slot in self._slots:  # nothing may still be using the buffers when the next call comes
                    with contextlib.suppress(Exception):
                        slot.stream.synchronize()
                raise
        return {name: target[:, 0] if name == "score" else target for name, target in targets.items()}

    def _collect(self, slot: _Slot, part: slice, targets: dict[str, Floats]) -> None:
        slot.stream.synchronize()
        for name, target in targets.items():
            flat = target[part].reshape(-1)
            flat[...] = slot.host[name][: flat.size]

    def _unfit(self, found: str) -> PscrError:
        return PscrError(Status.ENGINE_INCOMPATIBLE, f"{self._named}: {found}; {self._rebuild}")


class _Slot:
    """A stream with its execution context, its pinned and its device buffers, and the graph of its last shape."""

    def __init__(self, owner: TensorRTBackend, shapes: dict[str, tuple[int, ...]]) -> None:
        self._owner, self._device = owner, owner._device
        self._shape: tuple[int, ...] = ()
        self._graph: Graph | None = None
        self._capturable = not owner._rtx  # RTX captures by itself, see `prepare`
        self._runs = 0
        self.host: dict[str, NDArray[Any]] = {}
        self._memory: dict[str, Any] = {}
        self._context: Any = None
        self.stream: Any = None
        self._sizes: dict[str, tuple[int, type[np.generic]]] = {
            "patches": (int(np.prod(shapes["patches"], dtype=np.int64)), np.uint8)
        }
        for name in owner.signature.outputs:
            self._sizes[name] = (shapes["patches"][0] * owner._widths[name], np.float32)

    def prepare(self, addresses: dict[str, int]) -> None:
        """Allocate, and bind every tensor to its place for good. addresses: of the head's constants."""
        owner, device = self._owner, self._device
        self.stream = device.stream()
        for name, (count, kind) in self._sizes.items():
            self.host[name] = device.pinned(count, kind)
            self._memory[name] = device.memory(count * np.dtype(kind).itemsize)
        if owner._rtx:
            config = owner._engine.create_runtime_config()
            config.cuda_graph_strategy = owner._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._context = owner._engine.create_execution_context(config)
        else:
            self._context = owner._engine.create_execution_context()
        if self._context is None:
            raise PscrError(
                Status.OUT_OF_MEMORY, f"{owner._named}: no memory for its activations; free some of the GPU's"
            )
        bound = {**addresses, **{name: int(memory) for name, memory in self._memory.items()}}
        shapes = {name: value.shape for name, value in owner.signature.constants.items()}
        good = all(self._context.set_tensor_address(name, address) for name, address in bound.items())
        if not good or not all(self._context.set_input_shape(name, shape) for name, shape in shapes.items()):
            raise PscrError(Status.INTERNAL, f"{owner._named}: its tensors cannot be bound; {owner._rebuild}")

    def begin(self, patches: Pixels, names: tuple[str, ...]) -> None:
        """Put one part's copies and computation into the stream; `names` are the outputs that are copied back."""
        staged = self.host["patches"][: patches.size]
        np.copyto(staged.reshape(patches.shape), patches)
        if patches.shape != self._shape:
            self._drop_graph()
            if not self._context.set_input_shape("patches", patches.shape):
                raise PscrError(Status.INTERNAL, f"{self._owner._named}: shape {patches.shape} was refused")
            self._shape, self._runs = patches.shape, 0
        plain = names == self._owner._plain
        # The first run of a shape sets the context up; what it then does is the same every time, and can be recorded.
        if plain and self._capturable and self._runs and self._graph is None:
            self._graph = self._device.capture(self.stream, lambda: self._enqueue(staged, names))
            self._capturable = self._graph is not None
        if plain and self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue(staged, names)
        self._runs += 1

    def free(self) -> None:
        """Give everything back; called once, also after a `prepare` that failed half-way."""
        if self.stream is not None:
            with contextlib.suppress(Exception):  # the stream of a GPU that failed
                self.stream.synchronize()
        self._drop_graph()
        self._context = None  # before the memory that it is bound to
        for array in self.host.values():
            self._device.free_pinned(array)
        for memory in self._memory.values():
            memory.free()
        self.host, self._memory = {}, {}
        self.stream = None

    def _enqueue(self, staged: NDArray[Any], names: tuple[str, ...]) -> None:
        images, stream, device = self._shape[0], self.stream, self._device
        device.upload(self._memory["patches"], staged, stream)
        if not self._context.execute_async_v3(stream.handle):
            raise PscrError(Status.INTERNAL, f"{self._owner._named} failed on {images} images; open the model again")
        for name in names:
            per_image = len(self.host[name]) // self._owner._high[0]
            device.download(self.host[name][: images * per_image], self._memory[name], stream)

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._graph.free()
            self._graph = None


def versions() -> dict[str, str]:
    """The versions of the TensorRT libraries that are installed here, by their names in `engines.LIBRARIES`."""
    found = {}
    for name in EXTRAS:
        with contextlib.suppress(PscrError):
            found[name] = str(load(name).__version__)
    return found


def _collecting(trt: Any, said: list[str]) -> Any:
    """A logger that keeps the library's errors, for our own messages, and prints nothing."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                said.append(" ".join(message.split())[:300])

    return Logger()


@atexit.register
def _close_all() -> None:
    """Close what was left open while the context still is: atexit runs this before `cuda`'s own end."""
    for backend in list(_open):
        backend.close()
