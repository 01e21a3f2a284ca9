"""A look into model.onnx before any library loads it: it must not make much out of little.

A graph of a few kilobytes can ask for a tensor of any size through an operator whose output is as large as a number in
the file says. No score graph needs those, so they are refused by name, before anything is allocated. (A shape that its
own data do not fill is refused by onnxruntime, equally early.)
"""

from __future__ import annotations

from collections.abc import Iterator

from .errors import PscrError, Status

# Output sizes set by values, not by the sizes of inputs; and control flow, which repeats.
UNBOUNDED = frozenset(
    [
        *(
            "ConstantOfShape",
            "Expand",
            "Tile",
            "Range",
            "OneHot",
            "Resize",
            "Upsample",
            "Loop",
            "Scan",
            "CenterCropPad",
        ),
        *("RandomNormal", "RandomUniform", "Multinomial", "HannWindow", "HammingWindow", "BlackmanWindow", "Col2Im"),
    ]
)
# Field numbers of onnx.proto3 (github.com/onnx/onnx): ModelProto.graph 7, ModelProto.functions 25, GraphProto.node 1,
# FunctionProto.node 7, NodeProto.op_type 4, NodeProto.attribute 5, AttributeProto.g 6 and graphs 11.
_DEEPEST = 16


def check_graph(data: bytes) -> None:
    """Refuse a graph with operators that `UNBOUNDED` names, in it, its subgraphs or its functions.

    Bytes that are no graph are left to the library that loads it.

    Raises:
        PscrError: MODEL_INVALID.
    """
    try:
        found = sorted(set(_operators(memoryview(data))) & UNBOUNDED)
    except (IndexError, ValueError):
        return
    if found:
        raise PscrError(
            Status.MODEL_INVALID,
            f"model.onnx uses {', '.join(found)}, whose output can be of any size; expected a score graph; "
            "do not use this model, or export it again",
        )


def _operators(model: memoryview) -> Iterator[str]:
    for number, value in _fields(model):
        if number == 7:
            yield from _of_nodes(value, 1, 0)
        elif number == 25:
            yield from _of_nodes(value, 7, 0)


def _of_nodes(graph: memoryview, place: int, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    for number, node in _fields(graph):
        if number != place:
            continue
        for part, value in _fields(node):
            if part == 4:
                yield bytes(value).decode("utf-8", "replace")
            elif part == 5:
                for kind, inner in _fields(value):
                    if kind in (6, 11):
                        yield from _of_nodes(inner, 1, depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protobuf message; others are passed over."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 2:
            size, place = _varint(message, place)
            if place + size > len(message):
                raise ValueError("cut short")
            yield key >> 3, message[place : place + size]
            place += size
        elif kind == 0:
            _, place = _varint(message, place)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError("no protobuf")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("no varint")
