"""Which backend a `device` setting means."""

from __future__ import annotations

import re

import numpy as np

from .backends.base import Backend
from .backends.onnxruntime_backend import OnnxRuntimeBackend, describe
from .bank import Bank
from .errors import PscrError, Status

EXPECTED = "auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N or openvino"
_PATTERN = re.compile(r"(auto|cpu|openvino|(?:cuda|tensorrt)(?::([0-9]{1,3}))?)")


def connect(device: str, graph: bytes, bank: Bank, patch: int, threads: int) -> Backend:
    """Load a graph on a device; only "auto" may choose another device than the one named.

    device: auto | cpu | cuda[:N] | tensorrt[:N] | openvino. The rest as in `OnnxRuntimeBackend`.

    Raises:
        PscrError: INVALID_ARGUMENT for another word; DEVICE_UNAVAILABLE with the reason and what would help;
            MODEL_INVALID.
    """
    match = _PATTERN.fullmatch(device) if isinstance(device, str) else None
    if not match:
        raise PscrError(Status.INVALID_ARGUMENT, f"device {device!r} is not known; expected {EXPECTED}")
    kind, index = device.split(":")[0], int(match.group(2) or 0)
    if kind in ("tensorrt", "openvino"):
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"device {device!r} is not part of this version of pscr yet; use auto, cpu or cuda",
        )
    if kind == "auto":
        return _auto(graph, bank, patch, threads)
    if kind == "cuda":
        return _cuda(graph, bank, patch, index, threads)
    return OnnxRuntimeBackend(graph, bank, patch, kind=kind, threads=threads)


def _cuda(graph: bytes, bank: Bank, patch: int, index: int, threads: int) -> Backend:
    """A CUDA device on which the graph has run once: a session starts also where cuDNN or the card then fails."""
    backend = OnnxRuntimeBackend(graph, bank, patch, kind="cuda", index=index, threads=threads)
    try:
        backend.infer(np.zeros((1, 1, patch, patch, 3), np.uint8))
    except PscrError as error:
        backend.close()
        if error.status is Status.MODEL_INVALID:
            raise
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"cuda:{index} does not run this model ({error.message}); see pscr doctor, or use cpu",
        ) from error
    return backend


def _auto(graph: bytes, bank: Bank, patch: int, threads: int) -> Backend:
    """The first CUDA device where onnxruntime really runs on it, else the CPU."""
    if "CUDAExecutionProvider" in describe()[1]:
        try:
            return _cuda(graph, bank, patch, 0, threads)
        except PscrError as error:
            if error.status not in (Status.DEVICE_UNAVAILABLE, Status.OUT_OF_MEMORY):
                raise
    return OnnxRuntimeBackend(graph, bank, patch, kind="cpu", threads=threads)
