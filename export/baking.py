"""The score graph with its head's constants inside, for programs that want one tensor in and one number out."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from ..runtime.families.head import Signature


def bake(proto: onnx.ModelProto, signature: Signature) -> onnx.ModelProto:
    """The variant of a score graph that has the constants of its head inside: `patches` is the only input left."""
    baked = onnx.ModelProto()
    baked.CopyFrom(proto)
    for name, value in signature.constants.items():
        baked.graph.initializer.append(numpy_helper.from_array(value, name))
        baked.graph.input.remove(next(entry for entry in baked.graph.input if entry.name == name))
    for output in baked.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            if dimension.dim_param == "K":
                dimension.dim_value = signature.votes
    onnx.checker.check_model(baked, full_check=True)
    return baked
