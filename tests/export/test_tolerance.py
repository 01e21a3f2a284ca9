"""Tolerances are shares of the score's range: the same network passes on any scale, and a wrong one on none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_model as tiny
import torch
from published_file import as_published
from random_network import settled
from training_run import label

import pscr
from pscr.export import ensemble, import_pscr, parity, tolerance
from pscr.export.convert import convert, convert_folder
from pscr.export.drawing import draw
from pscr.export.score_graph import to_onnx
from pscr.runtime import verification
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.pscr import signature
from pscr.runtime.manifest import Manifest
from pscr.runtime.samplings import Pixels
from pscr.training.model import PSCR

pytestmark = pytest.mark.slow

IMAGES = str(Path(__file__).parents[2] / "examples" / "images")
OPINIONS = np.linspace(0.5, 4.5, 5, dtype=np.float32)
FACTORS = [1, 20]  # labels of 0 to 5, and of 0 to 100
AFAR = 2600  # a random regressor's differences times this lie beyond 127


@pytest.mark.parametrize(
    ("share", "score_range", "scores", "units"),
    [
        (tolerance.PARITY, (0, 5), [0.1, 4.9], 1e-3),
        (tolerance.PUBLISHED, (0, 5), [-1.0, 6.0], 1e-4),
        (tolerance.PARITY, (0, 100), [3.0, 96.0], 0.02),
        (tolerance.BATCH, (1, 2), [1.5], 2e-5),
        (tolerance.CONVERTED["fp16"], (0, 1), [0.5], 4e-3),
        (tolerance.PUBLISHED, (1.5, 4), [127.0, 336.0], 128 * 2**-15),  # float32 between 256 and 512
        (tolerance.PUBLISHED, (1.5, 4), [-336.0], 128 * 2**-15),
        (tolerance.PUBLISHED, (0, 5), [np.nan, np.inf, 1.0], 1e-4),
    ],
)
def test_a_tolerance_is_a_share_of_the_range_and_never_finer_than_float32(
    share: float, score_range: tuple[float, float], scores: list[float], units: float
) -> None:
    found = tolerance.allowed(share, score_range, scores)
    assert found.units == pytest.approx(units, rel=0.005)
    assert found.share * (score_range[1] - score_range[0]) == pytest.approx(found.units, rel=0.01)
    assert found.entry("batch_") == {"batch_tolerance": found.units, "batch_tolerance_share": found.share}


def test_a_tolerance_says_what_it_follows_from() -> None:
    assert str(tolerance.allowed(tolerance.PARITY, (0, 100), [50])) == "0.02, 0.02 % of the range 0 to 100"
    assert "float32 needs for scores as large as 336" in str(tolerance.allowed(tolerance.BATCH, (1.5, 4), [336]))


def test_scores_that_float32_cannot_tell_apart_on_their_scale_are_refused() -> None:
    with pytest.raises(PscrError, match="opinions reach from 0 to 5: float32 cannot tell 1% of that range") as caught:
        tolerance.allowed(tolerance.PARITY, (0, 5), [1.0], [1e6])
    assert caught.value.status is Status.MODEL_INVALID


@pytest.fixture(scope="module")
def network() -> PSCR:
    return settled("efficientnet_lite0")


@pytest.fixture(scope="module")
def patches(network: PSCR) -> list[Pixels]:
    """Two patches of each of four images, smooth to rough."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (side, side, 3), np.uint8) for side in (8, 32, 128, 512)]
    return [network.sampling.cut(cv2.resize(image, (512, 512)))[:2] for image in noise]


@pytest.fixture(scope="module")
def bank(network: PSCR, patches: list[Pixels]) -> Bank:
    with torch.inference_mode():
        features = torch.cat([network.features(torch.from_numpy(image[None])) for image in patches])
        spread = torch.randn(len(OPINIONS), features.shape[1], generator=torch.Generator().manual_seed(0))
        terms = network.regressor.terms(features.mean(0) + features.std(0) * spread)
    return Bank(terms.numpy(), OPINIONS, tuple("abcde"))


@contextmanager
def on_scale(network: PSCR, bank: Bank, factor: float) -> Iterator[OnnxRuntimeBackend]:
    """The network as labels `factor` times as large would have made it, and its exported graph with their bank."""
    last = network.regressor.fc2
    kept = {name: value.clone() for name, value in last.state_dict().items()}
    with torch.no_grad():
        for parameter in last.parameters():
            parameter *= 5 * factor  # random regressors tell images apart by hardly anything
    data, scores = to_onnx(network, half_weights=True).SerializeToString(), bank.scores * np.float32(factor)
    try:
        with OnnxRuntimeBackend(data, signature(replace(bank, scores=scores)), 224, threads=1) as backend:
            yield backend
    finally:
        last.load_state_dict(kept)


@pytest.mark.parametrize("factor", FACTORS)
def test_parity_passes_on_labels_of_any_scale_and_an_error_of_1_percent_on_none(
    network: PSCR, patches: list[Pixels], bank: Bank, monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    monkeypatch.setattr(parity, "BATCHES", (1, 3))  # fewer passes; test_score_graph.py looks at batches
    with on_scale(network, bank, factor) as backend:
        found = parity.check(network, backend, patches, (0, 5 * factor))
        assert found.ok, str(found)
        assert found.to_dict()["tolerance"] == 1e-3 * factor
        assert found.to_dict()["tolerance_share"] == tolerance.PARITY
        assert f"0.02 % of the range 0 to {5 * factor})" in str(found)
        if factor > 1:
            assert found.largest > 1e-3, "which a tolerance in units of 0 to 5 would refuse"
        with torch.no_grad():
            network.regressor.fc2.bias += 0.01 * 5 * factor
        wrong = parity.check(network, backend, patches, (0, 5 * factor))
        assert not wrong.ok
        assert "parity FAILED" in str(wrong)


def test_a_published_checkpoint_whose_scores_lie_between_127_and_336_is_exported(
    network: PSCR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its exemplars' scores reach from 1.5 to 4, of which 2e-5 is two units of float32's last place up there."""
    monkeypatch.setattr(parity, "BATCHES", (1, 2))
    label(tmp_path)
    (tmp_path / "exemplars.csv").write_text("path,score\n2.png,1.5\n8.png,4\n")
    last = network.regressor.fc2
    kept = {name: value.clone() for name, value in last.state_dict().items()}
    with torch.no_grad():
        for parameter in last.parameters():
            parameter *= AFAR
    as_published(network, tmp_path / "best_model.pt")
    last.load_state_dict(kept)
    words = [str(tmp_path / "best_model.pt"), "--backbone", "efficientnet_lite0", "--threads", "1"]
    words += ["--bank-csv", str(tmp_path / "exemplars.csv"), "-o", str(tmp_path / "model")]
    assert import_pscr.main(words) == 0, capsys.readouterr().err
    manifest = Manifest.read(tmp_path / "model")
    assert manifest.score.range == (1.5, 4)
    with pscr.open(tmp_path / "model", device="cpu", threads=1) as scorer:
        scores = [scorer.score(tmp_path / name).score for name in ("2.png", "8.png")]
        assert all(promised == pytest.approx(found, abs=1e-3) for _, promised, found in verification.check(scorer))
    assert 127 < min(scores) < max(scores) < 336
    assert manifest.parity["tolerance"] == pytest.approx(128 * 2**-15, rel=0.005)
    assert 5e-5 < manifest.parity["largest_difference"] <= manifest.parity["tolerance"]
    assert "which float32 needs for scores as large as" in capsys.readouterr().err


def scaled(factor: int, deltas: float) -> tuple[bytes, Bank]:
    """The tiny model's graph and bank on a scale of 0 to 5 * factor; deltas: how far apart it puts the images."""
    parts = tiny.weights()
    stronger = replace(parts, out=parts.out * np.float32(factor * deltas))
    return tiny.graph(stronger).SerializeToString(), replace(parts.bank, scores=parts.bank.scores * np.float32(factor))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(("precision", "good", "bad"), [("fp16", 100, 1000), ("int8", 15, 300)])
def test_a_conversion_is_judged_alike_on_labels_of_any_scale(
    precision: str, good: float, bad: float, factor: int
) -> None:
    images = draw([IMAGES], tiny.SAMPLING, precision)
    graph, bank = scaled(factor, good)
    made = convert(graph, precision, tiny.SAMPLING, signature(bank), images, score_range=(0, 5 * factor))
    assert made.ok
    assert made.parity()["tolerance"] == tolerance.CONVERTED[precision] * 5 * factor
    assert made.parity()["tolerance_share"] == tolerance.CONVERTED[precision]
    if factor > 1:
        assert made.difference.largest > tolerance.CONVERTED[precision] * 5, "too far on a scale of 0 to 5"
    graph, bank = scaled(factor, bad)
    with pytest.raises(PscrError, match=f"of the range 0 to {5 * factor}") as caught:
        convert(graph, precision, tiny.SAMPLING, signature(bank), images, score_range=(0, 5 * factor))
    assert caught.value.status is Status.MODEL_INVALID


def test_who_knows_better_names_another_tolerance() -> None:
    assert tolerance.converted("fp16") == (4e-3, None)
    assert tolerance.converted("int8") == (3e-2, 6e-3)
    assert tolerance.converted("int8", 0.06) == (0.06, 0.012), "the median follows"
    for wrong in (0, -1, 1.5, float("nan")):
        with pytest.raises(PscrError, match="expected a share"):
            tolerance.converted("int8", wrong)
    images = draw([IMAGES], tiny.SAMPLING, "int8")
    graph, bank = scaled(1, 300)
    made = convert(graph, "int8", tiny.SAMPLING, signature(bank), images, score_range=(0, 5), tolerated=1)
    assert made.ok
    assert made.parity()["tolerance"] == 5


def on_100(folder: Path, seed: int = 7) -> Path:
    """The tiny model's folder on a scale of 0 to 100."""
    parts = tiny.weights(seed)
    bank = replace(parts.bank, scores=parts.bank.scores * np.float32(20))
    folder.mkdir()
    (folder / "model.onnx").write_bytes(tiny.graph(replace(parts, out=parts.out * np.float32(20))).SerializeToString())
    bank.write(folder / "bank.npz")
    manifest = tiny.manifest()
    replace(manifest, score=replace(manifest.score, range=(0.0, 100.0))).write(folder, ["model.onnx", "bank.npz"])
    return folder


def test_what_is_made_of_a_folder_promises_its_scores_by_its_range(tmp_path: Path) -> None:
    pair = [on_100(tmp_path / f"tiny{seed}", seed) for seed in (7, 8)]
    assert ensemble.main([*map(str, pair), "-o", str(tmp_path / "both"), "--threads", "1"]) == 0
    joined = Manifest.read(tmp_path / "both")
    assert (joined.parity["tolerance"], joined.parity["tolerance_share"]) == (2e-3, tolerance.ENSEMBLE)
    assert verification.tolerance(joined) == 0.02
    for precision, units in (("fp16", 0.4), ("int8", 3.0)):
        convert_folder(pair[0], tmp_path / precision, precision, draw([IMAGES], tiny.SAMPLING, precision))
        assert verification.tolerance(Manifest.read(tmp_path / precision)) == units
        with pscr.open(tmp_path / precision, device="cpu", threads=1) as scorer:
            assert all(promised == pytest.approx(found, abs=1e-3) for _, promised, found in verification.check(scorer))
