"""The devices: one table of what each is, which library runs it, and how it opens."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from . import device_timing, engines, golden, gpus
from .backends.base import SIDES, Backend
from .backends.onnxruntime_backend import OnnxRuntimeBackend, describe
from .backends.openvino_backend import OpenVINOBackend
from .diagnosis import Classifier
from .errors import PscrError, Status
from .families.head import Head, Signature, check_probe
from .samplings import Pixels, Sampling

_log = logging.getLogger(__name__)
AUTO = "auto"
_ELSEWHERE = (Status.DEVICE_UNAVAILABLE, Status.ENGINE_INCOMPATIBLE, Status.OUT_OF_MEMORY)  # may be had elsewhere
_MOST_NUMBER = 999


@dataclass(frozen=True)
class Model:
    """What a device opens: the graph's bytes, its head's signature, the side of its patches (0 for any), CPU threads,
    the model folder that the graph comes from, for its engines, and how many patches an image has, usually and at most.

    trials: patches of images to time devices with; None where "auto" shall not. span: the length of its scale's range.
    most_off: how far scores may differ from those of fp32, a part of that range, for a device to be taken by "auto".
    """

    graph: bytes
    signature: Signature
    patch: int
    threads: int = 1
    folder: Path | None = None
    patches: tuple[int, int] = (1, 1)
    trials: Callable[[], list[Pixels]] | None = None
    span: float = 1.0
    most_off: float = device_timing.EXACT


@dataclass(frozen=True)
class Device:
    """One entry of the table.

    name: what people type; `numbered` ones may be followed by `:N`, the GPU.
    module, extra: the library that runs it, and the extra of this package that installs it. on_gpu: what it needs.
    batch: images of a run where nobody names a number. tried: whether `pscr doctor` tries it.
    rounds: whether its scores are not those of fp32, so that "auto" takes it only where that is allowed.
    summary: in words. opens: loads a model on it.
    """

    name: str
    module: str
    extra: str
    summary: str
    opens: Callable[[Model, int], Backend]
    batch: int = 1
    on_gpu: bool = False
    tried: bool = True
    rounds: bool = False

    @property
    def numbered(self) -> bool:
        """Whether a GPU's number may follow the name."""
        return self.on_gpu

    def decoders(self, threads: int) -> int:
        """Threads that decode beside inference, of the `threads` a Scorer has: all where a GPU infers, else up to 4."""
        return threads if self.on_gpu else min(4, threads)

    def streams(self, threads: int) -> int:
        """Inferences that may run side by side, of the `threads` a Scorer has; 1 where they take turns."""
        return 1 if self.on_gpu else threads


def _cpu(model: Model, index: int) -> Backend:
    return OnnxRuntimeBackend(model.graph, model.signature, model.patch, kind="cpu", threads=model.threads)


def _openvino(kind: str) -> Callable[[Model, int], Backend]:
    def opens(model: Model, index: int) -> Backend:
        return OpenVINOBackend(model.graph, model.signature, model.patch, kind=kind, threads=model.threads)

    return opens


def _onnxruntime(kind: str) -> Callable[[Model, int], Backend]:
    def opens(model: Model, index: int) -> Backend:
        """A GPU on which the graph has run once: a session starts also where cuDNN or the card then fails."""
        backend = OnnxRuntimeBackend(
            model.graph,
            model.signature,
            model.patch,
            kind=kind,
            index=index,
            threads=model.threads,
            patches=model.patches,
        )
        try:
            side = model.patch or SIDES[0]
            backend.infer(np.zeros((1, 1, side, side, 3), np.uint8))
        except PscrError as error:
            backend.close()
            if error.status is Status.MODEL_INVALID:
                raise
            raise PscrError(
                Status.DEVICE_UNAVAILABLE,
                f"{kind}:{index} does not run this model ({error.message}); see pscr doctor, or use cpu",
            ) from error
        return backend

    return opens


def _tensorrt(model: Model, index: int) -> Backend:
    """The best engine of the model folder on a GPU. A device is looked for first: without one, libraries may crash."""
    there = gpus.find()
    asked = repr("tensorrt" + f":{index}" * bool(index))
    if index >= len(there.found):
        found = there.problem or f"GPU {index} is not there; the driver lists {len(there.found)}, from 0"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"device {asked} cannot be had: {found}; or use cpu")
    if model.folder is None or not engines.files(model.folder):
        where = model.folder or Path("MODEL")
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"device {asked} needs an engine, and {where} has none; {engines.rebuild(where)}; or use cuda or cpu",
        )
    from .backends.tensorrt_backend import TensorRTBackend, versions  # loads TensorRT's libraries

    digest = hashlib.sha256(model.graph).hexdigest()
    engine = engines.choose(model.folder, digest, versions(), there.found[index])
    return TensorRTBackend(engine, model.signature, model.patch, index=index)


DEVICES = {
    device.name: device
    for device in (
        Device("cpu", "onnxruntime", "cpu", "onnxruntime on the CPU", _cpu),
        Device("cuda", "onnxruntime", "gpu", "onnxruntime on an NVIDIA GPU", _onnxruntime("cuda"), 8, True),
        Device("tensorrt", "tensorrt", "trt", "an engine of the model folder", _tensorrt, 8, True),
        Device(
            "onnxruntime-tensorrt",
            "onnxruntime",
            "gpu",
            "an engine that onnxruntime builds as it opens",
            _onnxruntime("onnxruntime-tensorrt"),
            8,
            True,
            tried=False,
        ),
        Device("openvino", "openvino", "openvino", "OpenVINO on the CPU", _openvino("openvino")),
        Device("openvino-bf16", "openvino", "openvino", "the same in bf16", _openvino("openvino-bf16"), rounds=True),
    )
}
EXPECTED = ", ".join([AUTO, *(f"{one.name}[:N]" if one.numbered else one.name for one in DEVICES.values())])


def parse(device: str) -> tuple[Device | None, int]:
    """The table's entry and the GPU's number that a `device` setting means; no entry for "auto".

    Raises:
        PscrError: INVALID_ARGUMENT for another word.
    """
    name, colon, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    entry = DEVICES.get(name)
    counted = number.isascii() and number.isdecimal() and int(number) <= _MOST_NUMBER
    if (name == AUTO and not colon) or (entry is not None and (not colon or (entry.numbered and counted))):
        return entry, int(number or 0)
    raise PscrError(Status.INVALID_ARGUMENT, f"device {device!r} is not known; expected one of {EXPECTED}")


def gpu_of(backend: Backend) -> int:
    """The number of the GPU that a backend runs on; 0, the first, where it runs on a CPU."""
    return parse(backend.device)[1]


def entry_of(backend: Backend) -> Device:
    """The table's entry of an open backend."""
    return DEVICES[backend.device.partition(":")[0]]


def try_out(backend: Backend, sampling: Sampling, head: Head, classifier: Classifier | None, model: str) -> None:
    """Run the graph once, which also proves that it is whole, and see that head and classifier belong to it.

    model: its name and version, for messages.

    Raises:
        PscrError: MODEL_INVALID, or what a GPU cannot do.
    """
    patches = sampling.trial() if classifier is None else sampling.cut(golden.first())
    try:
        outputs = backend.infer(patches[None], terms=classifier is not None)
    except PscrError as error:
        if error.status is not Status.INTERNAL or entry_of(backend).on_gpu:
            raise
        found = f"model.onnx cannot be run ({error.message}); fetch or export the model again"
        raise PscrError(Status.MODEL_INVALID, found) from error
    if not (np.isfinite(outputs.scores).all() and (outputs.votes is None or np.isfinite(outputs.votes).all())):
        found = "model.onnx gives scores that are not finite; fetch or export the model again"
        raise PscrError(Status.MODEL_INVALID, found)
    head.check(lambda: backend.terms(sampling.cut(golden.first())[None])[0])
    if classifier is not None and outputs.terms is not None:
        check_probe(classifier.probe, outputs.terms[0], classifier.about, model, "diagnosis")


def connect(device: str, model: Model) -> Backend:
    """Load a model on a device; only "auto" may choose another device than the one named.

    Raises:
        PscrError: INVALID_ARGUMENT for another word; DEVICE_UNAVAILABLE with the reason and what would help;
            MODEL_INVALID; ENGINE_INCOMPATIBLE where engines are there and none may be loaded here.
    """
    entry, index = parse(device)
    return _auto(model) if entry is None else entry.opens(model, index)


def _auto(model: Model) -> Backend:
    """The first that can be had: a GPU, with an engine of the model folder or with onnxruntime where that really runs;
    else the CPU, with the library that is the fastest there. The others' reasons are kept, and problems logged.
    """
    problems: dict[str, PscrError] = {}
    slower: dict[str, str] = {}
    for name in _order(model, slower):
        try:
            backend = DEVICES[name].opens(model, 0)
        except PscrError as error:
            if error.status not in (_ELSEWHERE if DEVICES[name].on_gpu else _ELSEWHERE[:1]):
                raise
            problems[name] = error
            _log.warning("device auto passes over %s: %s", name, error.message)
        else:
            told = slower | {name: problem.message for name, problem in problems.items()}
            backend.passed_over = tuple(f"{name}: {reason}" for name, reason in told.items())
            return backend
    raise problems["cpu"]


def _order(model: Model, slower: dict[str, str]) -> Iterator[str]:
    """The devices that "auto" tries, the best first. slower: gets the reasons why others are not it."""
    if model.folder is not None and engines.files(model.folder):
        yield "tensorrt"
    if _cuda_is_expected():
        yield "cuda"
    rounding = model.most_off > device_timing.EXACT
    names = [one.name for one in DEVICES.values() if not one.on_gpu and (rounding or not one.rounds)]
    there = [name for name in names if _installed(DEVICES[name].module)]
    if len(there) > 1 and there[0] == "cpu" and model.trials is not None:
        found = device_timing.among(
            there,
            lambda name: DEVICES[name].opens(model, 0),
            images=model.trials,
            graph=model.graph,
            threads=model.threads,
            span=model.span,
        )
        if found is not None:
            slower.update(found.reasons(there, model.most_off))
            yield (best := found.taken(there, model.most_off))
            names = [name for name in names if name != best]
    yield from (name for name in names if not DEVICES[name].rounds)


def _installed(module: str) -> bool:
    """Whether a library is there, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # something stands in its place
        return False


def _cuda_is_expected() -> bool:
    """Whether onnxruntime says that it has CUDA, which it need not have, or there is a GPU that it should have."""
    try:
        listed = "CUDAExecutionProvider" in describe()[1]
    except PscrError:
        listed = False
    return listed or bool(gpus.find().found)
