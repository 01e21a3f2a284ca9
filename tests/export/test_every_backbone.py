"""Every backbone exports, and the runtime's scores are the unfused network's."""

import cv2
import numpy as np
import pytest
import torch
from random_network import settled

from pscr.export.score_graph import to_onnx
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.graph_check import check_graph
from pscr.training.backbones import BACKBONES

PATCHES = {"vgg16": 2, "vgg19": 2, "inception_v4": 2}  # of the nine: these take seconds per patch
OPINIONS = np.linspace(0.5, 4.5, 5, dtype=np.float32)


def images() -> list[np.ndarray]:
    """A smooth image and a rough one, 512x512 RGB."""
    y, x = np.mgrid[:512, :512]
    smooth = 127 + 100 * np.stack([np.sin(x / 31), np.cos(y / 23), np.sin((x + y) / 47)], -1)
    rough = cv2.resize(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8), (512, 512))
    return [smooth.astype(np.uint8), rough]


@pytest.mark.parametrize("name", BACKBONES)
def test_scores_of_the_exported_graph_are_the_networks_own(name):
    model = settled(name)
    patches = np.stack([model.sampling.cut(image)[: PATCHES.get(name, 9)] for image in images()])
    regressor = model.regressor
    with torch.inference_mode():
        features = model.features(torch.from_numpy(patches))
        exemplars = features.mean(0) + features.std(0) * torch.randn(len(OPINIONS), features.shape[1])
        pairs = [regressor(query.expand(len(exemplars), -1), exemplars) for query in features]
        # Random regressors predict hardly any difference; make the largest 1, so that 1e-3 is worth checking.
        regressor.fc2.weight /= (torch.stack(pairs) - regressor.fc2.bias).abs().max()
        expected = torch.stack(
            [torch.from_numpy(OPINIONS) + regressor(query.expand(len(exemplars), -1), exemplars) for query in features]
        ).numpy()
        terms = regressor.terms(exemplars).numpy()
        own_terms = regressor.terms(features).numpy()
    bank = Bank(terms, OPINIONS, tuple("abcde"))
    graph = to_onnx(model, half_weights=False).SerializeToString()
    check_graph(graph)  # no operator that the runtime refuses
    with OnnxRuntimeBackend(graph, bank, model.spec.patch) as backend:
        scores, votes = backend.infer(patches)
        found_terms = backend.terms(patches)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # so that equal scores are no accident
    np.testing.assert_allclose(scores, expected.mean(1), atol=1e-3)
    np.testing.assert_allclose(votes, expected, atol=1e-3)
    np.testing.assert_allclose(found_terms, own_terms, atol=1e-3 * np.abs(own_terms).max())
