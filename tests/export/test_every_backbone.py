"""Every backbone trains and exports, and the runtime's scores are the unfused network's, published file or not."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from engine_makers import profile
from published_file import as_published
from random_network import settled
from training_run import label

from pscr.export import published, trt_builder
from pscr.export.precision import to_half
from pscr.export.run_source import read_run
from pscr.export.score_graph import to_onnx
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.families.pscr import signature
from pscr.runtime.graph_check import check_graph
from pscr.training.backbones import BACKBONES
from pscr.training.model import PSCR
from pscr.training.run_folder import RunFolder
from pscr.training.train import main as train

pytestmark = pytest.mark.slow

PATCHES = {"vgg16": 2, "vgg19": 2, "inception_v4": 2}  # of the nine: these take seconds per patch
OPINIONS = np.linspace(0.5, 4.5, 5, dtype=np.float32)


def images() -> list[np.ndarray]:
    """A smooth image and a rough one, 512x512 RGB."""
    y, x = np.mgrid[:512, :512]
    smooth = 127 + 100 * np.stack([np.sin(x / 31), np.cos(y / 23), np.sin((x + y) / 47)], -1)
    rough = cv2.resize(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8), (512, 512))
    return [smooth.astype(np.uint8), rough]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return label(tmp_path_factory.mktemp("labelled"))


def trained(name: str, labels: Path, folder: Path) -> PSCR:
    """The backbone after two steps of `pscr train`, from random weights in a file of the public checkpoints' names."""
    start = settled(name)
    torch.save(start.backbone.state_dict(), folder / "random.pth")
    options = [
        "--val=0",
        "--epochs=1",
        "--batch=6",
        "--patches=1",
        "--head-epochs=0",
        "--frozen-blocks=0",
        "--threads=1",
    ]
    options += ["--backbone", name, "--pretrained", str(folder / "random.pth"), "--crops=random"]
    assert train(["--data", f"csv:{labels}", "-o", str(folder / "run"), *options]) == 0
    model, _ = read_run(folder / "run", RunFolder(folder / "run").config())
    moved = [bool((a != b).any()) for a, b in zip(model.parameters(), start.parameters(), strict=True)]
    assert all(moved), "every parameter trains"
    return model


@dataclass(frozen=True)
class Exported:
    """A trained network as it was read back from a published file, its graph, and what the two are compared on."""

    model: PSCR
    graph: onnx.ModelProto
    patches: np.ndarray
    exemplars: torch.Tensor


@pytest.fixture(scope="module", params=BACKBONES)
def exported(request, labelled, tmp_path_factory):
    """Trained for two steps, written as the authors write, read back, exported; once for all tests of a backbone."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    model = trained(name, labelled, folder)
    patches = np.stack([model.sampling.cut(image)[: PATCHES.get(name, 9)] for image in images()])
    with torch.inference_mode():
        features = model.features(torch.from_numpy(patches))
        exemplars = features.mean(0) + features.std(0) * torch.randn(len(OPINIONS), features.shape[1])
        # Such regressors predict hardly any difference; make the largest 1, so that 1e-4 is worth checking.
        pairs = [model.regressor(query.expand(len(exemplars), -1), exemplars) for query in features]
        model.regressor.fc2.weight /= (torch.stack(pairs) - model.regressor.fc2.bias).abs().max()
    found, epoch = published.read(as_published(model, folder / "best_model.pt"), name)
    assert epoch == 41
    return Exported(found, to_onnx(found, half_weights=False), patches, exemplars)


def test_scores_of_the_exported_graph_are_the_published_computation(exported):
    """To 1e-4."""
    regressor, exemplars = exported.model.regressor, exported.exemplars
    with torch.inference_mode():
        features = exported.model.features(torch.from_numpy(exported.patches))
        expected = torch.stack(
            [torch.from_numpy(OPINIONS) + regressor(query.expand(len(exemplars), -1), exemplars) for query in features]
        ).numpy()
        terms = regressor.terms(exemplars).numpy()
        own_terms = regressor.terms(features).numpy()
    bank = Bank(terms, OPINIONS, tuple("abcde"))
    graph = exported.graph.SerializeToString()
    check_graph(graph)  # no operator that the runtime refuses
    with OnnxRuntimeBackend(graph, signature(bank), exported.model.spec.patch) as backend:
        scores, votes, _ = backend.infer(exported.patches)
        found_terms = backend.terms(exported.patches)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # so that equal scores are no accident
    np.testing.assert_allclose(scores, expected.mean(1), atol=1e-4)
    np.testing.assert_allclose(votes, expected, atol=1e-3)
    np.testing.assert_allclose(found_terms, own_terms, atol=1e-3 * np.abs(own_terms).max())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_backbone_builds_for_every_compute_capability(exported, precision):
    """With the real tensorrt_rtx and no GPU: one portable plan; packaged models are built for each capability alone."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")
    proto, spec = exported.graph, exported.model.spec
    data = (to_half(proto) if precision == "fp16" else proto).SerializeToString()
    shapes = profile(spec.patch, spec.channels)
    built = trt_builder.build(data, "tensorrt_rtx", precision, [shapes], trt_builder.PORTABLE)
    convolutions = sum(node.op_type == "Conv" for node in proto.graph.node)
    assert built.types == {{"fp32": "FLOAT", "fp16": "HALF"}[precision]: convolutions}
    assert built.weights < len(built.plan) < 1.1 * built.weights + 4e6, "the size is that of the weights in their type"
