"""Class tokens in a form that bounds itself: a Pad and a sum, in place of an Expand to the size of the batch.

A vision transformer puts tokens of its own ahead of those of the patches of an image. The exporter writes that as an
Expand to a size that the graph computes, which the runtime refuses (see graph_check.py): it could be any.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper


def pad_class_tokens(proto: onnx.ModelProto) -> None:
    """Write every Concat of expanded tokens [1,k,C] and tokens [N,n,C], in place, as a padded [N,k+n,C] and a sum."""
    graph = proto.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    shapes = {info.name: [side.dim_value for side in info.type.tensor_type.shape.dim] for info in graph.value_info}
    shapes |= {info.name: [side.dim_value for side in info.type.tensor_type.shape.dim] for info in graph.input}
    tokens = {
        node.output[0]: numpy_helper.to_array(stored[node.input[0]])
        for node in graph.node
        if node.op_type == "Expand" and node.input[0] in stored and _is_batched(stored[node.input[0]], shapes, node)
    }
    nodes = []
    for node in graph.node:
        *leading, last = node.input or [""]
        joins = node.op_type == "Concat" and node.attribute[0].i in (1, -2) and len(shapes.get(last, ())) == 3
        if not joins or not leading or not tokens.keys() >= set(leading):
            nodes.append(node)
            continue
        own, name = np.concatenate([tokens[one] for one in leading], 1), node.output[0]
        summand = np.pad(own, ((0, 0), (0, shapes[last][1]), (0, 0)))
        widths = np.array([0, own.shape[1], 0, 0, 0, 0], np.int64)
        added = {f"{name}.tokens": summand, f"{name}.widths": widths}
        graph.initializer.extend(numpy_helper.from_array(value, of) for of, value in added.items())
        nodes += [
            helper.make_node("Pad", [last, f"{name}.widths"], [f"{name}.padded"], name=f"{name}.pad"),
            helper.make_node("Add", [f"{name}.padded", f"{name}.tokens"], [name], name=f"{name}.sum"),
        ]
    if len(nodes) > len(graph.node):
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
        _drop_unread(graph)


def _is_batched(tensor: onnx.TensorProto, shapes: dict[str, list[int]], expand: onnx.NodeProto) -> bool:
    """Whether tokens [1,k,C] are expanded to [N,k,C]."""
    return len(tensor.dims) == 3 and tensor.dims[0] == 1 and shapes.get(expand.output[0], [])[1:] == tensor.dims[1:]


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Remove the expansions that nothing reads any more, and what they alone read."""
    kept = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if kept.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            kept.update(node.input)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in kept]:
        graph.initializer.remove(tensor)
