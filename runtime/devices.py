"""Which backend a `device` setting means."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np

from . import engines, gpus
from .backends.base import Backend
from .backends.onnxruntime_backend import OnnxRuntimeBackend, describe
from .backends.openvino_backend import OpenVINOBackend
from .bank import Bank
from .errors import PscrError, Status

EXPECTED = "auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N, onnxruntime-tensorrt, openvino or openvino-bf16"
_PATTERN = re.compile(r"(auto|cpu|openvino(?:-bf16)?|(?:cuda|tensorrt|onnxruntime-tensorrt)(?::([0-9]{1,3}))?)")


def connect(device: str, graph: bytes, bank: Bank, patch: int, threads: int, folder: Path | None = None) -> Backend:
    """Load a graph on a device; only "auto" may choose another device than the one named.

    device: auto | cpu | cuda[:N] | tensorrt[:N] | openvino | openvino-bf16, or onnxruntime-tensorrt[:N]:
        onnxruntime's TensorRT provider, which builds its engine itself, when it opens. The rest as in
        `OnnxRuntimeBackend`.
    folder: the model folder that `graph` comes from, for its engines.

    Raises:
        PscrError: INVALID_ARGUMENT for another word; DEVICE_UNAVAILABLE with the reason and what would help;
            MODEL_INVALID; ENGINE_INCOMPATIBLE where engines are there and none may be loaded here.
    """
    match = _PATTERN.fullmatch(device) if isinstance(device, str) else None
    if not match:
        raise PscrError(Status.INVALID_ARGUMENT, f"device {device!r} is not known; expected {EXPECTED}")
    kind, index = device.split(":")[0], int(match.group(2) or 0)
    if kind == "tensorrt":
        return _tensorrt(graph, bank, patch, index, folder)
    if kind.startswith("openvino"):
        return OpenVINOBackend(graph, bank, patch, kind=kind, threads=threads)
    if kind == "auto":
        return _auto(graph, bank, patch, threads, folder)
    if kind in ("cuda", "onnxruntime-tensorrt"):
        return _cuda(graph, bank, patch, index, threads, kind)
    return OnnxRuntimeBackend(graph, bank, patch, kind=kind, threads=threads)


def _tensorrt(graph: bytes, bank: Bank, patch: int, index: int, folder: Path | None) -> Backend:
    """The best engine of the model folder on a GPU. A device is looked for first: without one, libraries may crash."""
    there = gpus.find()
    asked = repr("tensorrt" + f":{index}" * bool(index))
    if index >= len(there.found):
        found = there.problem or f"GPU {index} is not there; the driver lists {len(there.found)}, from 0"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"device {asked} cannot be had: {found}; or use cpu")
    if folder is None or not engines.files(folder):
        where = folder or Path("MODEL")
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"device {asked} needs an engine, and {where} has none; {engines.rebuild(where)}; or use cuda or cpu",
        )
    from .backends.tensorrt_backend import TensorRTBackend, versions  # loads TensorRT's libraries

    digest = hashlib.sha256(graph).hexdigest()
    engine = engines.choose(folder, digest, versions(), there.found[index])
    return TensorRTBackend(engine, bank, patch, index=index)


def _cuda(graph: bytes, bank: Bank, patch: int, index: int, threads: int, kind: str = "cuda") -> Backend:
    """A CUDA device on which the graph has run once: a session starts also where cuDNN or the card then fails."""
    backend = OnnxRuntimeBackend(graph, bank, patch, kind=kind, index=index, threads=threads)
    try:
        backend.infer(np.zeros((1, 1, patch, patch, 3), np.uint8))
    except PscrError as error:
        backend.close()
        if error.status is Status.MODEL_INVALID:
            raise
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"{kind}:{index} does not run this model ({error.message}); see pscr doctor, or use cpu",
        ) from error
    return backend


def _auto(graph: bytes, bank: Bank, patch: int, threads: int, folder: Path | None) -> Backend:
    """The first GPU, with an engine of the model folder or with onnxruntime where that really runs; else the CPU."""
    if folder is not None and engines.files(folder) and gpus.find().found:
        try:
            return _tensorrt(graph, bank, patch, 0, folder)
        except PscrError as error:
            if error.status not in (Status.DEVICE_UNAVAILABLE, Status.ENGINE_INCOMPATIBLE, Status.OUT_OF_MEMORY):
                raise
    if "CUDAExecutionProvider" in describe()[1]:
        try:
            return _cuda(graph, bank, patch, 0, threads)
        except PscrError as error:
            if error.status not in (Status.DEVICE_UNAVAILABLE, Status.OUT_OF_MEMORY):
                raise
    return OnnxRuntimeBackend(graph, bank, patch, kind="cpu", threads=threads)
