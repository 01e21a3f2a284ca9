"""Networks of timm train, export and build like the project's own; small ones, with random weights."""

import numpy as np
import pytest
import torch
from engine_makers import profile
from onnx import TensorProto
from safetensors.torch import save_file
from training_run import label

pytest.importorskip("timm", reason="timm is not installed: pip install 'pscr[timm]'")

from pscr.export import trt_builder
from pscr.export.precision import to_half, to_int8
from pscr.export.run_source import of_run
from pscr.export.score_graph import to_onnx
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.pscr import signature
from pscr.training.model import build, load_pretrained
from pscr.training.train import main as train

CONVNEXT = "timm:test_convnext"
FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16
EXPORTED = (CONVNEXT, "timm:test_efficientnet", "timm:vit_xsmall_patch16_clip_224")


def test_a_network_says_what_it_sees_and_what_it_gives():
    model = build(CONVNEXT).eval()
    assert model.spec.patch == 224
    assert model.spec.blocks == 0
    with torch.inference_mode():
        assert model.backbone(torch.zeros(2, 3, 224, 224)).shape == (2, model.spec.channels)


@pytest.mark.parametrize(
    ("name", "sampling", "found"),
    [
        ("timm:nonesuch", "ops", "has no network 'nonesuch'"),
        ("timm:test_vit", "ops", "160x160 pixels and nothing else"),
        ("timm:vit_tiny_patch16_224", "dense", "224x224 pixels and nothing else"),
    ],
)
def test_networks_that_cannot_be_had_or_fed_are_refused(name, sampling, found):
    with pytest.raises(PscrError, match=found) as caught:
        build(name, sampling=sampling)
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_a_file_with_timms_own_names_is_loaded_without_its_classifier(tmp_path):
    source, model = build(CONVNEXT), build(CONVNEXT)
    state = source.backbone.named().state_dict()
    save_file({**state, "head.fc.weight": torch.zeros(7, model.spec.channels)}, tmp_path / "own.safetensors")
    load_pretrained(model, str(tmp_path / "own.safetensors"))
    loaded = model.backbone.named().state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_stochastic_depth_rises_to_the_rate_that_is_asked_for():
    model = build("timm:convnext_atto")
    model.backbone.set_drop_path(0.2)
    rates = [module.drop_prob for module in model.modules() if hasattr(module, "drop_prob")]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.2)


@pytest.mark.slow
def test_a_run_trains_every_parameter_and_exports(tmp_path):
    labels = label(tmp_path)
    options = ["--val=0", "--epochs=1", "--batch=6", "--patches=1", "--head-epochs=0", "--threads=1"]
    words = ["--data", f"csv:{labels}", "-o", str(tmp_path / "run"), *options]
    assert train([*words, "--backbone", CONVNEXT, "--pretrained=none"]) == 0
    trained = of_run(tmp_path / "run").model
    torch.manual_seed(1)
    start = build(CONVNEXT)
    moved = [bool((a != b).any()) for a, b in zip(trained.parameters(), start.parameters(), strict=True)]
    assert all(moved)
    to_onnx(trained, half_weights=False)


@pytest.fixture(scope="module", params=EXPORTED)
def exported(request):
    """A network, two images of two patches, and its graph in fp32 and fp16."""
    torch.manual_seed(0)
    model = build(request.param).eval()
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter += 0.02 * torch.randn_like(parameter)  # class tokens and scales of layers begin near zero
    side = model.spec.patch
    patches = np.random.default_rng(0).integers(0, 256, (2, 2, side, side, 3), np.uint8)
    graph = to_onnx(model, half_weights=False)
    return model, patches, {"fp32": graph, "fp16": to_half(graph)}


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "share"), [("fp32", 1e-4), ("fp16", 1e-2)])
def test_terms_of_the_graph_are_those_of_the_network(exported, precision, share):
    model, patches, graphs = exported
    with torch.inference_mode():
        expected = model.regressor.terms(model.features(torch.from_numpy(patches))).numpy()
    bank = Bank(np.zeros((1, expected.shape[1]), np.float32), np.ones(1, np.float32), ("a",))
    with OnnxRuntimeBackend(graphs[precision].SerializeToString(), signature(bank), model.spec.patch) as backend:
        found = backend.terms(patches)
    np.testing.assert_allclose(found, expected, atol=share * np.abs(expected).max())


@pytest.mark.slow
def test_norms_and_softmaxes_stay_in_full_precision(exported):
    graph = exported[2]["fp16"].graph
    widened = {node.output[0] for node in graph.node if node.op_type == "Cast" and node.attribute[0].i == FLOAT}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    assert all(kinds[node.input[1]] == FLOAT for node in norms)
    assert all(node.input[0] in widened for node in graph.node if node.op_type == "Softmax")
    assert all(kinds[node.input[1]] == FLOAT16 for node in graph.node if node.op_type == "Conv")


@pytest.mark.slow
def test_a_transformer_in_int8_is_refused(exported):
    _, patches, graphs = exported
    if not any(node.op_type == "Softmax" for node in graphs["fp32"].graph.node):
        pytest.skip("a convolutional network")
    with pytest.raises(PscrError, match="use fp16"):
        to_int8(graphs["fp32"], [patches[0]], 1)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_engines_build(exported, precision):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")
    model, _, graphs = exported
    shapes = profile(model.spec.patch, model.spec.channels)
    built = trt_builder.build(graphs[precision].SerializeToString(), "tensorrt_rtx", precision, [shapes], ["8.6"])
    assert list(built.types) == [{"fp32": "FLOAT", "fp16": "HALF"}[precision]]
