"""A reduced regressor keeps what varies, drops what does not, and is exported as the network it became."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from random_network import settled, structure

from pscr import PscrError
from pscr.export.reduction import factors, reduce
from pscr.export.score_graph import to_onnx
from pscr.runtime.families.pscr import OUTPUTS
from pscr.training.model import PSCR, build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> PSCR:
    torch.manual_seed(1)
    return build("efficientnet_lite0").eval()


def in_directions(images: int, directions: int, channels: int = 1280) -> torch.Tensor:
    """Features that lie in a few directions around a mean that is not zero."""
    torch.manual_seed(2)
    return 3 + torch.randn(images, directions) @ torch.randn(directions, channels) / directions**0.5


def differences(model: PSCR, features: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.regressor.differences(model.regressor.query_part(features), model.regressor.terms(features))


def test_features_of_few_directions_lose_nothing(model: PSCR) -> None:
    features = in_directions(60, 5)
    before = [tensor.clone() for tensor in model.regressor.state_dict().values()]
    small = reduce(model, features, 6)  # five directions, and none for the mean
    expected = differences(model, features)
    torch.testing.assert_close(differences(small, features), expected, atol=1e-4, rtol=0)
    too_small = differences(reduce(model, features, 2), features)
    assert (too_small - expected).abs().max() > 0.01
    assert all(torch.equal(a, b) for a, b in zip(model.regressor.state_dict().values(), before, strict=True))


def test_the_mean_is_kept_whatever_the_rank(model: PSCR) -> None:
    """The hidden layer's mean input, before its ReLU, is that of the whole regressor."""
    features = in_directions(60, 20)
    small = reduce(model, features, 1)
    with torch.inference_mode():
        sums = [(one.regressor.query_part(features) + one.regressor.terms(features)).mean(0) for one in (model, small)]
    torch.testing.assert_close(sums[1], sums[0], atol=1e-3, rtol=0)


def test_the_factors_are_the_layer(model: PSCR) -> None:
    small = reduce(model, in_directions(60, 20), 8)
    basis, query, exemplar = factors(small, 8)
    assert (basis.shape, query.shape, exemplar.shape) == ((1280, 8), (8, 1280), (8, 1280))
    weight = small.regressor.fc1.weight
    torch.testing.assert_close((basis @ query).T, weight[:, :1280], atol=1e-5, rtol=1e-3)
    torch.testing.assert_close((basis @ exemplar).T, weight[:, 1280:], atol=1e-5, rtol=1e-3)


def test_the_exported_graph_is_the_reduced_network_and_a_smaller_file() -> None:
    model = settled("efficientnet_lite0")
    patches = (structure(6, 224).clamp(-2, 2) * 60 + 128).to(torch.uint8).permute(0, 2, 3, 1)[:, None].contiguous()
    with torch.inference_mode():
        features = model.features(patches)
        small = reduce(model, features, 4)
        terms, scores = small.regressor.terms(features).numpy(), np.linspace(1, 4, 6, dtype=np.float32)
    expected = differences(small, features).numpy() + scores
    whole, proto = to_onnx(model, False), to_onnx(small, False, 4)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"patches": patches.numpy(), "bank_terms": terms, "bank_scores": scores}
    score, votes, found = session.run(list(OUTPUTS), feed)
    np.testing.assert_allclose(votes, expected, atol=1e-4)
    np.testing.assert_allclose(score, expected.mean(1), atol=1e-4)
    np.testing.assert_allclose(found, terms, atol=1e-4)
    assert whole.ByteSize() - proto.ByteSize() > 0.95 * 4 * (2 * 1280 * 1280 - 3 * 4 * 1280)


@pytest.mark.parametrize("rank", [-1, 0, 5, 10_000])
def test_a_rank_that_cannot_be_is_said(model: PSCR, rank: int) -> None:
    with pytest.raises(PscrError, match=f"--rank {rank}: expected 1 to 4"):
        reduce(model, in_directions(5, 3), rank)


def test_direct_regression_has_nothing_to_reduce() -> None:
    direct = build("efficientnet_lite0", "nr", "resize").eval()
    with pytest.raises(PscrError, match="direct regression"):
        reduce(direct, in_directions(60, 5), 4)
