"""Precision lives in the graph: the trunk changes its type, the rest stays fp32, and scores hardly move."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_model as tiny
from onnx import TensorProto, numpy_helper

import pscr
from pscr.export import tolerance
from pscr.export.difference import compare
from pscr.export.drawing import draw
from pscr.export.precision import to_half, to_int8
from pscr.export.to_onnx import main
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.families.pscr import signature
from pscr.runtime.manifest import Manifest
from pscr.runtime.models import PACKAGED, packaged

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
IMAGES = str(ROOT / "examples" / "images")
DEFAULT = PACKAGED / packaged()[0]


@pytest.fixture(scope="module")
def default() -> onnx.ModelProto:
    return onnx.load(DEFAULT / "model.onnx")


def types(proto: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor of a graph, by name."""
    graph = onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph
    found = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    return {**found, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


def ends(proto: onnx.ModelProto) -> list[bytes]:
    return [value.SerializeToString() for value in (*proto.graph.input, *proto.graph.output)]


def test_fp16_is_the_trunk_and_nothing_else(default: onnx.ModelProto) -> None:
    half = to_half(default)
    kinds = types(half)
    assert ends(half) == ends(default)
    for node in half.graph.node:
        touched = {kinds[name] for name in (*node.input, *node.output) if name} & {
            TensorProto.FLOAT,
            TensorProto.FLOAT16,
        }
        if node.op_type == "Cast":
            continue
        assert len(touched) <= 1, f"{node.name} mixes single and half precision"
        if node.op_type in ("Conv", "Clip"):
            assert touched == {TensorProto.FLOAT16}, node.name
        if node.op_type in ("MatMul", "ReduceMean", "Sub", "Div"):
            assert touched == {TensorProto.FLOAT}, node.name


def test_the_graph_that_is_converted_stays_as_it_was(default: onnx.ModelProto) -> None:
    before = default.SerializeToString(deterministic=True)
    to_half(default)
    assert default.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
def test_int8_is_explicit_and_per_channel(target: str) -> None:
    images = [np.random.default_rng(i).integers(0, 256, (2, 32, 32, 3), np.uint8) for i in range(4)]
    proto = to_int8(tiny.graph(), images, 0, target)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    origin = {name: node for node in proto.graph.node for name in node.output}
    assert ends(proto) == ends(tiny.graph())
    (conv,) = (node for node in proto.graph.node if node.op_type == "Conv")
    data, weight = origin[conv.input[0]], origin[conv.input[1]]
    assert (data.op_type, weight.op_type) == ("DequantizeLinear", "DequantizeLinear")
    assert stored[weight.input[0]].dtype == np.int8
    assert stored[weight.input[1]].shape == (tiny.WIDTH,), "a scale for each output channel"
    assert not stored[weight.input[2]].any(), "symmetric weights"
    zero = stored[data.input[2]]
    assert zero.dtype == (np.int8 if target == "tensorrt" else np.uint8)
    assert target == "cpu" or not zero.any(), "symmetric activations"


def test_int8_for_cpus_quantises_biases_as_well(default: onnx.ModelProto) -> None:
    images = draw([], Manifest.read(DEFAULT).sampling, "fp32").judging[:1]
    proto = to_int8(default, [images[0][:1]], 6, "cpu")
    origin = {name: node.op_type for node in proto.graph.node for name in node.output}
    biases = [origin.get(node.input[2]) for node in proto.graph.node if node.op_type == "Conv"]
    assert biases == [None] * 6 + ["DequantizeLinear"] * (len(biases) - 6)


def test_int8_leaves_as_many_leading_convolutions_in_float_as_asked(default: onnx.ModelProto) -> None:
    images = draw([], Manifest.read(DEFAULT).sampling, "fp32").judging[:1]
    proto = to_int8(default, [images[0][:1]], 6)
    origin = {name: node.op_type for node in proto.graph.node for name in node.output}
    kinds = [origin.get(node.input[1]) == "DequantizeLinear" for node in proto.graph.node if node.op_type == "Conv"]
    assert kinds == [False] * 6 + [True] * (len(kinds) - 6)


def test_a_folder_in_fp16_scores_like_the_one_in_fp32_and_says_by_how_much(tmp_path: Path) -> None:
    assert main([str(DEFAULT), "-o", str(tmp_path / "half"), "--precision", "fp16"]) == 0
    manifest = Manifest.read(tmp_path / "half")
    assert (manifest.precision, manifest.name) == ("fp16", "half")
    assert 0 < manifest.parity["largest_difference"] <= manifest.parity["tolerance"] == 0.02
    assert manifest.parity["tolerance_share"] == 0.004
    image = ROOT / "examples" / "images" / "astronaut.jpg"
    with (
        pscr.open(DEFAULT, device="cpu", threads=1) as full,
        pscr.open(tmp_path / "half", device="cpu", threads=1) as half,
    ):
        assert half.score(image).score == pytest.approx(full.score(image).score, abs=0.02)
        assert half.info["precision"] == "fp16"


def test_int8_of_a_folder_is_calibrated_on_images_and_written_whole(tiny_model: Path, tmp_path: Path) -> None:
    words = [str(tiny_model), "-o", str(tmp_path / "small"), "--precision", "int8", "--calibrate", IMAGES]
    assert main([*words, "--threads", "1"]) == 0
    manifest = Manifest.read(tmp_path / "small")
    assert (manifest.precision, manifest.parity["made_for"], manifest.parity["images"]) == ("int8", "tensorrt", 5)
    assert manifest.parity["drawn"].startswith("calibrated on 3 and judged on 5 of 8 images")
    assert (manifest.parity["tolerance"], manifest.parity["tolerance_share"]) == (0.15, 0.03)
    assert (manifest.parity["median_tolerance"], manifest.parity["median_tolerance_share"]) == (0.03, 0.006)
    with pscr.open(tmp_path / "small", device="cpu", threads=1) as scorer:
        assert scorer.score(ROOT / "examples" / "images" / "astronaut.jpg").ok


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--precision", "int8"], 2, "--calibrate IMAGES"),
        (["--precision", "fp32"], 2, "is a model folder"),
        (["--precision", "fp16", "--calibrate", "/nowhere/at/all"], 3, "/nowhere/at/all"),
    ],
)
def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: Sequence[str],
    code: int,
    says: str,
) -> None:
    assert main([str(tiny_model), "-o", str(tmp_path / "out"), *words]) == code
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_difference_above_the_tolerance_fails_and_leaves_nothing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tolerance.CONVERTED, "fp16", 0.0)
    monkeypatch.setattr(tolerance, "UNITS", 0)
    assert main([str(tiny_model), "-o", str(tmp_path / "out"), "--precision", "fp16"]) == 3
    assert "changes scores too far" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_converted_already_is_not_converted_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = to_half(onnx.load(DEFAULT / "model.onnx"))
    with pytest.raises(pscr.PscrError, match="not in fp32"):
        to_half(half)


def test_a_difference_is_in_opinion_score_units() -> None:
    found = compare(np.array([1.0, 2.0, 3.0], np.float32), np.array([1.0, 2.5, 2.9], np.float32))
    assert (found.images, found.largest, found.srcc) == (3, 0.5, 1.0)
    assert found.median == pytest.approx(0.1, abs=1e-6)
    assert found.to_dict()["largest_difference"] == 0.5


def test_int8_for_tensorrt_runs_in_onnxruntime_too(default: onnx.ModelProto) -> None:
    manifest = Manifest.read(DEFAULT)
    images = draw([IMAGES], manifest.sampling, "fp32").judging[:4]
    bank = pscr.runtime.bank.Bank.read(DEFAULT / "bank.npz")
    proto = to_int8(default, [image[::4] for image in images], 9)
    found = []
    for graph in (default, proto):
        with OnnxRuntimeBackend(graph.SerializeToString(), signature(bank), manifest.sampling.patch) as backend:
            found.append(np.concatenate([backend.infer(image[None]).scores for image in images]))
    assert np.abs(found[0] - found[1]).max() < 0.3


def test_the_converters_leave_the_root_logger_as_it_was(tiny_model: Path) -> None:
    """A handler that they gave it would tell every line of ours twice; in this process pytest has given it its own."""
    code = (
        "import logging, onnx, sys; from pscr.export.precision import to_int8; import numpy as np;"
        "to_int8(onnx.load(sys.argv[1]), [np.zeros((1, 32, 32, 3), np.uint8)], 0); print(logging.root.handlers)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_model / "model.onnx")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
