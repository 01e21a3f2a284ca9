"""With the real tensorrt_rtx and no GPU: a packaged model becomes an engine of the very precision it is named by."""

from __future__ import annotations

import dataclasses

import onnx
import pytest

from pscr.export import profiles, trt_builder
from pscr.export.drawing import draw
from pscr.export.model_folder import StoredModel
from pscr.export.precision import to_half, to_int8
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import Manifest
from pscr.runtime.models import PACKAGED, packaged

pytestmark = pytest.mark.slow

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")
ALL = trt_builder.PORTABLE


def built(name: str, graph: bytes, precision: str, capability: str = "8.9") -> trt_builder.Built:
    """An engine of a packaged model's graph, with the profiles that it has by default."""
    chosen = profiles.choose(graph, StoredModel.read(name), static=precision != "int8")
    return trt_builder.build(graph, "tensorrt_rtx", precision, chosen, [capability])


def in_each_precision(name: str) -> dict[str, bytes]:
    """A packaged model's graph in each precision."""
    folder = PACKAGED / name
    proto = onnx.load(folder / "model.onnx")
    images = [patches[:1] for patches in draw([], Manifest.read(folder).sampling, "fp32").judging[:2]]
    protos = {"fp32": proto, "fp16": to_half(proto), "int8": to_int8(proto, images, 6)}
    return {precision: made.SerializeToString() for precision, made in protos.items()}


@pytest.fixture(scope="module")
def default() -> dict[str, bytes]:
    """One packaged model's graph in each precision."""
    return in_each_precision(packaged()[0])


@pytest.fixture(scope="module")
def by_model(default) -> dict[str, dict[str, bytes]]:
    """Every packaged model's graph in each precision."""
    return {name: default if name == packaged()[0] else in_each_precision(name) for name in packaged()}


@pytest.mark.parametrize("capability", ALL)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", packaged())
def test_every_packaged_model_builds_for_each_compute_capability(by_model, name, precision, capability):
    """An ensemble has several first convolutions that int8 leaves in float."""
    graph = by_model[name][precision]
    total = sum(node.op_type == "Conv" for node in onnx.load_from_string(graph).graph.node)
    floats = 6 * len(Manifest.read(PACKAGED / name).backbone.split(" + "))
    kinds = {"fp32": {"FLOAT": total}, "fp16": {"HALF": total}, "int8": {"FLOAT": floats, "INT8": total - floats}}
    assert built(name, graph, precision, capability).types == kinds[precision]


def test_the_convolutions_that_are_counted_are_all_of_them(default):
    """What `total` above counts: EfficientNet-Lite0 has 49."""
    assert sum(node.op_type == "Conv" for node in onnx.load_from_string(default["fp32"]).graph.node) == 49


@pytest.mark.parametrize("name", packaged())
def test_a_plan_in_fp32_under_the_name_of_fp16_is_refused_by_its_size(by_model, name):
    full, half = (built(name, by_model[name][precision], precision) for precision in ("fp32", "fp16"))
    with pytest.raises(PscrError, match="was not built in that precision"):
        trt_builder.check_size(dataclasses.replace(half, plan=full.plan), "fp16")


@pytest.mark.parametrize(
    ("graph_is", "named"), [("fp32", "fp16"), ("fp16", "fp32"), ("fp32", "int8"), ("fp16", "int8")]
)
def test_an_engine_is_not_named_by_a_precision_it_does_not_have(default, graph_is, named):
    with pytest.raises(PscrError) as caught:
        built(packaged()[0], default[graph_is], named)
    assert caught.value.status is Status.MODEL_INVALID
    assert "found" in caught.value.message
    assert "does not have" in caught.value.message


def test_one_convolution_in_fp32_is_found_and_named(default):
    """The leak that a careless conversion leaves: a layer that is cast to fp32 and back."""
    proto = onnx.load_from_string(default["fp16"])
    nodes = proto.graph.node
    place, conv = [(i, node) for i, node in enumerate(nodes) if node.op_type == "Conv"][7]
    for number, name in enumerate(conv.input):
        cast = onnx.helper.make_node("Cast", [name], [f"leak{number}"], to=onnx.TensorProto.FLOAT)
        conv.input[number] = f"leak{number}"
        nodes.insert(place, cast)
    back = onnx.helper.make_node("Cast", ["leak.out"], [conv.output[0]], to=onnx.TensorProto.FLOAT16)
    nodes.insert(place + len(conv.input) + 1, back)
    leaking = next(node for node in nodes if node.name == conv.name)
    leaking.output[0] = "leak.out"
    with pytest.raises(PscrError, match=rf"{conv.name}.*found FLOAT; expected HALF"):
        built(packaged()[0], proto.SerializeToString(), "fp16")


def test_a_plan_of_the_wrong_size_is_refused():
    small = trt_builder.Built(b"x" * 30_000_000, "1", {"HALF": 49}, 1.0, 20_000_000)
    with pytest.raises(PscrError) as caught:
        trt_builder.check_size(small, "fp16")
    assert caught.value.status is Status.ENGINE_INCOMPATIBLE


def test_a_graph_that_does_not_parse_is_refused_in_the_librarys_words():
    with pytest.raises(PscrError) as caught:
        trt_builder.build(b"no graph", "tensorrt_rtx", "fp32", [], ["8.9"])
    assert caught.value.status is Status.MODEL_INVALID
    assert "does not take this graph" in caught.value.message


@pytest.mark.parametrize("capability", ["9.0", "6.1"])
def test_a_compute_capability_that_the_library_does_not_know_is_refused_with_those_it_does(default, capability):
    with pytest.raises(PscrError) as caught:
        built(packaged()[0], default["fp32"], "fp32", capability)
    assert caught.value.status is Status.DEVICE_UNAVAILABLE
    assert "7.5, 8.0, 8.6, 8.9, 12.0" in caught.value.message


INSPECTED = {
    "10": '{"Layers": [{"Name": "conv1", "LayerType": "CaskConvolution", "Inputs": [{"Format/Datatype": "%s"}], '
    '"Outputs": [{"Format/Datatype": "%s"}]}, {"Name": "cast", "Inputs": [], "Outputs": []}]}',
    "11": '{"Layers": [{"Name": "conv1", "Inputs": [{"Datatype": "%s"}], "Outputs": [{"DataType": "%s"}]}]}',
}


@pytest.mark.parametrize("form", INSPECTED)
@pytest.mark.parametrize("words", ["Half", "FP16", "Channel major FP16 format where channel % 8 == 0"])
def test_the_inspectors_words_are_told_in_either_form(form, words):
    """Written after the documented forms, not taken from an engine: there is no GPU here to load one."""
    assert "HALF in 1" in trt_builder.summarise(INSPECTED[form] % (words, words))


def test_the_inspectors_words_are_not_judged():
    """TensorRT for RTX makes one layer of the whole graph, which takes uint8 and gives fp32 whatever it computes in."""
    whole = '{"Layers": [{"Name": "graph", "Inputs": [{"Datatype": "UInt8"}], "Outputs": [{"Datatype": "Float"}]}]}'
    assert trt_builder.summarise(whole) == "of 1 layers the inspector names FLOAT in 1"
    assert "names no types" in trt_builder.summarise('{"Layers": ["conv1", "conv2"]}')
    assert "lists no layers" in trt_builder.summarise("")
