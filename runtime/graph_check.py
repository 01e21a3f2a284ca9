"""A look into model.onnx before any library loads it: it is one file, and does not make much out of little.

A graph of a few bytes can ask for a tensor of any size, name other files for its weights, or repeat what it does. So a
graph is let through that is made of what score graphs are made of, and of nothing else: operators whose output is no
larger than what goes in, or is bounded by numbers that are looked at here; tensors that their own data fill; no other
files, no subgraphs, no functions. What is no ONNX graph to this module reaches no library: they read other formats too.
(Many operators, one behind the other, can still ask for more memory than there is.)
"""

from __future__ import annotations

import math

import numpy as np

from .errors import PscrError, Status, one_line

# Of the exporter's graphs, in every backbone, precision and family, and their like. A new one adds what it needs.
OPERATORS = frozenset(
    [
        *("Abs", "Add", "AveragePool", "Cast", "Clip", "Concat", "Constant", "Conv", "DequantizeLinear", "Div"),
        *("Erf", "Flatten", "Floor", "Gather", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid"),
        *("HardSwish", "Identity", "LayerNormalization", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "Pow"),
        *("QuantizeLinear", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid"),
        *("Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze"),
    ]
)
_WIDEST = 32  # pixels of padding at a side; the exporter's have 3
_LIMITS = {  # lowest and highest of an operator's numbers, by the attribute
    "pads": (0, _WIDEST),
    "paddings": (0, _WIDEST),
    "strides": (1, 1 << 16),
    "dilations": (1, 1 << 16),
    "kernel_shape": (1, 1 << 16),
}
_PER_BYTE = 4  # elements of the smallest type
_DOMAINS = ("", "ai.onnx")
_ALL = (1 << 64) - 1
_LAST_FIELD = (1 << 29) - 1

Fields = list[tuple[int, int | memoryview]]


def check_graph(data: bytes) -> None:
    """Refuse what is no plain score graph (see above). The field numbers are those of onnx.proto, github.com/onnx/onnx.

    Raises:
        PscrError: MODEL_INVALID.
    """
    try:
        model = _fields(memoryview(data))
        graphs = _parts(model, 7)
        if not graphs:
            raise ValueError("there is no graph in it")
        if _parts(model, 20) or _parts(model, 25):  # training_info, functions
            raise _refusal("has functions, or steps of a training, of its own")
        for graph in graphs:
            _check_nodes(_fields(graph))
    except (IndexError, ValueError) as error:
        found = f"model.onnx cannot be loaded (no ONNX graph: {one_line(error)}); fetch or export the model again"
        raise PscrError(Status.MODEL_INVALID, found) from error


def _check_nodes(graph: Fields) -> None:
    if _parts(graph, 15):  # sparse_initializer
        raise _refusal("has sparse weights, which can unpack to any size")
    constants: dict[str, list[Fields]] = {}
    for initializer in map(_fields, _parts(graph, 5)):
        _check_tensor(initializer)
        for name in _texts(initializer, 8):
            constants.setdefault(name, []).append(initializer)
    nodes = [_fields(node) for node in _parts(graph, 1)]
    for node in nodes:
        if any(domain not in _DOMAINS for domain in _texts(node, 7)):
            raise _refusal(f"uses operators of the domain {_shown(_texts(node, 7))}")
        operators = _texts(node, 4)
        if not operators or not OPERATORS.issuperset(operators):
            raise _refusal(f"uses {_shown(operators)}, which no score graph needs and whose output can be of any size")
        tensors = [tensor for attribute in _parts(node, 5) for tensor in _check_attribute(_fields(attribute))]
        if "Constant" in operators:
            for name in _texts(node, 2):
                constants.setdefault(name, []).extend(tensors)
    for node in nodes:
        operators, inputs = _texts(node, 4), _texts(node, 1)
        if "Pad" in operators:
            _check_padding(inputs, constants)
        if "Gather" in operators:
            _check_selection(inputs, constants)


def _check_attribute(attribute: Fields) -> list[Fields]:
    """The tensors of an attribute, checked like the rest of it."""
    if any(_parts(attribute, number) for number in (6, 11, 22, 23)):  # g, graphs, sparse_tensor, sparse_tensors
        raise _refusal("has graphs or sparse weights within its operators")
    for name in _texts(attribute, 1):
        lowest, highest = _LIMITS.get(name, (-math.inf, math.inf))
        for number in _numbers(attribute, 8):
            if not lowest <= number <= highest:
                raise _refusal(f"has {name} of {number}, where {lowest} to {highest} are usual")
    tensors = [_fields(tensor) for number in (5, 10) for tensor in _parts(attribute, number)]
    for tensor in tensors:
        _check_tensor(tensor)
    return tensors


def _check_padding(inputs: list[str], constants: dict[str, list[Fields]]) -> None:
    """See that a Pad has its widths in the file; before opset 11 they were an attribute, which is checked as such."""
    if len(inputs) < 2:
        return
    widths = [width for tensor in constants.get(inputs[1], []) for width in _integers(tensor)]
    if not widths or max(widths) > _WIDEST:
        found = f"of {max(widths)}" if widths else "of a width that it computes"
        raise _refusal(f"pads by Pad {found}; expected up to {_WIDEST}")


def _check_selection(inputs: list[str], constants: dict[str, list[Fields]]) -> None:
    """See that a Gather takes one of many by a number in the file: of several it could take the same ones often."""
    counts = [math.prod(_numbers(tensor, 1)) for tensor in constants.get(inputs[1] if len(inputs) > 1 else "", [])]
    if not counts or max(counts) > 1:
        found = f"{max(counts)} places" if counts else "places that it computes"
        raise _refusal(f"takes {found} by Gather; expected one, by a number in the file")


def _check_tensor(tensor: Fields) -> None:
    if _parts(tensor, 13) or any(_numbers(tensor, 14)):  # external_data, data_location
        raise _refusal("keeps weights in other files (external data)")
    held = sum(len(value) for _, value in tensor if isinstance(value, memoryview))
    sides = _numbers(tensor, 1)
    if min(sides, default=0) < 0 or math.prod(sides) > _PER_BYTE * (held + len(tensor)):
        raise _refusal(f"has a tensor of {str(sides)[:80]} in {held} bytes")


def _integers(tensor: Fields) -> list[int]:
    """The values of an int64 tensor, from int64_data or raw_data."""
    raw = [int(value) for data in _parts(tensor, 9) for value in np.frombuffer(data, "<i8")]
    return _numbers(tensor, 7) + raw


def _parts(message: Fields, number: int) -> list[memoryview]:
    """The fields of that number that have a length: messages, texts, bytes, packed numbers."""
    return [value for found, value in message if found == number and isinstance(value, memoryview)]


def _texts(message: Fields, number: int) -> list[str]:
    return [bytes(value).decode("utf-8", "replace") for value in _parts(message, number)]


def _numbers(message: Fields, number: int) -> list[int]:
    """The values of a field of 64-bit integers, packed or not."""
    found = []
    for kind, value in message:
        if kind == number and isinstance(value, int):
            found.append(value)
        elif kind == number and isinstance(value, memoryview):
            place = 0
            while place < len(value):
                one, place = _varint(value, place)
                found.append(one)
    return [(one & _ALL) - ((one & _ALL) >> 63 << 64) for one in found]


def _fields(message: memoryview) -> Fields:
    """The fields of a protobuf message: numbers as they are, what has a length as its bytes; floats are passed over."""
    found: Fields = []
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if not 0 < key >> 3 <= _LAST_FIELD:  # others read the lower 32 bits
            raise ValueError("no protobuf")
        if kind == 0:
            value, place = _varint(message, place)
            found.append((key >> 3, value))
        elif kind == 2:
            size, place = _varint(message, place)
            if place + size > len(message):
                raise ValueError("cut short")
            found.append((key >> 3, message[place : place + size]))
            place += size
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
            if place > len(message):
                raise ValueError("cut short")
        else:
            raise ValueError("no protobuf")
    return found


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


def _shown(names: list[str]) -> str:
    return ascii(", ".join(names))[1:-1][:80] or "an operator without a name"


def _refusal(found: str) -> PscrError:
    advice = "expected a score graph in one file; do not use this model, or export it again"
    return PscrError(Status.MODEL_INVALID, f"model.onnx {found}; {advice}")
