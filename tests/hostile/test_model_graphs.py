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
def test_graph_never_reads_another_file(own_model: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert_invalid(own_model, "model.onnx")


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


def test_unbounded_operator_in_a_subgraph_is_found(own_model: Path) -> None:
    model, inner = tiny.graph(), huge("Tile").graph
    branch = onnx.helper.make_graph(inner.node[:1], "branch", [], [], inner.initializer)
    model.graph.node.insert(0, onnx.helper.make_node("If", ["c"], ["x"], then_branch=branch, else_branch=branch))
    assert_invalid(with_graph(own_model, model.SerializeToString()), "Tile")


def test_shape_that_its_data_do_not_fill_is_refused_before_it_is_allocated(own_model: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shape in ([8, 3, 100_000, 10_000], [1 << 40], [5_000_000_000, 5]):
        model = tiny.graph()
        del initializer(model, "conv").dims[:]
        initializer(model, "conv").dims.extend(shape)
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
