"""Inference with onnxruntime; the only module that uses it."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import io
import os
import re
from pathlib import Path
from typing import Any

from ..cache_folder import cache_folder
from ..errors import PscrError, Status, one_line
from ..families.head import Floats, Outputs, Signature
from ..libraries import load
from ..samplings import Pixels
from .base import SIDES, Backend, Takes, check_signature

_KINDS = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "onnxruntime-tensorrt": "TensorrtExecutionProvider",
}
# Of one batch of the TensorRT provider's engine: images, and windows of an image beside the usual number; and elements
# of a tensor, which TensorRT counts in 32 bits: no backbone makes more than 64 numbers of a pixel.
LARGEST, WINDOWS = 64, 4
_MOST_PIXELS = 2**31 // 64
# Products in fp32 as the graph says, where the default rounds them to 10 bits (TF32); and an algorithm by rule: the
# default tries them all anew for every size of a batch, and which one wins can differ from run to run.
_CUDA = {"use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
_ERRORS_ONLY = 4  # onnxruntime's severity "fatal": everything below reaches us as an exception anyway
_NOWHERE = os.devnull


class OnnxRuntimeBackend(Backend):
    """The score graph in onnxruntime: on the CPU, or on a GPU with its CUDA or its TensorRT provider."""

    def __init__(
        self,
        graph: bytes,
        signature: Signature,
        patch: int,
        *,
        kind: str = "cpu",
        index: int = 0,
        threads: int = 1,
        patches: tuple[int, int] = (1, 1),
    ) -> None:
        """Load the graph.

        graph: the bytes of model.onnx. signature: its head's. patch: side S of its patches in pixels.
        kind: "cpu", "cuda" or "onnxruntime-tensorrt". The last builds an engine in the precision of the graph's own
            types, at the first run, which takes minutes; it is kept in $PSCR_CACHE (default ~/.cache/pscr).
        index: which CUDA device. threads: of one inference, on the CPU.
        patches: of an image, usually and at most, for the engine that is built.

        Raises:
            PscrError: DEVICE_UNAVAILABLE: onnxruntime is not installed, or does not run on that device here.
                MODEL_INVALID: not a score graph, or the head does not fit it. OUT_OF_MEMORY: for the constants.
        """
        super().__init__(signature, patch)
        ort = load("onnxruntime")
        options = _options(ort, threads)
        wanted = PROVIDERS[kind]
        if kind != "cpu":
            _preload(ort)
        if wanted not in ort.get_available_providers():
            raise PscrError(
                Status.DEVICE_UNAVAILABLE,
                f"this onnxruntime {ort.__version__} has no {wanted}; expected onnxruntime-gpu: "
                "pip uninstall onnxruntime, then pip install 'pscr[gpu]'",
            )
        providers: list[Any] = [(wanted, {} if kind == "cpu" else {"device_id": index, **_CUDA})]
        if kind == "onnxruntime-tensorrt":
            settings, self.takes = _trt_settings(index, signature, patch, *patches)
            providers = [(wanted, settings), (PROVIDERS["cuda"], {"device_id": index, **_CUDA})]
        try:
            session = ort.InferenceSession(graph, options, providers=providers, enable_fallback=0)
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            reason = one_line(error)
            if kind != "cpu" and re.search("cuda|cudnn|cublas|tensorrt|nvinfer", reason, re.IGNORECASE):
                raise PscrError(
                    Status.DEVICE_UNAVAILABLE, f"{kind}:{index} cannot be used ({reason}); see pscr doctor, or use cpu"
                ) from error
            raise PscrError(
                Status.MODEL_INVALID, f"model.onnx cannot be loaded ({reason}); fetch or export the model again"
            ) from error
        active = session.get_providers()[0]
        if active != wanted:  # onnxruntime falls back to the CPU without a word
            raise PscrError(
                Status.DEVICE_UNAVAILABLE,
                f"{wanted} did not start{_missing(ort, kind)}, onnxruntime would run {active} instead; "
                "is there a driver, and CUDA and cuDNN of the versions it wants? pip install 'pscr[gpu]' brings both",
            )
        inputs = {value.name: (_KINDS.get(value.type, value.type), list(value.shape)) for value in session.get_inputs()}
        outputs = {value.name: _KINDS.get(value.type, value.type) for value in session.get_outputs()}
        check_signature(inputs, outputs, signature, patch)
        self.device = kind if kind == "cpu" else f"{kind}:{index}"
        self.provider = active
        self.library = f"onnxruntime {ort.__version__}"
        self._graph = graph  # onnxruntime keeps it too
        self._session: Any = session
        place = ("cpu", 0) if kind == "cpu" else ("cuda", index)
        try:  # once, where they are needed: on a GPU every inference would copy them again
            self._constants = {
                name: ort.OrtValue.ortvalue_from_numpy(value, *place) for name, value in signature.constants.items()
            }
        except Exception as error:
            found = f"the bank cannot be placed on {self.device} ({one_line(error)}); use a smaller bank, or cpu"
            raise PscrError(Status.OUT_OF_MEMORY, found) from error

    def infer_impl(self, patches: Pixels, terms: bool) -> Outputs:
        """See Backend."""
        names = ["score"] + ["votes"] * bool(self.signature.votes) + ["terms"] * terms
        found = dict(zip(names, self._run(names, patches), strict=True))
        return Outputs(found["score"], found.get("votes"), found.get("terms"))

    def terms_impl(self, patches: Pixels) -> Floats:
        """See Backend."""
        return self._run(["terms"], patches)[0]

    def streams(self, count: int) -> list[Backend]:
        """See Backend: one session that runs in its callers' threads, and so in as many at once as there are."""
        if self.device != "cpu":
            return []
        ort = load("onnxruntime")
        try:
            settings = {"providers": [self.provider], "enable_fallback": 0}
            session = ort.InferenceSession(self._graph, _options(ort, 1), **settings)
        except Exception as error:  # what this constructor has read once: it is not the graph's fault
            found = f"no second session can be had ({one_line(error)})"
            raise PscrError(Status.OUT_OF_MEMORY, found) from error
        made: list[Backend] = []
        for _ in range(count):
            stream = copy.copy(self)
            stream._session = session
            made.append(stream)
        return made

    def release(self) -> None:
        """See Backend."""
        self._session = None
        self._graph = b""
        self._constants = {}

    def _run(self, names: list[str], patches: Pixels) -> list[Floats]:
        try:
            results: list[Floats] = self._session.run(names, {"patches": patches, **self._constants})
        except Exception as error:
            line = one_line(error)
            memory = "alloc" in line.lower() or "out of memory" in line.lower()
            status = Status.OUT_OF_MEMORY if memory else Status.INTERNAL
            raise PscrError(status, f"onnxruntime failed on {len(patches)} images ({line})") from error
        return results


def _options(ort: Any, threads: int) -> Any:
    """A session's options. threads: of one inference, on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Idle workers that spin would take the cores from the threads that decode the next images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A pattern of the memory of past runs is one more block of it, and no faster (benchmarks/NOTES.md).
    options.enable_mem_pattern = False
    # A graph may name other files for its weights, which would be looked for in the working folder.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    return options


def describe() -> tuple[str, list[str]]:
    """The version of onnxruntime and the providers it was built with, whether or not they work here.

    Raises:
        PscrError: DEVICE_UNAVAILABLE where it is not installed.
    """
    ort = load("onnxruntime")
    return str(ort.__version__), list(ort.get_available_providers())


def _preload(ort: Any) -> None:
    """Load CUDA and cuDNN from where pip has put them; what is missing is told when the provider does not start."""
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _missing(ort: Any, kind: str) -> str:
    """The library that keeps a provider from loading, in words; "" where it is another reason."""
    folder = Path(ort.__file__).parent / "capi"
    try:
        for name in ("shared", "cuda" if kind == "cuda" else "tensorrt"):
            ctypes.CDLL(str(folder / f"libonnxruntime_providers_{name}.so"), ctypes.RTLD_GLOBAL)
    except OSError as error:
        found = re.match(r"(lib[^:]*): cannot open", str(error))
        return f" ({found[1]} is missing)" if found else ""
    return ""


def _trt_settings(index: int, signature: Signature, patch: int, usual: int, most: int) -> tuple[dict[str, Any], Takes]:
    """Options of the TensorRT provider, and what its engine takes: one profile for every batch, so that it builds once,
    and a cache of engines. usual, most: patches of an image.

    Raises:
        PscrError: DEVICE_UNAVAILABLE where engines cannot be kept.
    """
    try:
        cache = cache_folder("onnxruntime-tensorrt")
        cache.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        found = f"no engine can be kept ({one_line(error)}); set PSCR_CACHE to a folder that can be written"
        raise PscrError(Status.DEVICE_UNAVAILABLE, found) from error

    def shapes(images: int, patches: int, side: int) -> str:
        given: dict[str, tuple[int, ...]] = {"patches": (images, patches, side, side, 3)}
        given |= {name: value.shape for name, value in signature.constants.items()}
        return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in given.items())

    windows = min(most, WINDOWS * usual)
    small, side, large = (patch,) * 3 if patch else SIDES
    images = max(1, min(LARGEST, _MOST_PIXELS // (large * large * windows)))
    options = {
        "device_id": index,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache),
        "trt_profile_min_shapes": shapes(1, 1, small),
        "trt_profile_opt_shapes": shapes(min(8, images), usual, side),
        "trt_profile_max_shapes": shapes(images, windows, large),
    }
    return options, Takes(most=images, patches=windows, sides=None if patch else (small, large))
