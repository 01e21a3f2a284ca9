"""What a run of a graph takes follows from its shapes: operations, bytes moved and held, kernels."""

from __future__ import annotations

import onnx
import pytest
import tiny_model as tiny
from onnx import TensorProto, helper, numpy_helper

from pscr.export.graph_costs import costs
from pscr.export.precision import to_half
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.models import PACKAGED

N, P, K = 2, 3, 5
SHAPES = {"patches": (N, P, 32, 32, 3), "bank_terms": (K, 8), "bank_scores": (K,)}
CONV, POOLED = N * P * 8 * 15 * 15, N * P * 8  # elements that the one convolution gives, and their averages


def test_operations_are_those_of_convolutions_and_matrix_products() -> None:
    products = CONV * 27 + 2 * N * 8 * 8 + N * K * 8
    assert costs(tiny.graph(), SHAPES).operations == 2 * products


def test_each_kernel_reads_and_writes_once_and_what_is_fused_away_is_not_moved() -> None:
    """Elements in fp32, but for the uint8 pixels that come in."""
    pixels, features, hidden = N * P * 32 * 32 * 3, N * 8, N * K * 8
    kernels = [
        (1, pixels),  # normalise: the scale and the planes; neither Cast nor Transpose writes anything
        (pixels, 8 * 27, CONV),  # convolution and rectification
        (CONV, POOLED),
        (POOLED, features),
        (features, 8 * 8, K * 8, hidden),  # the query's part, the exemplars' terms, rectification
        (hidden, 8, K, N * K),  # the differences and the exemplars' scores: the votes
        (N * K, N),  # their mean
        (features, 8 * 8, 8, features),  # the image's own term
    ]
    found = costs(tiny.graph(), SHAPES)
    assert found.moved == pixels + 4 * sum(map(sum, kernels))
    assert found.kernels == len(kernels)


def test_what_is_held_is_the_most_that_is_alive_at_once() -> None:
    """The convolution's input and its output; by then nothing else is needed."""
    found = costs(tiny.graph(), SHAPES)
    assert found.held == 4 * (N * P * 3 * 32 * 32 + CONV)
    assert found.largest == N * P * 3 * 32 * 32


def test_everything_but_weights_goes_with_the_batch() -> None:
    model = onnx.load(PACKAGED / "agiqa3k-lite0" / "model.onnx")
    width = model.graph.input[1].type.tensor_type.shape.dim[1].dim_value
    one, many = (
        costs(model, {"patches": (n, 1, 512, 512, 3), "bank_terms": (9, width), "bank_scores": (9,)}) for n in (1, 8)
    )
    assert (many.operations, many.held, many.largest) == (8 * one.operations, 8 * one.held, 8 * one.largest)
    assert one.moved < many.moved < 8 * one.moved, "weights are read once"
    assert many.kernels == one.kernels
    half = costs(to_half(model), {"patches": (8, 1, 512, 512, 3), "bank_terms": (9, width), "bank_scores": (9,)})
    assert half.operations == many.operations
    assert 0.5 < half.moved / many.moved < 0.6, "the trunk in half of the bytes, its ends in fp32"


def test_a_shape_that_does_not_follow_is_refused() -> None:
    size = numpy_helper.from_array(
        onnx.numpy_helper.to_array(helper.make_tensor("k", TensorProto.INT64, [1], [1])), "k"
    )
    nodes = [helper.make_node("NonZero", ["x"], ["found"]), helper.make_node("Cast", ["found"], ["y"], to=1)]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["N"])], [value("y", TensorProto.FLOAT, ["A", "B"])], [size]
    )
    with pytest.raises(PscrError, match="does not follow") as caught:
        costs(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), {"x": (3,)})
    assert caught.value.status is Status.MODEL_INVALID
