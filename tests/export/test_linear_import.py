"""CONTRIQUE, ARNIQA and Re-IQA become model folders whose scores are those of the published computation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import linear_files as published
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import pscr
from pscr.commands.main import main
from pscr.export import parity, to_trt
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import Manifest

pytestmark = pytest.mark.slow

# Two of one size, which go together; some odd, some below a crop of 224 pixels, or their halves.
SIZES = ((96, 128), (96, 128), (131, 97), (256, 300), (225, 451))
SHARE = 1e-4  # of the range


@pytest.fixture(scope="module")
def states() -> list[published.State]:
    return [published.random_state(seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def folder(states: list[published.State], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the authors publish, by their names, and the parity gate with fewer batches."""
    folder = tmp_path_factory.mktemp("published")
    torch.save(published.contrique(states[0]), folder / "CONTRIQUE_checkpoint25.tar")
    torch.save(published.arniqa(states[0]), folder / "ARNIQA.pth")
    for state, name in zip(states, ("quality_aware_r50.pth", "content_aware_r50.pth"), strict=True):
        torch.save(published.reiqa(state), folder / name)
    published.ridge(folder / "LIVE.save", *published.linear(4096, 100.0, 50.0))
    kadid = published.LinearModule(*published.linear(4096, 20.0, 3.0))
    published.torch_script(folder / "regressor_kadid10k.pth", kadid)
    published.ridge(folder / "koniq.pkl", *published.linear(8192, 30.0, 50.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "BATCHES", (2,))
        yield folder


@pytest.fixture(scope="module")
def contrique(folder: Path) -> Path:
    return imported(folder, "contrique", "--encoder", "CONTRIQUE_checkpoint25.tar", "--regressor", "LIVE.save")


def imported(folder: Path, method: str, *words: str, output: str = "") -> Path:
    """The model folder that `pscr import` writes; words that name a file of `folder` stand for it."""
    model = folder / (output or f"model-{method}")
    given = [str(folder / word) if (folder / word).is_file() else word for word in words]
    assert main(["import", method, *given, "-o", str(model), "--threads", "1"]) == 0
    return model


def pictures() -> list[Image.Image]:
    return [published.pictures(size)[place % 4] for place, size in enumerate(SIZES)]


def assert_scores(model: Path, expected: Callable[[Image.Image], Tensor], width: float) -> None:
    """The model scores as published, one image at a time and in batches of what may go together."""
    images = pictures()
    with torch.inference_mode():
        wanted = [float(expected(image)) for image in images]
    with pscr.open(model, "cpu", 1) as scorer:
        arrays = [np.asarray(image) for image in images]
        found = [result.score for result in scorer.score_many(arrays, pixel_format="rgb", batch=4)]
        alone = scorer.score(arrays[2], pixel_format="rgb").score
    assert np.ptp(wanted) > 50 * SHARE * width, "scores that hardly differ prove nothing"
    assert np.abs(np.subtract(found, wanted)).max() < SHARE * width
    assert abs(alone - wanted[2]) < SHARE * width


def test_contrique_scores_as_published(contrique: Path, states: list[published.State]) -> None:
    weights, intercept = published.linear(4096, 100.0, 50.0)
    network = published.ResNet50(states[0])
    assert_scores(
        contrique, lambda image: published.contrique_features(network, image) @ torch.tensor(weights) + intercept, 100.0
    )
    manifest = Manifest.read(contrique)
    assert (manifest.family, manifest.backbone, manifest.sampling.method) == ("linear", "resnet50", "whole")
    assert (manifest.score.database, manifest.score.range, manifest.score.higher_is_better) == ("LIVE", (0, 100), False)
    assert "none stated" in manifest.licence
    assert "pavancm/CONTRIQUE" in manifest.training["source"]
    assert manifest.training["files"]["encoder"]["name"] == "CONTRIQUE_checkpoint25.tar"
    assert manifest.parity["largest_difference"] <= manifest.parity["tolerance"] == 0.002
    assert main(["verify", str(contrique)]) == 0


def test_contrique_compares_with_the_original_as_published(folder: Path, states: list[published.State]) -> None:
    weights, intercept = published.linear(4096, 100.0, 50.0)
    published.ridge(folder / "LIVE_FR.save", weights, intercept)
    given = ["--encoder", "CONTRIQUE_checkpoint25.tar", "--regressor", "LIVE_FR.save"]
    model = imported(folder, "contrique", *given, output="model-full-reference")
    assert Manifest.read(model).family == "full-reference"
    network, images = published.ResNet50(states[0]), published.pictures((131, 97))
    with torch.inference_mode():
        features = [published.contrique_features(network, image).flatten() for image in images]
    wanted = [float((features[0] - one).abs() @ torch.tensor(weights) + intercept) for one in features]
    arrays = [np.asarray(image) for image in images]
    with pscr.open(model, "cpu", 1) as scorer:
        found = [one.score for one in scorer.score_many(arrays, pixel_format="rgb", reference=arrays[0])]
        itself = scorer.score(arrays[0], pixel_format="rgb", reference=arrays[0]).score
    assert np.ptp(wanted) > 50 * SHARE * 100
    assert np.abs(np.subtract(found, wanted)).max() < SHARE * 100
    assert itself == np.float32(intercept)
    assert main(["verify", str(model)]) == 0


def test_the_head_inside_a_graph_is_refused_where_the_graph_sees_no_original(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--encoder", folder / "CONTRIQUE_checkpoint25.tar", "--regressor", folder / "LIVE.save"]
    words = ["import", "contrique", *map(str, given), "--full-reference", "--bake-bank", "-o", str(folder / "baked")]
    assert main(words) != 0
    assert "leave the form with the head inside out" in capsys.readouterr().err
    assert not (folder / "baked").exists()


@pytest.mark.parametrize("protocol", ["test", "hub", "pyiqa"])
def test_arniqa_scores_as_published_by_each_protocol(
    protocol: str, folder: Path, states: list[published.State]
) -> None:
    words = ["--encoder", "ARNIQA.pth", "--regressor", "regressor_kadid10k.pth", "--protocol", protocol]
    model = imported(folder, "arniqa", *words, output=f"model-{protocol}")
    weights, intercept = published.linear(4096, 20.0, 3.0)
    network = published.ResNet50(states[0])

    def score(image: Image.Image) -> Tensor:
        opinion = published.arniqa_features(network, image, protocol) @ torch.tensor(weights) + intercept
        return (opinion - 1) / 4  # KADID-10k's 1 to 5, as the authors' hub scales them

    assert_scores(model, score, 1.0)
    scale = Manifest.read(model).score
    assert (scale.database, scale.range, scale.higher_is_better) == ("kadid10k", (0, 1), True)


def test_reiqa_scores_as_published_with_a_regressor_of_ones_own(folder: Path, states: list[published.State]) -> None:
    words = ["--quality", "quality_aware_r50.pth", "--content", "content_aware_r50.pth", "--regressor", "koniq.pkl"]
    model = imported(folder, "reiqa", *words, "--range", "0", "100")
    weights, intercept = published.linear(8192, 30.0, 50.0)
    networks = [published.ResNet50(state) for state in states]
    assert_scores(
        model, lambda image: published.reiqa_features(*networks, image) @ torch.tensor(weights) + intercept, 100.0
    )


def test_reiqa_without_a_regressor_gives_features_and_says_what_is_missing(
    folder: Path, states: list[published.State], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--quality", "quality_aware_r50.pth", "--content", "content_aware_r50.pth"]
    model = imported(folder, "reiqa", *words, output="features")
    image = pictures()[0]
    with pscr.open(model, "cpu", 1) as scorer, torch.inference_mode():
        found = scorer.terms(scorer.patches(np.asarray(image), pixel_format="rgb")[None])[0]
        expected = published.reiqa_features(*(published.ResNet50(state) for state in states), image)
        assert np.abs(found - expected.numpy()).max() < 1e-4 * float(expected.max())
        with pytest.raises(PscrError) as caught:
            scorer.score(np.asarray(image), pixel_format="rgb")
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert "pscr regress" in caught.value.message
    assert Manifest.read(model).golden is None
    given = [str(folder / word) if "." in word else word for word in words]
    assert main(["import", "reiqa", *given, "-o", str(model), "--precision", "fp16"]) == 2
    assert "without a regressor" in capsys.readouterr().err


def test_a_regressor_of_another_width_is_refused_and_nothing_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published.ridge(folder / "CLIVE.save", *published.linear(2048, 300.0, 50.0))
    words = ["--encoder", str(folder / "CONTRIQUE_checkpoint25.tar"), "--regressor", str(folder / "CLIVE.save")]
    assert main(["import", "contrique", *words, "-o", str(folder / "narrow")]) == 3
    errors = capsys.readouterr().err
    assert "has 2048 weights, and contrique finds 4096" in errors
    assert not (folder / "narrow").exists()


def test_engines_are_built_in_fp32_and_in_fp16_with_half_scale_and_head_in_fp32(
    contrique: Path, tmp_path: Path
) -> None:
    """The conversion itself refuses scores that move too far, and the builder products that are not in fp32."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")
    for precision in ("fp32", "fp16"):
        options = to_trt.EngineExport(
            model=contrique,
            library="tensorrt_rtx",
            precision=precision,
            batch=(1, 1, 4),
            compute_capability=("8.6", "8.9"),
            output=tmp_path,
        )
        built = to_trt.export_engine(options)
        sides = [shape[2:4] for shape in built.engine.sidecar.profile["patches"]]
        assert sides == [[64, 64], [512, 512], [1024, 1024]]
        assert set(built.built.types) == {{"fp32": "FLOAT", "fp16": "HALF"}[precision]}
        assert built.built.weights < {"fp32": 100e6, "fp16": 50e6}[precision], "both scales share them"
