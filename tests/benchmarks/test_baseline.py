"""The denominator of the headline computes what the runtime computes; multiply-adds are those of a known network."""

import baseline
import graph_cost
import numpy as np
import pytest
import torch
from tiny_model import graph as tiny_graph

import pscr
from pscr.bench.pictures import jpegs
from pscr.runtime.image import load

pytestmark = pytest.mark.slow

# torchvision's ResNet18 at 224x224 without its classifier, by hand from the layer table of He et al. (2015), table 1:
# 7x7 stem; four 3x3 layers of 64 channels at 56x56; then, at half the side and twice the width, three times
# one 3x3 layer from half the width, three of the full one, and a 1x1 shortcut.
STEM = 112**2 * 64 * 3 * 49
FIRST = 4 * 56**2 * 64 * 64 * 9
LATER = sum(s**2 * c * (c // 2 * 9 + 3 * c * 9 + c // 2) for s, c in ((28, 128), (14, 256), (7, 512)))
RESNET18 = STEM + FIRST + LATER


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """ResNet18 with random weights: the network, its images, exemplars' scores and model folder."""
    torch.set_num_threads(1)
    images = jpegs()[:3]
    model = baseline.network("resnet18:ops", images)
    scores = np.array([1.0, 2.5, 4.0], np.float32)
    folder = baseline.ship(model, "resnet18", tmp_path_factory.mktemp("baseline") / "model", images, scores)
    return model, images, scores, folder


def test_every_way_gives_the_published_score_to_1e_4(shipped):
    model, images, scores, folder = shipped
    ways = baseline.Published(model, images, scores)
    found = []
    with pscr.open(folder, device="cpu", threads=1) as scorer:
        for data in images[:2]:
            expected = ways.published(data)
            found.append(expected)
            others = (ways.query_once(data), ways.folded(data), scorer.score(data).score)
            assert others == pytest.approx([expected] * 3, abs=baseline.TOLERANCE)
    assert np.ptp(found) > 0.05, "the images must differ, or equal scores say nothing"


def test_a_wrong_score_stops_the_comparison():
    published = [(100.0, 1.0), (100.0, 2.0)]
    assert baseline.agreed("a", [(1.0, 1.0), (1.0, 2.00005)], published) == 5e-5
    with pytest.raises(ValueError, match=r"resnet18:ops, runtime: scores differ by 0\.0002"):
        baseline.agreed("resnet18:ops, runtime", [(1.0, 1.0), (1.0, 2.0002)], published)
    with pytest.raises(ValueError, match="differ by nan"):
        baseline.agreed("a", [(1.0, float("nan")), (1.0, 2.0)], published)


def test_turns_alternate_and_the_first_counts_not():
    seen = []
    ways = {name: lambda data, name=name: seen.append((name, data)) or 1.0 for name in "ab"}
    found = baseline.in_turns(ways, [b"0", b"1"], 2)
    assert seen == [("a", b"1"), ("b", b"1"), ("a", b"0"), ("b", b"0"), ("a", b"1"), ("b", b"1")]
    assert [len(times) for times in found.values()] == [2, 2]


def test_multiply_adds_of_resnet18_are_those_of_its_layer_table(shipped):
    folder = shipped[3]
    cost = graph_cost.count((folder / "model.onnx").read_bytes(), (1, 1), 3)
    assert cost.by_operator["Conv"] == RESNET18 == 1_813_561_344
    regressor = 2 * 512 * 512 + 3 * 512  # the query's half, the exemplar's half, and three exemplars' votes
    assert cost.multiply_adds - RESNET18 == regressor
    weights = sum(p.numel() for p in shipped[0].parameters())
    assert cost.least_bytes == pytest.approx(4 * weights, rel=0.01)
    assert cost.layer_bytes > cost.least_bytes


def test_multiply_adds_grow_with_images_and_patches():
    data = tiny_graph().SerializeToString()
    one, four = (graph_cost.count(data, shape, 5).by_operator["Conv"] for shape in ((1, 1), (2, 2)))
    assert one == 15 * 15 * 8 * 3 * 9
    assert four == 4 * one


def test_a_graph_that_multiplies_elsewhere_is_refused():
    model = tiny_graph()
    model.graph.node[5].op_type = "QLinearConv"
    with pytest.raises(ValueError, match="the graph has QLinearConv; expected"):
        graph_cost.count(model.SerializeToString(), (1, 1), 5)


def test_one_pass_in_int8_scores_near_the_one_in_fp32(tmp_path):
    images = jpegs()[:4]
    dense = baseline.in_one_pass(baseline.network("efficientnet_lite0:ops", images))
    scores = np.array([1.0, 2.5, 4.0, 3.0], np.float32)
    folder = baseline.ship(dense, "dense", tmp_path / "dense", images, scores)
    cut = [dense.sampling.cut(load(data)) for data in images]
    int8 = baseline.quantised(folder, tmp_path / "int8", cut)
    assert (int8 / "model.onnx").stat().st_size < 0.7 * (folder / "model.onnx").stat().st_size
    found = []
    for model in (folder, int8):
        with pscr.open(model, device="cpu", threads=1) as scorer:
            assert scorer.manifest.precision == ("fp32" if model == folder else "int8")
            found.append([(1.0, scorer.score(data).score) for data in images])
    apart = baseline.apart(*found)
    assert 0 < apart < 0.8 * np.ptp([score for _, score in found[0]])
