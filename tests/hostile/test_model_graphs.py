"""Damaged and hostile graphs with a matching hash: always MODEL_INVALID, before anything large is allocated."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_model as tiny
from hostile_folders import (
    assert_invalid,
    edit,
    initializer,
    put,
    with_graph,
)
from onnx import TensorProto

import pscr
from pscr.runtime.graph_check import check_graph
from pscr.runtime.manifest import FILE_NAME


def test_truncated_graph_is_refused(own_model: Path) -> None:
    data = (own_model / "model.onnx").read_bytes()
    for length in (0, 1, 10, len(data) // 2, len(data) - 1):
        assert_invalid(with_graph(own_model, data[:length]), "model.onnx")


def test_random_bytes_are_no_graph(own_model: Path) -> None:
    rng = np.random.default_rng(1)
    for length in (1, 100, 10_000):
        assert_invalid(with_graph(own_model, rng.bytes(length)), "model.onnx")


def test_text_is_no_graph(own_model: Path) -> None:
    assert_invalid(with_graph(own_model, b"<html>404</html>"), "model.onnx")


def test_flipped_byte_in_a_sealed_graph_never_crashes(own_model: Path) -> None:
    data = (own_model / "model.onnx").read_bytes()
    for position in range(0, len(data), len(data) // 40):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        try:
            pscr.open(with_graph(own_model, bytes(damaged)), device="cpu", threads=1).close()
        except pscr.PscrError as error:
            assert error.status in (pscr.Status.MODEL_INVALID, pscr.Status.OUT_OF_MEMORY)  # noqa: PT017
            assert "model.onnx" in error.message  # noqa: PT017


def test_graph_whose_names_are_not_utf8_is_refused(own_model: Path) -> None:
    """Found by the fuzzer: onnxruntime loads such a graph and fails only where Python asks for the name."""
    model = tiny.graph()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "BATCH"
    data = model.SerializeToString()
    assert data.count(b"BATCH") == 1
    assert_invalid(with_graph(own_model, data.replace(b"BATCH", b"\xcb\xff\xfe\x80\xcb")), "model.onnx")


def test_graph_of_another_patch_size_is_refused(own_model: Path) -> None:
    edit(own_model, put("sampling", "patch", value=24))
    assert_invalid(own_model, "model.onnx", "24 pixels")


def test_graph_with_other_inputs_is_refused(own_model: Path) -> None:
    model = tiny.graph()
    model.graph.input[0].name = model.graph.node[0].input[0] = model.graph.node[1].input[0] = "picture"
    assert_invalid(with_graph(own_model, model.SerializeToString()), "picture uint8", "score graph")


def test_graph_that_fails_at_its_first_run_is_refused(own_model: Path) -> None:
    model = tiny.graph()
    initializer(model, "flat").raw_data = np.array([-1, 31, 32, 3], np.int64).tobytes()
    assert_invalid(with_graph(own_model, model.SerializeToString()), "model.onnx cannot be run")


def test_graph_whose_weights_are_not_finite_is_refused(own_model: Path) -> None:
    model = tiny.graph()
    initializer(model, "out").raw_data = np.full(tiny.WIDTH, np.nan, np.float32).tobytes()
    assert_invalid(with_graph(own_model, model.SerializeToString()), "model.onnx", "not finite")


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "sub/../weights.bin", "/etc/passwd", "/dev/zero"])
@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_graph_never_reads_another_file(
    own_model: Path, place: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    model = tiny.graph()
    conv = initializer(model, "conv")
    (own_model / "sub").mkdir()
    for folder in (own_model, own_model.parent):
        (folder / "weights.bin").write_bytes(conv.raw_data)
    for key, value in (("location", place), ("offset", "0"), ("length", str(len(conv.raw_data)))):
        conv.external_data.add(key=key, value=value)
    conv.ClearField("raw_data")
    conv.data_location = TensorProto.EXTERNAL
    with_graph(own_model, model.SerializeToString())
    monkeypatch.chdir(own_model)
    assert_invalid(own_model, "model.onnx", "other files", device=device)


def external(tensor: TensorProto) -> TensorProto:
    """The tensor with its data elsewhere."""
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def test_weights_elsewhere_are_found_wherever_a_graph_may_have_them() -> None:
    """As a weight, in an attribute, in one of an operator that only passes on, and where only the mark says so."""
    marked, constant, listed = tiny.graph(), tiny.graph(), tiny.graph()
    initializer(marked, "conv").data_location = TensorProto.EXTERNAL
    value = external(onnx.numpy_helper.from_array(np.zeros(3, np.float32)))
    constant.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["c"], value=value))
    listed.graph.node.insert(0, onnx.helper.make_node("Identity", ["scale"], ["c"], values=[value]))
    for model in (marked, constant, listed):
        assert_refused_unseen(model, "other files")


def assert_refused_unseen(model: onnx.ModelProto | bytes, *words: str) -> None:
    """The graph is refused before a library sees it."""
    with pytest.raises(pscr.PscrError) as caught:
        check_graph(model if isinstance(model, bytes) else model.SerializeToString())
    message = caught.value.message
    assert caught.value.status is pscr.Status.MODEL_INVALID
    assert all(word in message for word in ("model.onnx", "again", *words)), message
    assert "\n" not in message
    assert len(message) < 500


def wider(operator: str, **attributes: Any) -> onnx.ModelProto:
    """The graph with an operator on its pixels that has such attributes."""
    model = tiny.graph()
    place = next(number for number, node in enumerate(model.graph.node) if node.op_type == "Mul")
    inputs = ["planes", "wide"][: 1 + (operator == "Pad")]
    model.graph.node.insert(place, onnx.helper.make_node(operator, inputs, ["wider"], **attributes))
    model.graph.node[place + 1].input[0] = "wider"
    return model


@pytest.mark.parametrize(
    "operator",
    [
        *(
            "Resize",
            "Upsample",
            "Loop",
            "Scan",
            "If",
            "ConvTranspose",
            "MaxRoiPool",
            "RoiAlign",
            "AffineGrid",
            "EyeLike",
        ),
        *("MaxUnpool", "Col2Im", "GridSample", "Einsum", "Expand", "Compress", "Bernoulli", "Conv\n", "", "conv"),
    ],
)
def test_operators_that_no_score_graph_has_are_refused(operator: str) -> None:
    assert_refused_unseen(wider(operator), "uses", operator.strip() or "without a name")


def test_operators_of_other_domains_and_functions_are_refused() -> None:
    assert_refused_unseen(wider("Relu", domain="com.microsoft"), "com.microsoft")
    model = tiny.graph()
    model.functions.add(name="Relu", domain="").node.add(op_type="Relu")
    assert_refused_unseen(model, "functions")


@pytest.mark.parametrize("operator", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        *(("pads", numbers) for numbers in ([33, 0, 0, 0], [0, 0, 0, 2000], [1 << 40] * 4, [-1] * 4)),
        *((name, numbers) for name in ("strides", "dilations", "kernel_shape") for numbers in ([0, 0], [1, -1])),
    ],
)
def test_numbers_that_no_score_graph_has_are_refused(operator: str, name: str, numbers: list[int]) -> None:
    assert_refused_unseen(wider(operator, **{name: numbers}), name)
    check_graph(wider(operator, kernel_shape=[3, 3], pads=[1, 1, 2, 3]).SerializeToString())


@pytest.mark.parametrize(
    "stored", [onnx.numpy_helper.from_array, lambda array: onnx.helper.make_tensor("", 7, [8], array)]
)
def test_padding_is_as_wide_as_the_file_says_and_no_wider_than_usual(stored: Any) -> None:
    def padded(width: int) -> onnx.ModelProto:
        model = wider("Pad", mode="reflect")
        tensor = stored(np.array([0, 0, 0, 0, 0, 0, width, 0], np.int64))
        tensor.name = "wide"
        model.graph.initializer.append(tensor)
        return model

    check_graph(padded(3).SerializeToString())
    assert_refused_unseen(padded(5000), "Pad", "5000")
    assert_refused_unseen(wider("Pad"), "Pad", "computes")
    computed = wider("Pad")
    computed.graph.node.insert(0, onnx.helper.make_node("Identity", ["flat"], ["wide"]))
    assert_refused_unseen(computed, "Pad", "computes")


def test_one_of_many_is_taken_by_a_number_in_the_file_and_not_several() -> None:
    def taking(places: Any) -> onnx.ModelProto:
        model = wider("Gather")
        next(node for node in model.graph.node if node.op_type == "Gather").input.append("places")
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(places, np.int64), "places"))
        return model

    check_graph(taking(0).SerializeToString())
    assert_refused_unseen(taking([0, 0]), "Gather", "2 places")
    assert_refused_unseen(wider("Gather"), "Gather", "computes")


def test_sparse_weights_are_refused() -> None:
    model = tiny.graph()
    values, places = np.ones(1, np.float32), np.zeros(1, np.int64)
    sparse = onnx.helper.make_sparse_tensor(
        onnx.numpy_helper.from_array(values, "s"), onnx.numpy_helper.from_array(places, "i"), [25_000_000_000]
    )
    model.graph.sparse_initializer.append(sparse)
    assert_refused_unseen(model, "sparse")
    model = wider("Constant", sparse_value=sparse)
    assert_refused_unseen(model, "sparse")


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x00ORTM" + bytes(100),
        b"<?xml version='1.0'?><net name='n' version='11'><layers/><edges/></net>",
        b"\x08\x09",
        b"\xba\x80\x80\x80\x10\x00",
        b"\x3a\x7f",
        b"\x3b\x3c",
        b"",
    ],
    ids=[
        "onnxruntime's own format",
        "OpenVINO's",
        "no graph",
        "field 7 by its lower 32 bits",
        "cut",
        "groups",
        "empty",
    ],
)
@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_what_is_no_onnx_graph_reaches_no_library(own_model: Path, data: bytes, device: str) -> None:
    pytest.importorskip("openvino")
    assert_invalid(with_graph(own_model, data), "no ONNX graph", device=device)


def huge(operator: str, attributes: dict[str, Any] | None = None) -> onnx.ModelProto:
    """The graph with 100 GB out of one operator and a number, in place of the constant that scales pixels."""
    model = tiny.graph()
    make, add = onnx.helper.make_node, model.graph.initializer.append
    add(onnx.numpy_helper.from_array(np.array([25_000_000_000], np.int64), "size"))
    add(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "little"))
    inputs = {"ConstantOfShape": ["size"], "Expand": ["little", "size"], "Tile": ["little", "size"]}[operator]
    nodes = [make(operator, inputs, ["much"]), make("ReduceMax", ["much"], ["most"], keepdims=0)]
    nodes.append(make("Add", ["most", "scale"], ["scale and more"]))
    next(node for node in model.graph.node if node.op_type == "Mul").input[1] = "scale and more"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return model


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile"])
def test_small_graph_that_asks_for_100_gigabytes_is_refused_before_it_is_loaded(own_model: Path, operator: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = huge(operator).SerializeToString()
    assert len(data) < 10_000
    assert_invalid(with_graph(own_model, data), "model.onnx", operator, "any size")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_subgraphs_are_refused_in_whichever_operator(own_model: Path) -> None:
    inner = huge("Tile").graph
    branch = onnx.helper.make_graph(inner.node[:1], "branch", [], [], inner.initializer)
    assert_refused_unseen(wider("Relu", then_branch=branch), "graphs")
    assert_refused_unseen(wider("Relu", branches=[branch]), "graphs")


def test_shape_that_its_data_do_not_fill_is_refused_before_it_is_allocated(own_model: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shape in ([8, 3, 100_000, 10_000], [1 << 40], [5_000_000_000, 5], [-(1 << 20), -(1 << 20)]):
        for emptied in (False, True):
            model = tiny.graph()
            conv = initializer(model, "conv")
            del conv.dims[:]
            conv.dims.extend(shape)
            if emptied:
                conv.ClearField("raw_data")
            assert_refused_unseen(model, "has a tensor of")
            assert_invalid(with_graph(own_model, model.SerializeToString()), "model.onnx")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz", FILE_NAME])
def test_file_of_100_gigabytes_is_not_read(own_model: Path, name: str) -> None:
    """A sparse file: it takes no room on the disk, and reading it would end the process."""
    if name != FILE_NAME:
        edit(own_model, put("files", name, "size", value=100 << 30))
    try:
        os.truncate(own_model / name, 100 << 30)
    except OSError:
        pytest.skip("this file system has no files of that size")
    assert_invalid(own_model, name, f"has {100 << 30} bytes")
