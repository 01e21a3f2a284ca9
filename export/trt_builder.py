"""Building engines with `tensorrt` (10.x, 11.x) or `tensorrt_rtx`, strongly typed; export's only import of them.

TensorRT 11 has neither precision flags nor calibrators, and where a program sets them it silently builds fp32. So the
types are the graph's own on every version, and are read back from the parsed network, which when strongly typed is what
the engine computes with. The engine inspector, which needs a GPU, is asked as well; what it says is told, not judged.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pscr.runtime import libraries
from pscr.runtime.errors import PscrError, Status, one_line

Shape = Sequence[int]
PORTABLE = ("8.0", "8.6", "8.9", "12.0")  # what tensorrt_rtx builds for on a machine without a GPU, unless told
_NAMES = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8"}
_BYTES = {"FLOAT": 4, "HALF": 2, "INT8": 1}
# Bytes of a plan that are not weights: of any, for each convolution, for each other layer of a transformer, and for
# each convolution in int8, which mostly bring a kernel; a further profile brings as much as two first ones, since
# weights are laid out anew for some of its kernels.
_OVERHEAD, _LAYER, _OTHER, _KERNEL = 4_000_000, 40_000, 80_000, 250_000


@dataclasses.dataclass(frozen=True)
class Built:
    """A plan and what is known of it.

    types: the trunk's convolutions by the type they compute with. inspected: what the engine inspector says of the
    layers' types, or why it was not asked. seconds: of the build, wall clock. weights: bytes that the network's
    convolutions and constants take in their own types. profiles: how many it was built for. others: how many products,
    normalisations and softmaxes there are besides the head's.
    """

    plan: bytes
    version: str
    types: dict[str, int]
    seconds: float
    weights: int
    inspected: str = "not inspected: this needs a GPU"
    profiles: int = 1
    others: int = 0


def build(
    graph: bytes,
    library: str,
    precision: str,
    profiles: Sequence[Mapping[str, tuple[Shape, Shape, Shape]]],
    capabilities: Sequence[str],
    cache: Path | None = None,
    here: str = "",
) -> Built:
    """Build an engine of a score graph.

    precision: fp32, fp16 or int8, which the graph must have already. profiles: of each the smallest, best and largest
    shape of each input. capabilities: the compute capabilities that the engine is for, such as "8.9", one plan for all
    of them; with tensorrt only that of this machine's GPU. cache: a timing cache, read and written. here: the compute
    capability of this machine's GPU, empty without one.

    Raises:
        PscrError: DEVICE_UNAVAILABLE: the library or a capability is not to be had. MODEL_INVALID: the graph cannot be
            parsed, or has another precision. ENGINE_INCOMPATIBLE: the build failed, or the plan has another size.
    """
    trt = libraries.load(library)
    logger = _Said(trt)
    builder = trt.Builder(logger.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger.logger)
    if not parser.parse(graph):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        found = one_line(RuntimeError(" ".join(reasons) or "no reason given"))
        raise PscrError(Status.MODEL_INVALID, f"{library} does not take this graph ({found}); export the model again")
    types = check_types(trt, network, precision)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: it would round the products of an fp32 engine to 10 bits
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector has no types to show
    for profile in profiles:
        optimization = builder.create_optimization_profile()
        for name, (low, best, high) in profile.items():
            optimization.set_shape(name, tuple(low), tuple(best), tuple(high))
        config.add_optimization_profile(optimization)
    _target(trt, config, library, capabilities, here)
    timing = _timing(config, cache)
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - started
    if plan is None:
        raise PscrError(
            Status.ENGINE_INCOMPATIBLE,
            f"{library} {trt.__version__} could not build the engine ({logger.last}); see its support matrix, "
            "or free GPU memory",
        )
    if cache is not None and timing is not None:
        cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    built = Built(
        bytes(plan),
        str(trt.__version__),
        types,
        seconds,
        weights(trt, network),
        profiles=len(profiles),
        others=_others(trt, network),
    )
    check_size(built, precision)
    return built


def check_types(trt: Any, network: Any, precision: str) -> dict[str, int]:
    """Count the convolutions of a parsed network by the type that they compute with.

    A convolution whose data and weights both come out of a dequantisation computes in int8. Products of the head are
    those of two sides, as [N,C] and [C,H]; within a transformer they have three or more, and are not judged.

    Raises:
        PscrError: MODEL_INVALID, naming the layer, where they are not what `precision` says: one in another type, or
            for int8 one in float behind one in int8, or less than half of them in int8; or a head that is not fp32.
    """
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    origin = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    found: list[tuple[str, str]] = []
    for layer in layers:
        output = layer.get_output(0)
        of_head = layer.type == trt.LayerType.MATRIX_MULTIPLY and len(output.shape) == 2
        if of_head and output.dtype != trt.DataType.FLOAT:
            raise _mislabelled(layer.name, str(output.dtype), "the head in FLOAT")
        if layer.type == trt.LayerType.CONVOLUTION:
            found.append((layer.name, _computes(trt, layer, origin)))
    wanted, kinds = _NAMES[precision], [kind for _, kind in found]
    for number, (name, kind) in enumerate(found):
        leads = precision == "int8" and kind == "FLOAT" and "INT8" not in kinds[:number]
        if kind != wanted and not leads:
            raise _mislabelled(name, kind, wanted)
    if 2 * kinds.count(wanted) < len(kinds) or not kinds:
        raise _mislabelled(f"{len(kinds) - kinds.count(wanted)} of {len(kinds)} convolutions", "not", wanted)
    return dict(Counter(kinds))


def weights(trt: Any, network: Any) -> int:
    """Bytes of a network's weights in the types they are computed with; what several layers share counts once."""
    total, seen = 0, set()
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    origin = {layer.get_output(i).name: layer for layer in layers for i in range(layer.num_outputs)}
    for layer in layers:
        if layer.type == trt.LayerType.CONVOLUTION:
            layer.__class__ = trt.IConvolutionLayer  # the bindings give the base class
            kernel = layer.get_input(1).name if layer.num_inputs > 1 else layer.kernel.ctypes.data
            if kernel in seen:
                continue
            seen.add(kernel)
            inputs = layer.get_input(0).shape[1] // layer.num_groups
            count = layer.num_output_maps * inputs * math.prod(layer.kernel_size_nd)
            total += count * _BYTES.get(_computes(trt, layer, origin), 4)
        elif layer.type == trt.LayerType.MATRIX_MULTIPLY:
            second = layer.get_input(1)
            if min(second.shape) > 0:  # else it is computed: attention multiplies activations
                total += math.prod(second.shape) * _BYTES.get(str(second.dtype).rpartition(".")[2], 4)
    return total


def _others(trt: Any, network: Any) -> int:
    """How many products, normalisations and softmaxes a network has besides the products of the head."""
    kinds = (trt.LayerType.MATRIX_MULTIPLY, trt.LayerType.NORMALIZATION, trt.LayerType.SOFTMAX)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    return sum(layer.type in kinds and len(layer.get_output(0).shape) > 2 for layer in layers)


def check_size(built: Built, precision: str) -> None:
    """Compare a plan's size with its weights: an engine that was silently built in fp32 is larger by megabytes.

    Raises:
        PscrError: ENGINE_INCOMPATIBLE.
    """
    kernels = _LAYER * sum(built.types.values()) + _OTHER * built.others + _KERNEL * built.types.get("INT8", 0)
    allowed = 1.1 * built.weights + _OVERHEAD + kernels * (2 * built.profiles - 1)
    if len(built.plan) > allowed:
        raise PscrError(
            Status.ENGINE_INCOMPATIBLE,
            f"the plan has {len(built.plan) / 1e6:.1f} MB; its {precision} weights take {built.weights / 1e6:.1f} MB: "
            "it was not built in that precision; report the library's version",
        )


def inspected(built: Built, library: str) -> Built:
    """Add what the engine inspector says of a plan; needs the GPU that the plan is for.

    It is told and not judged: the types of the parsed network are the proof of precision, and TensorRT for RTX makes
    one layer of a whole graph, of which the inspector sees the uint8 that goes in and the fp32 that comes out.

    Raises:
        PscrError: ENGINE_INCOMPATIBLE where the plan cannot be loaded.
    """
    trt = libraries.load(library)
    logger = _Said(trt)
    runtime = trt.Runtime(logger.logger)
    engine = runtime.deserialize_cuda_engine(built.plan)
    if engine is None:
        raise PscrError(
            Status.ENGINE_INCOMPATIBLE, f"{library} {trt.__version__} cannot load what it built ({logger.last})"
        )
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return dataclasses.replace(built, inspected=summarise(text))


def summarise(text: str) -> str:
    """What the inspector's JSON says of the types of the layers' inputs and outputs, on one line.

    The form differs between versions and layers, so every word that names a type is counted, once for a layer.
    """
    try:
        layers = json.loads(text)["Layers"]
    except (ValueError, KeyError, TypeError):
        return "the inspector lists no layers"
    counted = Counter(kind for layer in layers if isinstance(layer, dict) for kind in _mentioned(layer))
    line = ", ".join(f"{kind} in {number}" for kind, number in sorted(counted.items()))
    return f"of {len(layers)} layers the inspector names {line or 'no types'}"


def _mentioned(entry: dict[str, Any]) -> set[str]:
    """The types that a layer's inputs and outputs are said to have."""
    text = json.dumps([entry.get("Inputs", []), entry.get("Outputs", [])]).lower()
    patterns = {"FLOAT": r"fp32|\bfloat\b|kfloat", "HALF": r"fp16|\bhalf\b|khalf", "INT8": r"(?<!u)int8"}
    return {kind for kind, pattern in patterns.items() if re.search(pattern, text)}


def _computes(trt: Any, layer: Any, origin: Mapping[str, Any]) -> str:
    """The type a convolution computes with: INT8 where data and weights are dequantised, else its data's."""
    sources = [origin.get(layer.get_input(i).name) for i in range(layer.num_inputs)]
    dequantised = [source is not None and source.type == trt.LayerType.DEQUANTIZE for source in sources[:2]]
    if len(dequantised) == 2 and all(dequantised):
        return "INT8"
    kinds = {layer.get_input(i).dtype for i in range(layer.num_inputs)} | {layer.get_output(0).dtype}
    return "+".join(sorted(str(kind).rpartition(".")[2] for kind in kinds))


def _target(trt: Any, config: Any, library: str, capabilities: Sequence[str], here: str) -> None:
    """Say which GPUs the engine is for: tensorrt_rtx does not take the machine's own for granted, tensorrt must."""
    if library != "tensorrt_rtx":
        if list(capabilities) != [here]:
            raise PscrError(
                Status.DEVICE_UNAVAILABLE,
                f"{library} builds for the GPU it runs on; --compute-capability is for --library tensorrt_rtx",
            )
        return
    known = {name: value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    targets = [known.get("SM" + capability.replace(".", "")) for capability in capabilities]
    if None in targets and list(capabilities) == [here]:
        targets = [trt.ComputeCapability.CURRENT]  # the library has the last word on a GPU that it does not list
    if None in targets or not targets:
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"{library} {trt.__version__} knows no compute capability {', '.join(capabilities)}; it builds for "
            f"{', '.join(f'{name[2:-1]}.{name[-1]}' for name in known)}; for other GPUs use --library tensorrt",
        )
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(target, index)


def _timing(config: Any, cache: Path | None) -> Any:
    """Attach a timing cache: what is in the file, or a new one. One of another library or GPU is begun anew."""
    if cache is None:
        return None
    timing = config.create_timing_cache(cache.read_bytes() if cache.is_file() else b"")
    if timing is None or not config.set_timing_cache(timing, False):
        timing = config.create_timing_cache(b"")
        config.set_timing_cache(timing, False)
    return timing


class _Said:
    """A logger that keeps what the library says, for our own messages, and does nothing else.

    TensorRT's compiling threads call it. It takes Python's own lock and no other: one that went on to Python's logging,
    and so to its locks and handlers, could wait for a thread that waits for the compilation.
    """

    def __init__(self, trt: Any) -> None:
        said = self._errors = list[str]()

        class Logger(trt.ILogger):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                    said.append(message)

        self.logger = Logger()

    @property
    def last(self) -> str:
        """The last error, on one line."""
        return one_line(RuntimeError(self._errors[-1])) if self._errors else "no reason given"


def _mislabelled(what: str, found: str, wanted: str) -> PscrError:
    return PscrError(
        Status.MODEL_INVALID,
        f"the graph's {what}: found {found}; expected {wanted}; an engine is not named by a precision it does not "
        "have: convert the graph with pscr export onnx --precision",
    )
