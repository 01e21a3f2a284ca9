"""How much a score graph computes: its multiply-adds and bytes, counted from the ONNX file.

python benchmarks/graph_cost.py [MODEL]
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort

from pscr.runtime.manifest import Manifest
from pscr.runtime.models import locate
from pscr.runtime.scorer import DEFAULT_MODEL

COUNTED = ("Conv", "MatMul", "Gemm")
UNCOUNTED = ("ConvTranspose", "Einsum", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "LSTM", "GRU")


@dataclass(frozen=True)
class Cost:
    """Of one run of the graph.

    multiply_adds: of convolutions and matrix products; all else is left out. by_operator: the same, apart.
    least_bytes: parameters, bank and inputs read once and outputs written once: no program can move fewer.
    layer_bytes: what moves when each of those layers reads its inputs and writes its output in memory.
    """

    multiply_adds: int
    by_operator: dict[str, int]
    least_bytes: int
    layer_bytes: int


def count(graph: bytes, patches: tuple[int, int], exemplars: int) -> Cost:
    """Count one run on N images of P patches, `patches` being (N, P), with a bank of K `exemplars`.

    The shapes are read from a run of the graph itself, unoptimised, so that nothing about them is guessed.

    Raises:
        ValueError: the graph multiplies in an operator that is not counted here.
    """
    model = onnx.load_from_string(graph)
    nodes = list(model.graph.node)
    unknown = sorted({node.op_type for node in nodes} & set(UNCOUNTED))
    if unknown:
        raise ValueError(f"the graph has {', '.join(unknown)}; expected multiplications in {', '.join(COUNTED)} only")
    constants = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    layers = [node for node in nodes if node.op_type in COUNTED]
    outputs = {output.name for output in model.graph.output}
    computed = {name for node in nodes for name in node.output}
    shown = {name for node in layers for name in (*node.input, *node.output) if name in computed} - outputs
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(shown))
    given = _inputs(model, patches, exemplars)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    values = {**constants, **given, **dict(zip(names, session.run(names, given), strict=True))}
    by_operator: Counter[str] = Counter()
    layer_bytes = 0
    for node in layers:
        first, second, out = (values[name] for name in (node.input[0], node.input[1], node.output[0]))
        if node.op_type == "Conv":
            inner = math.prod(second.shape[1:])  # channels of a group, and the kernel
        elif node.op_type == "Gemm":
            turned = any(a.name == "transA" and a.i for a in node.attribute)
            inner = first.shape[0 if turned else 1]
        else:
            inner = first.shape[-1]
        by_operator[node.op_type] += int(out.size * inner)
        layer_bytes += sum(values[name].nbytes for name in (*node.input, *node.output) if name)
    ends = [*given.values(), *(values[name] for name in outputs), *constants.values()]
    return Cost(sum(by_operator.values()), dict(by_operator), sum(value.nbytes for value in ends), layer_bytes)


def of_model(name: str, patches: tuple[int, int]) -> Cost:
    """Count a model folder's graph with its own bank."""
    folder = locate(name)
    manifest = Manifest.read(folder)
    return count(manifest.read_verified(folder, "model.onnx"), patches, int(manifest.bank["size"]))


def _inputs(model: onnx.ModelProto, patches: tuple[int, int], exemplars: int) -> dict[str, np.ndarray]:
    """Zeros for each input: N, P and K where a dimension has a name."""
    sizes = {"N": patches[0], "P": patches[1], "K": exemplars}
    given = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [dim.dim_value or sizes[dim.dim_param] for dim in kind.shape.dim]
        given[value.name] = np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return given


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="MODEL")
    given = parser.parse_args()
    sampling = Manifest.read(locate(given.model)).sampling
    cost = of_model(given.model, (1, sampling.count))
    print(f"one {sampling.reference_side}x{sampling.reference_side} image, {sampling.count} patches")
    print(f"multiply-adds  {cost.multiply_adds / 1e9:.3f} G  ({cost.by_operator})")
    print(f"least bytes    {cost.least_bytes / 1e6:.1f} MB")
    print(f"layer bytes    {cost.layer_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
