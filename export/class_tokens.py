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
    expanded = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Expand"}
    shapes = {info.name: [side.dim_value for side in info.type.tensor_type.shape.dim] for info in graph.value_info}
    nodes = []
    for node in graph.node:
        *leading, last = node.input or [""]
        tokens = [stored.get(expanded.get(name, "")) for name in leading]
        if node.op_type != "Concat" or not tokens or None in tokens:
            nodes.append(node)
            continue
        own, name = np.concatenate([numpy_helper.to_array(tensor) for tensor in tokens], 1), node.output[0]
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
