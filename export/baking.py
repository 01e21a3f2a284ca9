"""The score graph with its bank inside, for programs that want one tensor in and one number out."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from pscr.runtime.bank import Bank


def bake(proto: onnx.ModelProto, bank: Bank) -> onnx.ModelProto:
    """The variant of a score graph that has this bank as constants."""
    baked = onnx.ModelProto()
    baked.CopyFrom(proto)
    for name, value in (("bank_terms", bank.terms), ("bank_scores", bank.scores)):
        baked.graph.initializer.append(numpy_helper.from_array(value, name))
        baked.graph.input.remove(next(entry for entry in baked.graph.input if entry.name == name))
    for output in baked.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            if dimension.dim_param == "K":
                dimension.dim_value = len(bank)
    onnx.checker.check_model(baked, full_check=True)
    return baked
