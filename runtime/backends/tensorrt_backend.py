"""Inference with TensorRT engines, of `tensorrt` and `tensorrt_rtx`; `tensorrt_context` has the rest of it."""

from __future__ import annotations

import atexit
import contextlib
import weakref
from typing import Any, NamedTuple, cast

import numpy as np

from ..engines import EXTRAS, Engine
from ..errors import PscrError, Status
from ..families.head import Floats, Outputs, Signature
from ..libraries import load
from ..pixels import DevicePatches
from ..samplings import Pixels
from .base import Backend, Patches, Takes, check_constant
from .cuda import Device
from .cuda_pixels import PixelKernels
from .tensorrt_context import Library, Slot

SLOTS = 2  # one computes while the other's images are copied in

_open: weakref.WeakSet[TensorRTBackend] = weakref.WeakSet()


class _Part(NamedTuple):
    """Some of the images of a call. images: how many the engine is given; those beyond the part's are left over."""

    place: slice
    images: int


class TensorRTBackend(Backend):
    """A score engine on one GPU. All is allocated as it opens, for batches of the profile's best size.

    A larger batch goes through in parts, the last one filled up to the same size, so that recorded work can be
    replayed. Two slots with buffers of their own take turns: one part's copies overlap another's computation. All that
    is computed is one stream's, so that the execution contexts can share one block of memory for their activations.
    """

    gathers = True  # into pinned memory, once

    def __init__(self, engine: Engine, signature: Signature, patch: int, *, index: int = 0) -> None:
        """Load an engine that `engines.choose` found to fit.

        Raises:
            PscrError: ENGINE_INCOMPATIBLE: the plan is damaged, cannot be deserialised, is no score engine, or the head
                is larger than its profile. MODEL_INVALID: the head is another model's. OUT_OF_MEMORY.
                DEVICE_UNAVAILABLE: no such GPU, or its library is missing.
        """
        super().__init__(signature, patch)
        plan = engine.plan()
        self._named, self._rebuild = engine.path.name, engine.rebuild()
        self._library = Library(engine.sidecar.library, engine.sidecar.plan_sha256)
        self._device = Device(index)
        self._slots: list[Slot] = []
        self._owned: list[Any] = []
        self._engine: Any = None
        self._compute: Any = None
        self._kernels: PixelKernels | None = None
        try:
            with self._device.current():
                self._load(plan)
                profiles = self._check_signature()
                self._compute = self._device.stream()
                self._place(profiles)
        except BaseException:
            self.close()
            raise
        self.device, self.memory = f"tensorrt:{index}", f"cuda:{index}"
        self.provider = f"{engine.sidecar.precision} engine {self._named}"
        self.library = f"{engine.sidecar.library} {engine.sidecar.library_version}"
        _open.add(self)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # one that never opened; or at the end, which `_close_all` saw
            self.close()

    def infer_impl(self, patches: Patches, terms: bool) -> Outputs:
        """See Backend."""
        found = self._run(patches, (*self._plain, "terms") if terms else self._plain)
        return Outputs(found["score"], found.get("votes"), found.get("terms"))

    def terms_impl(self, patches: Patches) -> Floats:
        """See Backend."""
        return self._run(patches, ("terms",))["terms"]

    def release(self) -> None:
        """See Backend. Any thread may call it."""
        _open.discard(self)
        with contextlib.suppress(PscrError), self._device.current():  # a GPU that failed cannot be asked to tidy up
            for slot in self._slots:
                slot.free()
            self._slots.clear()
            if self._kernels is not None:
                self._kernels.free()
                self._kernels = None
            self._library.keep()
            self._engine = None
            self._library.close()
            for memory in self._owned:
                memory.free()
            self._owned.clear()
            if self._compute is not None:
                self._device.drop(self._compute)
                self._compute = None

    def _load(self, plan: bytes) -> None:
        self._engine = self._library.deserialise(plan)
        if self._engine is None:
            raise self._unfit(f"{self._library} cannot deserialise it ({self._library.words()})")

    def _check_signature(self) -> list[int]:
        """Compare the engine's tensors with the contract; gives the profiles whose shapes fit this head, 0 first."""
        engine, signature = self._engine, self.signature
        names = {engine.get_tensor_name(i): None for i in range(engine.num_io_tensors)}
        if set(names) != {"patches", *signature.constants, *signature.outputs}:
            raise self._unfit(f"it has the tensors {', '.join(names)}; expected those of a score graph")
        if engine.get_tensor_dtype("patches") != self._library.trt.DataType.UINT8:
            raise self._unfit("its patches are not uint8")
        low, best, high = self._shapes("patches", 0)
        if high[4] != 3 or (self.patch and high[2:4] != (self.patch, self.patch)):
            raise self._unfit(f"it takes patches {list(high)}; the manifest's sampling cuts {self.patch} pixels")
        for name, value in signature.constants.items():
            least, _, most = self._shapes(name, 0)
            check_constant(name, value.shape, [None, *most[1:]], signature.advice)
            if not least[0] <= len(value) <= most[0]:
                raise self._unfit(f"its {name} has {least[0]} to {most[0]} rows; found {len(value)}")
        self.takes = Takes(low[0], high[0], high[1], None if self.patch else (max(low[2:4]), min(high[2:4])))
        self._size, self._pixels = best[0], int(np.prod(high[1:], dtype=np.int64))
        self._plain = tuple(name for name in ("score", "votes") if name in signature.outputs)
        self._widths = {"score": 1, "votes": signature.votes, "terms": engine.get_tensor_shape("terms")[-1]}
        constants = {name: value.shape for name, value in signature.constants.items()}
        further = range(1, engine.num_optimization_profiles)
        fit = [one for one in further if all(self._shapes(name, one)[2] == shape for name, shape in constants.items())]
        self._static = {self._shapes("patches", one)[2][:4]: one for one in fit}  # by images, patches and their sides
        return [0, *fit]

    def _shapes(self, name: str, profile: int) -> tuple[tuple[int, ...], ...]:
        """A tensor's smallest, best and largest shape in a profile."""
        return tuple(tuple(shape) for shape in self._engine.get_tensor_profile_shape(name, profile))

    def _place(self, profiles: list[int]) -> None:
        """Upload the head's constants, once, and make the slots with their contexts."""
        device, constants = self._device, self.signature.constants
        addresses = {}
        for name, value in constants.items():
            memory = device.memory(value.nbytes)
            self._owned.append(memory)
            device.upload(memory, np.ascontiguousarray(value), self._compute)
            addresses[name] = int(memory)
        self._compute.synchronize()
        size = self._library.activations(self._engine, profiles)
        activations = device.memory(max(size, 1))
        self._owned.append(activations)
        widths = {name: self._widths[name] for name in self.signature.outputs}
        shapes = {name: value.shape for name, value in constants.items()}
        for _ in range(SLOTS):
            slot = Slot(device, self._compute)
            self._slots.append(slot)
            slot.allocate(self._size, self._pixels, widths)
            for profile in profiles:
                context = self._library.context(self._engine, profile, self._compute, self._named)
                memory = int(activations), size
                slot.bind(profile, context, addresses, shapes, memory, capturable=not self._library.rtx)

    def _run(self, patches: Patches, names: tuple[str, ...]) -> dict[str, Floats]:
        """The outputs `names` for all images, part by part, the slots taking turns."""
        kernels: PixelKernels | None = None
        shape = (len(patches), *patches[0].shape) if isinstance(patches, list) else patches.shape
        targets = {name: np.empty((len(patches), self._widths[name]), np.float32) for name in names}
        waiting: list[tuple[Slot, _Part]] = []
        with self._device.current():
            try:
                if isinstance(patches, DevicePatches):
                    kernels = self._kernels = self._kernels or PixelKernels(self._device, self._compute)
                    kernels.begin(patches)  # which then has the images, and the host none
                for number, part in enumerate(self._parts(shape[:4])):
                    if len(waiting) == SLOTS:
                        self._collect(*waiting.pop(0), targets)
                    slot = self._slots[number % SLOTS]
                    given = (part.images, *shape[1:])
                    profile = self._static.get(given[:4], 0)
                    waiting.append((slot, part))
                    if kernels is None:
                        slot.upload(cast("Pixels | list[Pixels]", patches)[part.place])
                    else:
                        kernels.place(part.place, slot.patches)
                    if not slot.compute(profile, given, part.place.stop - part.place.start, names):
                        words = self._library.words()
                        found = f"{self._named} failed on {part.images} images ({words}); open the model again"
                        raise PscrError(Status.INTERNAL, found)
                if kernels is not None:
                    kernels.end()
                while waiting:
                    self._collect(*waiting.pop(0), targets)
                if kernels is not None:
                    kernels.check()
            except BaseException:
                for slot in self._slots:  # nothing may still be using the buffers when the next call comes
                    with contextlib.suppress(Exception):
                        slot.settle()
                with contextlib.suppress(Exception):
                    self._compute.synchronize()
                raise
            finally:
                if kernels is not None:
                    kernels.forget()
        return {name: target[:, 0] if name == "score" else target for name, target in targets.items()}

    def _parts(self, shape: tuple[int, ...]) -> list[_Part]:
        """The parts of a batch [N,P,H,W]: all of one size, the last filled up, unless it is cheaper alone."""
        images, *rest = shape
        size = self._size
        parts = []
        for first in range(0, images, size):
            length = min(size, images - first)
            alone = (length, *rest) in self._static or (images < size and (size, *rest) not in self._static)
            given = length if alone and length >= self.takes.least else size
            parts.append(_Part(slice(first, first + length), given))
        return parts

    @staticmethod
    def _collect(slot: Slot, part: _Part, targets: dict[str, Floats]) -> None:
        slot.settle()
        for name, target in targets.items():
            flat = target[part.place].reshape(-1)
            flat[...] = slot.host[name][: flat.size]

    def _unfit(self, found: str) -> PscrError:
        return PscrError(Status.ENGINE_INCOMPATIBLE, f"{self._named}: {found}; {self._rebuild}")


def versions() -> dict[str, str]:
    """The versions of the TensorRT libraries that are installed here, by their names in `engines.LIBRARIES`."""
    found = {}
    for name in EXTRAS:
        with contextlib.suppress(PscrError):
            found[name] = str(load(name).__version__)
    return found


@atexit.register
def _close_all() -> None:
    """Close what was left open while the context still is: atexit runs this before `cuda`'s own end."""
    for backend in list(_open):
        backend.close()
