"""What one run of a score graph takes, from its shapes alone: operations, memory traffic, memory held.

Engines fuse: what works element by element (activations, sums, casts, quantisation) is done by the kernel that made its
input. So nodes are gathered into groups of one kernel each, and a tensor that no other group reads is never written.
That is what a good engine does, not what a particular one does: its own kernels are counted on the GPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import onnx
from onnx import TensorProto

from ..runtime.errors import PscrError, Status

_FUSED = {"Add", "Cast", "Clip", "Div", "Mul", "Pow", "QuantizeLinear", "Relu", "Sqrt", "Sub", "Sum", "Transpose"}
_VIEWS = {"DequantizeLinear", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}  # read as what they are made of
_MULTIPLYING = {"Conv", "Gemm", "MatMul"}


@dataclass(frozen=True)
class Costs:
    """Of one run.

    operations: of convolutions and matrix products; a multiplication and its addition are two.
    moved: bytes that the kernels read and write, weights included, each tensor in its own type.
    held: bytes of activations that are needed at once at most, in the order of the nodes; without inputs and outputs.
    largest: elements of the largest tensor. kernels: groups of nodes that are done at once.
    """

    operations: int
    moved: int
    held: int
    largest: int
    kernels: int


class _Tensor(NamedTuple):
    shape: tuple[int, ...]
    kind: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """In bytes."""
        return self.elements * int(onnx.helper.tensor_dtype_to_np_dtype(self.kind).itemsize)


@dataclass
class _Group:
    reads: set[str] = field(default_factory=set)
    makes: set[str] = field(default_factory=set)


def costs(proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Costs:
    """The costs of a graph whose inputs have these shapes.

    Raises:
        PscrError: MODEL_INVALID where a shape does not follow from those of the inputs.
    """
    graph, tensors = _inferred(proto, shapes)
    constants = {tensor.name for tensor in graph.initializer}
    source: dict[str, str] = {}
    made: dict[str, int] = {}  # a tensor's group
    groups: list[_Group] = []
    operations = 0
    for node in graph.node:
        inputs = [source.get(name, name) for name in node.input if name]
        if constants.issuperset(inputs):
            constants.update(node.output)
        elif tensors[node.output[0]].kind == TensorProto.INT64:
            continue  # of shapes
        elif node.op_type in _VIEWS:
            source[node.output[0]] = inputs[0]
        else:
            before = [made[name] for name in inputs if name in made]
            if node.op_type not in _FUSED or not before:
                before = [len(groups)]
                groups.append(_Group())
            groups[max(before)].reads.update(name for name in inputs if tensors[name].kind != TensorProto.INT64)
            groups[max(before)].makes.update(node.output)
            made |= dict.fromkeys(node.output, max(before))
            operations += _operations(node, tensors)
    outputs = {source.get(value.name, value.name) for value in graph.output}
    last = {name: number for number, group in enumerate(groups) for name in group.reads}
    written = {name for name, number in made.items() if last.get(name, number) != number or name in outputs}
    moved = sum(tensors[name].size for group in groups for name in group.reads - group.makes)
    inside = written - outputs
    held = [
        sum(tensors[name].size for name in inside if made[name] <= number <= last[name])
        for number in range(len(groups))
    ]
    return Costs(
        operations,
        moved + sum(tensors[name].size for name in written),
        max(held, default=0),
        max(tensor.elements for tensor in tensors.values()),
        len(groups),
    )


def _operations(node: onnx.NodeProto, tensors: Mapping[str, _Tensor]) -> int:
    """Of a convolution: the products of an output are a kernel's elements; of a matrix product, a row's."""
    if node.op_type not in _MULTIPLYING:
        return 0
    each = tensors[node.input[1]].shape[1:] if node.op_type == "Conv" else tensors[node.input[0]].shape[-1:]
    return 2 * tensors[node.output[0]].elements * math.prod(each)


def _inferred(
    proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]
) -> tuple[onnx.GraphProto, dict[str, _Tensor]]:
    """The graph with its inputs' shapes set, and the shape and type of every tensor."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.value_info[:]
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in copy.graph.input:
        for dimension, side in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            dimension.dim_value = side
    graph = onnx.shape_inference.infer_shapes(copy, strict_mode=True, data_prop=True).graph
    tensors = {value.name: _Tensor(tuple(value.dims), value.data_type) for value in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if not kind.HasField("shape") or not all(side.HasField("dim_value") for side in kind.shape.dim):
            found = f"model.onnx: the shape of {value.name} does not follow from those of its inputs"
            raise PscrError(Status.MODEL_INVALID, f"{found}; export the model again")
        tensors[value.name] = _Tensor(tuple(side.dim_value for side in kind.shape.dim), kind.elem_type)
    return graph, tensors
