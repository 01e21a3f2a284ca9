"""Inference with OpenVINO on the CPU; the only module that uses it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..errors import PscrError, Status, one_line
from ..families.head import Floats, Outputs, Signature
from ..libraries import load
from ..samplings import Pixels
from .base import Backend, check_signature

_KINDS = {"u8": "uint8", "f32": "float32"}


class OpenVINOBackend(Backend):
    """The score graph in OpenVINO, on the CPU, in fp32 or in bf16.

    Left to itself, OpenVINO takes bf16 where the processor has it, and scores would differ between machines by more
    than is promised. So bf16 is a device of its own, which says what it is.
    """

    def __init__(
        self, graph: bytes, signature: Signature, patch: int, *, kind: str = "openvino", threads: int = 1
    ) -> None:
        """Load and compile the graph.

        graph: the bytes of model.onnx. signature: its head's. patch: side S of its patches in pixels.
        threads: of one inference.
        kind: "openvino" or "openvino-bf16": products in bf16, on processors that have it (AVX512-BF16, AMX).

        Raises:
            PscrError: DEVICE_UNAVAILABLE: OpenVINO is not installed, or the processor has no bf16. MODEL_INVALID: not
                a score graph, or the head does not fit it. OUT_OF_MEMORY.
        """
        super().__init__(signature, patch)
        ov = load("openvino")
        self._tensor, self._graph = ov.Tensor, graph
        self.device, self.provider = kind, f"CPU, {'bf16' if kind == 'openvino-bf16' else 'fp32'}"
        self.library = f"openvino {version()}"
        self._request: Any = self._requests(threads)[0]

    def _requests(self, threads: int, streams: int = 1) -> list[Any]:
        """Compile the graph. threads: of all inferences. Returns a request for each of `streams`, with the constants.

        Raises:
            PscrError: see the constructor.
        """
        bf16 = self.device == "openvino-bf16"
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "ENABLE_CPU_PINNING": False,  # pinned workers would share a core with the threads that decode
        }
        try:
            core = load("openvino").Core()
            model = core.read_model(self._graph, b"")
            inputs = {port.any_name: _described(port) for port in model.inputs}
            outputs = {port.any_name: _described(port)[0] for port in model.outputs}
            check_signature(inputs, outputs, self.signature, self.patch)
            if bf16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise PscrError(Status.DEVICE_UNAVAILABLE, "this processor has no bf16 arithmetic; use openvino or cpu")
            compiled = core.compile_model(model, "CPU", settings)
            made = [compiled.create_infer_request() for _ in range(streams)]
            for request in made:
                for name, value in self.signature.constants.items():
                    request.set_tensor(name, self._tensor(value))
        except RuntimeError as error:  # all of OpenVINO's own
            raise PscrError(
                Status.MODEL_INVALID, f"model.onnx cannot be loaded ({one_line(error)}); fetch or export it again"
            ) from error
        except MemoryError as error:
            raise PscrError(Status.OUT_OF_MEMORY, "no memory for the model in OpenVINO; use a smaller bank") from error
        return made

    def infer_impl(self, patches: Pixels, terms: bool) -> Outputs:
        """See Backend."""
        self._run(patches)
        votes = self._output("votes") if self.signature.votes else None
        return Outputs(self._output("score"), votes, self._output("terms") if terms else None)

    def terms_impl(self, patches: Pixels) -> Floats:
        """See Backend."""
        self._run(patches)
        return self._output("terms")

    def streams(self, count: int) -> list[Backend]:
        """See Backend."""
        made: list[Backend] = []
        for request in self._requests(count, count):
            stream = copy.copy(self)
            stream._request = request
            made.append(stream)
        return made

    def release(self) -> None:
        """See Backend."""
        self._request = None
        self._graph = b""

    def _run(self, patches: Pixels) -> None:
        try:  # OpenVINO shares only memory that it could write to; of the rest it takes a copy
            self._request.set_tensor("patches", self._tensor(patches, shared_memory=bool(patches.flags.writeable)))
            self._request.infer()
        except (RuntimeError, MemoryError) as error:
            line = one_line(error)
            memory = isinstance(error, MemoryError) or "alloc" in line.lower() or "memory" in line.lower()
            status = Status.OUT_OF_MEMORY if memory else Status.INTERNAL
            raise PscrError(status, f"OpenVINO failed on {len(patches)} images ({line})") from error

    def _output(self, name: str) -> Floats:
        """A copy: the next inference writes where this one did."""
        return np.array(self._request.get_tensor(name).data, np.float32)


def version() -> str:
    """The version of OpenVINO, without the build's number.

    Raises:
        PscrError: DEVICE_UNAVAILABLE where it is not installed.
    """
    return str(load("openvino").__version__).split("-")[0]


def _described(port: Any) -> tuple[str, list[Any]]:
    """An input or output as `check_signature` takes it: its type, and its shape with a word for what is dynamic."""
    kind, shape = port.element_type.get_type_name(), port.partial_shape
    sides = [side.get_length() if side.is_static else "?" for side in shape] if shape.rank.is_static else []
    return _KINDS.get(kind, kind), sides
