"""From a training run to a model folder, and nothing left behind where that fails."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from training_run import OPTIONS, label

import pscr
from pscr.export import tolerance
from pscr.export.agreement import measure
from pscr.export.run_source import read_run
from pscr.export.to_onnx import main
from pscr.runtime import verification
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.families.pscr import signature
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest
from pscr.training.run_folder import RunFolder
from pscr.training.train import main as train

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    assert train(["--data", f"csv:{label(folder)}", "-o", str(folder / "run"), *OPTIONS]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def model(run):
    folder = run.parent / "model"
    assert main([str(run), "-o", str(folder), "--bake-bank", "--weights", "float"]) == 0
    return folder


def test_the_folder_scores_like_the_network_that_was_trained(run, model):
    network, _ = read_run(run, RunFolder(run).config())
    image = load(run.parent / "11.png")
    bank = Bank.read(model / "bank.npz")
    with torch.inference_mode():
        features = network.features(torch.from_numpy(network.sampling.cut(image)[None]))
        exemplars = [network.sampling.cut(load(run.parent / name))[None] for name in bank.names]
        others = torch.cat([network.features(torch.from_numpy(patches)) for patches in exemplars])
        votes = torch.from_numpy(bank.scores) + network.regressor(features.expand(len(others), -1), others)
    with pscr.open(model, device="cpu") as scorer:
        result = scorer.score(run.parent / "11.png")
    assert result.score == pytest.approx(float(votes.mean()), abs=1e-3)
    assert result.spread == pytest.approx(float(votes.std(correction=0)), abs=1e-3)


def test_the_bank_holds_every_training_image_and_no_other(run, model):
    assert sorted(Bank.read(model / "bank.npz").names) == sorted(json.loads((run / "split.json").read_text())["train"])


def test_the_manifest_tells_the_whole_story(model):
    manifest = Manifest.read(model)
    assert (manifest.name, manifest.backbone, manifest.precision) == ("model", "efficientnet_lite0", "fp32")
    assert manifest.sampling.starts == (0, 150, 288)
    assert manifest.score.database == "labels"
    assert manifest.bank == {"size": 9, "selection": "all of the 9 training images"}
    low, high = manifest.score.range
    assert manifest.parity["tolerance_share"] == tolerance.PARITY
    assert manifest.parity["batch_tolerance_share"] == tolerance.BATCH
    for name in ("", "batch_"):
        allowed = manifest.parity[f"{name}tolerance_share"] * (high - low)
        assert manifest.parity[f"{name}tolerance"] == pytest.approx(allowed, rel=0.01)
        assert manifest.parity[f"{name}largest_difference"] <= allowed
    assert manifest.golden["tolerance"] == pytest.approx(tolerance.GOLDEN * (high - low), rel=0.01)
    assert manifest.score.meaning == "mean opinion score of quality (score)"
    assert set(manifest.files) == {"model.onnx", "bank.npz", "model-baked.onnx"}


def test_the_manifest_has_the_held_out_figures_and_their_intervals(model):
    """Three images are held out: too few for the fitted curve, which is left out rather than made up."""
    metrics = Manifest.read(model).training["metrics"]
    assert set(metrics) == {"srcc", "krcc", "plcc", "rmse", "srcc_95", "plcc_95", "protocol", "date"}
    assert isinstance(metrics["srcc"], float)
    assert isinstance(metrics["plcc"], float)
    for name in ("srcc", "plcc"):
        low, high = metrics[f"{name}_95"]
        assert -1 <= low <= high <= 1


def test_held_out_figures_include_the_fitted_curve_and_are_said_with_intervals(run, model, caplog):
    caplog.set_level(logging.INFO)
    everything = RunFolder(run).config().load_database().items
    sampling, bank = Manifest.read(model).sampling, Bank.read(model / "bank.npz")
    with OnnxRuntimeBackend((model / "model.onnx").read_bytes(), signature(bank), sampling.patch, threads=1) as backend:
        measured = measure(backend, sampling, everything)
        assert measure(backend, sampling, everything[:1]) == {}
        same = measure(backend, sampling, [everything[0]] * 6)
    assert set(measured) == {"srcc", "krcc", "plcc", "plcc_fitted", "rmse", "srcc_95", "plcc_95"}
    assert measured["srcc_95"][0] < measured["srcc"] <= measured["srcc_95"][1]
    said = caplog.text
    assert f"SRCC {measured['srcc']:.4f} ({measured['srcc_95'][0]:.4f} to {measured['srcc_95'][1]:.4f})" in said
    assert f"PLCC_FITTED {measured['plcc_fitted']:.4f}" in said
    assert set(same) == {"rmse"}, "what is not defined must not reach the manifest, which has no NaN"


def test_the_label_reaches_the_manifest(run, tmp_path):
    own = tmp_path / "run"
    own.mkdir()
    for name in ("config.json", "split.json", "best.safetensors"):
        (own / name).write_bytes((run / name).read_bytes())
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, "label": "alignment"}))
    assert main([str(own), "-o", str(tmp_path / "model"), "--bank", "spread:2"]) == 0
    meaning = Manifest.read(tmp_path / "model").score.meaning
    assert meaning == "mean opinion score of text-to-image alignment (score)"


def test_no_path_of_this_machine_is_exported(run, model):
    for file in model.iterdir():
        assert str(run.parent).encode() not in file.read_bytes()
        assert str(ROOT).encode() not in file.read_bytes()


def test_golden_scores_are_kept(model):
    with pscr.open(model, device="cpu") as scorer:
        for name, promised, found in verification.check(scorer):
            assert found == pytest.approx(promised, abs=1e-3), name


def test_the_baked_graph_gives_the_scorers_number(run, model):
    with pscr.open(model, device="cpu") as scorer:
        patches = scorer.patches(run.parent / "3.png")[None]
        expected = scorer.infer(patches).scores
    session = ort.InferenceSession(model / "model-baked.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["score"], {"patches": patches})[0], expected, atol=1e-5)


def test_the_same_run_exports_to_the_same_bytes(run, model, tmp_path):
    assert main([str(run), "-o", str(tmp_path / "model"), "--bake-bank", "--weights", "float"]) == 0
    for file in model.iterdir():
        assert (tmp_path / "model" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_run_exports_in_half_precision_with_its_parity(run, model, tmp_path):
    """Its own training images are compared; nothing but the model folder is left."""
    assert main([str(run), "-o", str(tmp_path / "half"), "--precision", "fp16", "--weights", "float"]) == 0
    manifest, full = Manifest.read(tmp_path / "half"), Manifest.read(model)
    assert (manifest.name, manifest.precision, manifest.bank) == ("half", "fp16", full.bank)
    assert manifest.parity["images"] == 9
    assert manifest.parity["compared"].startswith("fp16 against fp32")
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


def test_a_failed_parity_gate_exits_non_zero_and_leaves_nothing(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tolerance, "PARITY", 0.0)
    monkeypatch.setattr(tolerance, "UNITS", 0)  # weights in half precision on disk: there is always a difference
    assert main([str(run), "-o", str(tmp_path / "model")]) == 3
    assert "parity FAILED" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("damage", "code", "says"),
    [
        (lambda run: (run / "config.json").unlink(), 3, "not a run of pscr train"),
        (lambda run: (run / "config.json").write_text("{"), 3, "not a configuration"),
        (lambda run: (run / "best.safetensors").write_bytes(b"junk"), 3, "not a checkpoint"),
        (lambda run: (run / "best.safetensors").unlink(), 3, "no such checkpoint"),
        (lambda run: (run / "split.json").write_text("[]"), 3, "not a split"),
    ],
)
def test_a_run_that_cannot_be_used_is_one_clear_line(run, tmp_path, capsys, damage, code, says):
    own = tmp_path / "run"
    own.mkdir()
    for name in ("config.json", "split.json", "best.safetensors"):
        (own / name).write_bytes((run / name).read_bytes())
    damage(own)
    assert main([str(own), "-o", str(tmp_path / "model")]) == code
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_a_bank_that_cannot_be_chosen_is_refused(run, tmp_path, capsys):
    assert main([str(run), "-o", str(tmp_path / "model"), "--bank", "random:1000"]) == 2
    assert "expected all, spread:K or random:K" in capsys.readouterr().err


def test_it_runs_as_a_script_and_as_a_module():
    for command in (["export/to_onnx.py"], ["-m", "pscr.export.to_onnx"]):
        done = subprocess.run(
            [sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert "--bake-bank" in done.stdout
