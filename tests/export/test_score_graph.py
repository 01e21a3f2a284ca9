"""The exported graph is the trained network, whatever the batch, the number of patches and the bank."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from pscr.export import score_graph
from pscr.export.baking import bake
from pscr.runtime.bank import Bank
from pscr.runtime.families.pscr import OUTPUTS, signature
from pscr.training.model import build, load_pretrained

pytestmark = pytest.mark.slow

SIDE = 224


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    result = build("efficientnet_lite0").eval()
    load_pretrained(result, "imagenet")
    return result


@pytest.fixture(scope="module")
def exact(model):
    """The graph with its weights in full precision."""
    return score_graph.to_onnx(model, half_weights=False)


@pytest.fixture(scope="module")
def session(exact):
    return ort.InferenceSession(exact.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def patches():
    """Two images of two patches each: smooth shapes, not noise."""
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = [
        np.stack([np.sin(x / (9 + i)), np.cos(y / (7 + j)), np.sin((x + y) / 11)], -1) for i in (0, 5) for j in (0, 3)
    ]
    return (127 + 100 * np.stack(waves)).astype(np.uint8).reshape(2, 2, SIDE, SIDE, 3)


@pytest.fixture(scope="module")
def bank(model):
    torch.manual_seed(4)
    with torch.inference_mode():
        terms = model.regressor.terms(torch.rand(5, 1280)).numpy()
    return terms, np.linspace(0, 4, 5, dtype=np.float32)


def run(session, patches, bank):
    feed = {"patches": patches, "bank_terms": bank[0], "bank_scores": bank[1]}
    return dict(zip(OUTPUTS, session.run(list(OUTPUTS), feed), strict=True))


def test_the_fused_graph_equals_the_published_computation(model, session, patches):
    """Every query against every exemplar through the unfused network and the concatenating regressor."""
    exemplar_scores = torch.tensor([1.0, 3.5])
    with torch.inference_mode():
        features = model.features(torch.from_numpy(patches))
        expected = torch.stack(
            [exemplar_scores + model.regressor(query.expand(2, -1), features) for query in features]
        ).numpy()
        terms = model.regressor.terms(features).numpy()
    found = run(session, patches, (terms, exemplar_scores.numpy()))
    np.testing.assert_allclose(found["votes"], expected, atol=1e-4)
    np.testing.assert_allclose(found["score"], expected.mean(1), atol=1e-4)
    np.testing.assert_allclose(found["terms"], terms, atol=1e-3)


def test_names_types_and_free_dimensions_are_those_of_the_contract(exact):
    def signature(values):
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    uint8, float32 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    assert signature(exact.graph.input) == {
        "patches": (uint8, ["N", "P", SIDE, SIDE, 3]),
        "bank_terms": (float32, ["K", 1280]),
        "bank_scores": (float32, ["K"]),
    }
    assert signature(exact.graph.output) == {
        "score": (float32, ["N"]),
        "votes": (float32, ["N", "K"]),
        "terms": (float32, ["N", 1280]),
    }


def test_the_graph_is_one_file_for_inference_and_names_no_machine(exact):
    assert [(entry.domain, entry.version) for entry in exact.opset_import] == [("", score_graph.OPSET)]
    assert not any(tensor.external_data for tensor in exact.graph.initializer)
    assert not {"BatchNormalization", "Dropout"} & {node.op_type for node in exact.graph.node}
    assert not any(node.metadata_props or node.doc_string for node in exact.graph.node)


def test_a_uint8_input_meets_a_cast_first(exact):
    readers = [node.op_type for node in exact.graph.node if "patches" in node.input]
    assert set(readers) <= {"Cast", "Shape"}


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_score_depends_on_its_own_image_only(session, patches, bank, size):
    alone = [run(session, image[None], bank)["score"][0] for image in patches]
    for position in range(size):
        batch = np.stack([patches[0] if i == position else patches[1] for i in range(size)])
        scores = run(session, batch, bank)["score"]
        assert abs(scores[position] - alone[0]) < 1e-4
        assert all(abs(score - alone[1]) < 1e-4 for i, score in enumerate(scores) if i != position)


def test_any_number_of_patches_and_exemplars_runs(session, patches, bank):
    single = run(session, patches.reshape(4, 1, SIDE, SIDE, 3), bank)
    assert single["votes"].shape == (4, 5)
    one = run(session, patches, (bank[0][:1], bank[1][:1]))
    np.testing.assert_allclose(one["votes"][:, 0], run(session, patches, bank)["votes"][:, 0], atol=1e-5)


def test_half_precision_weights_on_disk_cost_less_than_the_gate_allows(model, exact, session, patches, bank):
    halved = score_graph.to_onnx(model, half_weights=True)
    assert halved.ByteSize() < 0.6 * exact.ByteSize()
    half = ort.InferenceSession(halved.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(run(half, patches, bank)["score"], run(session, patches, bank)["score"], atol=1e-3)


def test_the_baked_graph_needs_patches_only_and_scores_the_same(exact, session, patches, bank):
    baked = bake(exact, signature(Bank(*bank, ("exemplar",) * len(bank[1]))))
    assert [value.name for value in baked.graph.input] == ["patches"]
    alone = ort.InferenceSession(baked.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = run(session, patches, bank)
    for name, value in zip(OUTPUTS, alone.run(list(OUTPUTS), {"patches": patches}), strict=True):
        np.testing.assert_allclose(value, expected[name], atol=1e-5)


@pytest.mark.parametrize("half_weights", [True, False])
def test_tensorrt_parses_the_graph_strongly_typed_and_builds_an_engine(model, half_weights):
    trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    data = score_graph.to_onnx(model, half_weights=half_weights).SerializeToString()
    assert parser.parse(data), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    for name, low, high in (
        ("patches", (1, 9, SIDE, SIDE, 3), (8, 9, SIDE, SIDE, 3)),
        ("bank_terms", (1, 1280), (2385, 1280)),
        ("bank_scores", (1,), (2385,)),
    ):
        profile.set_shape(name, low, low, high)
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    assert plan.nbytes > 20_000_000
