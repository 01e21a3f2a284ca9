"""Precision in the graph: the fp16 and int8 forms of a score graph, made from its fp32 form (DESIGN 7).

The conversions are onnxruntime's own (`onnxruntime.transformers.float16`, `onnxruntime.quantization`): they come with a
library that export needs anyway, need neither torch nor a GPU, and so turn a finished model folder as well as a fresh
export. They are given the trunk alone, from the first convolution to the global average pool. What lies around it stays
in fp32: the normalisation of the pixels, the pooling, the regressor's head. Converted as a whole, a graph with a uint8
input leaves single and half precision meeting in one node, which TensorRT's strongly typed parser refuses.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.utils import Extractor
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.samplings import Pixels

_FULL = ("LayerNormalization", "Softmax")  # sums of squares and of exponentials, which half precision cannot hold


def to_half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The score graph with its trunk in half precision, weights and activations; inputs and outputs as before.

    Layer normalisations and softmaxes within it stay in fp32.

    Raises:
        PscrError: MODEL_INVALID where the graph has no trunk in fp32.
    """
    widened, starts, ends = _widen(proto)
    part = _extract(widened, starts, ends)
    with _quiet():
        half = convert_float_to_float16(part, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_FULL])
    _restore(half.graph, {tensor.name: tensor for tensor in part.graph.initializer})
    return _replace(widened, part, half)


def _restore(half: onnx.GraphProto, full: dict[str, TensorProto]) -> None:
    """Give the operators of `_FULL` the weights that they had: the converter rounds these too, and casts them back."""
    read = {name for node in half.node if node.op_type in _FULL for name in node.input}
    for node in [node for node in half.node if node.op_type == "Cast" and node.input[0] in full]:
        if node.output[0] in read:
            half.initializer.add().CopyFrom(full[node.input[0]])
            half.initializer[-1].name = node.output[0]
            half.node.remove(node)


def to_int8(
    proto: onnx.ModelProto, patches: Sequence[Pixels], float_convolutions: int, target: str = "tensorrt"
) -> onnx.ModelProto:
    """The score graph with its trunk's convolutions in int8 as explicit Q/DQ: per-channel weights, biases in float.

    patches: [P,S,S,3] uint8 RGB of each image that the activations' ranges are read from.
    float_convolutions: how many leading convolutions stay in fp32, of each network where the graph joins several; the
        first ones decide how far rounding carries.
    target: "tensorrt" for symmetric activations, the one form that TensorRT takes and onnxruntime runs as well; "cpu"
        for unsigned activations with a zero point and int32 biases, which TensorRT refuses.

    Raises:
        PscrError: MODEL_INVALID where the graph has no trunk in fp32, or multiplies matrices; INVALID_ARGUMENT without
            images.
    """
    if not patches:
        raise PscrError(
            Status.INVALID_ARGUMENT, "int8 reads the ranges of the activations from images; found none to calibrate on"
        )
    widened, starts, ends = _widen(proto)
    part = _extract(widened, starts, ends)
    if any(node.op_type == "MatMul" for node in part.graph.node):
        raise PscrError(
            Status.MODEL_INVALID, "model.onnx multiplies matrices, as transformers do, which int8 is not for; use fp16"
        )
    leading = [node.name for nodes in _trunks(part.graph) for node in nodes[:float_convolutions]]
    symmetric = target == "tensorrt"
    changed = onnx.ModelProto()
    changed.CopyFrom(part)  # the quantiser rewrites what it is given
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "int8.onnx"
        quantize_static(
            changed,
            written,
            _Normalised(widened, starts, patches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=leading,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": not symmetric},
        )
        return _replace(widened, part, onnx.load(written))


def convolutions(proto: onnx.ModelProto) -> int:
    """How many convolutions a graph has."""
    return sum(node.op_type == "Conv" for node in proto.graph.node)


def _trunks(graph: onnx.GraphProto) -> list[list[onnx.NodeProto]]:
    """The convolutions of each network, in order; a network begins where no convolution comes before."""
    trunks: list[list[onnx.NodeProto]] = []
    of_tensor: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        trunk = next((of_tensor[name] for name in node.input if name in of_tensor), None)
        if node.op_type == "Conv":
            if trunk is None:
                trunks.append(trunk := [])
            trunk.append(node)
        if trunk is not None:
            of_tensor.update(dict.fromkeys(node.output, trunk))
    return trunks


class _Normalised(CalibrationDataReader):
    """What enters the trunk for each image, computed by the graph's own nodes ahead of it."""

    def __init__(self, proto: onnx.ModelProto, starts: Sequence[str], patches: Sequence[Pixels]) -> None:
        self._names = starts
        self._head = ReferenceEvaluator(_extract(proto, ["patches"], starts))
        self._patches = iter(patches)

    def get_next(self) -> dict[str, Any] | None:
        patches = next(self._patches, None)
        if patches is None:
            return None
        outputs: Any = self._head.run(None, {"patches": patches[None]})
        return {name: np.asarray(value, np.float32) for name, value in zip(self._names, outputs, strict=True)}


def _widen(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str], list[str]]:
    """A copy whose trunk has its weights as float32 initializers, not as float16 behind a Cast, and the trunk's ends.

    The ends are the names of the tensors that enter the first convolutions, one for each scale and normalisation of
    the pixels, and of those that are pooled, one for each scale and each depth that features are taken from. The sizes
    of a batch, which a transformer's trunk reads as well, are among those that enter.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    starts = list(dict.fromkeys(nodes[0].input[0] for nodes in _trunks(graph)))
    pooled = _pooled(graph)
    if not starts or not pooled or any(node.op_type == "QuantizeLinear" for node in graph.node):
        raise _no_trunk("no convolution ahead of a global average pool, or is quantised already")
    stored = {tensor.name: tensor for tensor in graph.initializer}
    trunk = _between(graph, starts, pooled)
    kernels = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    read = kernels.union(*(node.input for node in trunk))
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]:
        if node.output[0] in read:
            value = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            stored[node.input[0]].CopyFrom(numpy_helper.from_array(value, node.output[0]))
            graph.node.remove(node)
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    if any(kinds.get(name) != TensorProto.FLOAT for name in kernels):
        raise _no_trunk("convolutions that are not in fp32")
    inside = {name for node in trunk for name in node.output}
    outside = {name for node in graph.node for name in node.output} - inside
    entering = dict.fromkeys(name for node in trunk for name in node.input if name in outside)
    return onnx.shape_inference.infer_shapes(copy), list(dict.fromkeys([*starts, *entering])), pooled


def _between(graph: onnx.GraphProto, starts: Sequence[str], ends: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that lead from some of the tensors to others, in order."""
    behind, ahead = set(starts), set(ends)
    for node in graph.node:
        if behind.intersection(node.input):
            behind.update(node.output)
    for node in reversed(graph.node):
        if ahead.intersection(node.output):
            ahead.update(node.input)
    return [node for node in graph.node if behind.intersection(node.input) and ahead.intersection(node.output)]


def _pooled(graph: onnx.GraphProto) -> list[str]:
    """The tensors that are averaged behind the last convolution and were not made of other averages, in order.

    Averages with a convolution behind them weigh channels within a network (squeeze and excitation).
    """
    convolved: set[str] = set()  # with a convolution behind it
    for node in reversed(graph.node):
        if node.op_type == "Conv" or convolved.intersection(node.output):
            convolved.update(node.input)
    averages: set[str] = set()
    found: list[str] = []
    for node in graph.node:
        if convolved.intersection(node.output):
            continue
        if averages.intersection(node.input):
            averages.update(node.output)
        elif node.op_type == "ReduceMean":
            averages.update(node.output)
            found.append(node.input[0])
    return list(dict.fromkeys(found))


def _extract(proto: onnx.ModelProto, starts: Sequence[str], ends: Sequence[str]) -> onnx.ModelProto:
    part: onnx.ModelProto = Extractor(proto).extract_model(list(starts), list(ends))
    return part


def _replace(whole: onnx.ModelProto, part: onnx.ModelProto, new: onnx.ModelProto) -> onnx.ModelProto:
    """`whole` with the nodes of `part`, which it contains, exchanged for those of `new`, of the same ends."""
    result = onnx.ModelProto()
    result.CopyFrom(whole)
    graph = result.graph
    old = {node.output[0] for node in part.graph.node}
    nodes = [node for node in graph.node if node.output[0] not in old] + list(new.graph.node)
    read = {name for node in nodes for name in node.input}
    computed = {name for node in nodes for name in node.output}  # a quantised bias has the name of the float one
    stored = (*graph.initializer, *new.graph.initializer)
    tensors = {tensor.name: tensor for tensor in stored if tensor.name in read and tensor.name not in computed}
    for field, values in (("node", nodes), ("initializer", tensors.values()), ("value_info", ())):
        kept = [type(value).FromString(value.SerializeToString()) for value in values]
        del getattr(graph, field)[:]
        getattr(graph, field).extend(kept)
    ONNXModel(result).topological_sort()  # the converter writes its casts behind the nodes that read them
    onnx.checker.check_model(result, full_check=True)
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that both converters log on the root logger, which is for people who call them by hand.

    It has a handler meanwhile: without any, `logging.warning` gives it one, which then tells all that we log again.
    """
    silent = logging.NullHandler()
    logging.root.addHandler(silent)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        logging.root.removeHandler(silent)


def _no_trunk(found: str) -> PscrError:
    return PscrError(Status.MODEL_INVALID, f"model.onnx has {found}; expected a score graph in fp32; start from that")
