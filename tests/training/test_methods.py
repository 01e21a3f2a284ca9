"""Every method and sampling trains, exports, and scores in the runtime as it did in torch."""

import numpy as np
import pytest
import torch
from training_run import OPTIONS, label

import pscr
from pscr import PscrError
from pscr.export import parity
from pscr.export.run_source import read_run
from pscr.export.to_onnx import main as export
from pscr.runtime.bank import Bank
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest
from pscr.training.config import Config
from pscr.training.evaluate import main as evaluate
from pscr.training.model import build
from pscr.training.recipes import defaults
from pscr.training.run_folder import RunFolder
from pscr.training.train import main as train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return label(tmp_path_factory.mktemp("labelled"))


@pytest.mark.parametrize(
    ("options", "sampling", "patches"),
    [
        (["--method=cr", "--precision=bf16"], "resize", 1),
        (["--method=nr"], "resize", 1),
        (["--sampling=rps", "--accumulate=2"], "rps", 9),
        (["--sampling=nops", "--recipe=published", "--batch-norm=frozen"], "nops", 4),
    ],
)
def test_the_runtime_scores_as_the_trained_network_does(labelled, tmp_path, monkeypatch, options, sampling, patches):
    monkeypatch.setattr(parity, "BATCHES", (1, 3))  # fewer passes; test_score_graph.py looks at batches
    run, folder = tmp_path / "run", tmp_path / "model"
    given = [option for option in OPTIONS if not option.startswith(("--epochs", "--patches"))]
    assert train(["--data", f"csv:{labelled}", "-o", str(run), *given, "--epochs=1", *options]) == 0
    assert export([str(run), "-o", str(folder), "--weights=float"]) == 0
    network, _ = read_run(run, RunFolder(run).config())
    manifest = Manifest.read(folder)
    assert manifest.sampling == network.sampling
    assert (manifest.sampling.method, manifest.sampling.count) == (sampling, patches)
    assert manifest.training["method"] == RunFolder(run).config().method
    image = labelled.parent / "11.png"
    with torch.inference_mode():
        query = features(network, image)
        if network.direct:
            assert (manifest.family, manifest.bank, set(manifest.files)) == ("direct", {}, {"model.onnx"})
            votes = mean_opinion(labelled, run) + network.regressor(query, query).numpy()
        else:
            bank = Bank.read(folder / "bank.npz")
            exemplars = torch.cat([features(network, labelled.parent / name) for name in bank.names])
            votes = bank.scores + network.regressor(query.expand(len(bank), -1), exemplars).numpy()
    with pscr.open(folder, device="cpu", threads=1) as scorer:
        result = scorer.score(image)
    assert result.score == pytest.approx(float(votes.mean()), abs=1e-4)
    assert result.spread == (None if network.direct else pytest.approx(float(votes.std()), abs=1e-4))
    assert evaluate([str(folder), "--data", f"csv:{labelled}", "--split", f"{run / 'split.json'}:val"]) == 0


def mean_opinion(labelled, run):
    names = set(RunFolder(run).split()["train"])
    rows = [row.split(",") for row in labelled.read_text().splitlines()[1:]]
    return np.mean([float(row[1]) for row in rows if row[0] in names])


def features(network, path):
    return network.features(torch.from_numpy(network.sampling.cut(load(path))[None]))


def test_direct_regression_begins_at_the_mean_opinion_and_needs_no_exemplar():
    network = build("efficientnet_lite0", "nr", "resize")
    query, anything = torch.randn(5, 1280), torch.randn(5, 1280)
    regressor = network.regressor
    direct = regressor(query, anything)
    torch.testing.assert_close(direct, regressor(query, torch.zeros_like(query)))
    folded = regressor.differences(regressor.query_part(query), regressor.terms(anything[:2]))
    torch.testing.assert_close(folded, direct[:, None].expand(-1, 2))


@pytest.mark.parametrize(("method", "sampling"), [("cr", "ops"), ("nr", "rps"), ("pscr", "resize"), ("ml", "ops")])
def test_a_sampling_that_a_method_does_not_take_is_refused(method, sampling):
    with pytest.raises(PscrError, match="expected pscr with ops, nops, rps, dense, or cr or nr with resize"):
        build("efficientnet_lite0", method, sampling)


def test_the_defaults_follow_method_and_recipe():
    ours = defaults("ours", "pscr", "", "held-out", "efficientnet_lite0")
    assert all(ours[key] == value for key, value in vars(Config("")).items() if key != "data")
    assert defaults("ours", "cr", "", "held-out", "resnet18")["crops"] == "random"
    assert defaults("ours", "nr", "", "held-out", "resnet18")["patches"] == 1
    assert defaults("published", "nr", "", "published", "resnet18")["pairs"] == "all"
    published = defaults("published", "pscr", "", "published", "efficientnet_lite0")
    assert (published["patches"], published["pairs"], published["optimizer"]) == (9, "partner", "adam")
    assert (published["frozen_blocks"], published["exemplars"], published["lr"]) == (0, 10, 1e-4)


def test_a_bank_cannot_be_chosen_where_there_are_no_exemplars(labelled, tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--method=nr", "--val=0", "--epochs=1", "--batch=12", "--head-epochs=0", "--frozen-blocks=15"]
    assert train(["--data", f"csv:{labelled}", "-o", str(run), "--threads=1", "--crops=grid", *options]) == 0
    assert export([str(run), "-o", str(tmp_path / "model"), "--bank", "spread:2"]) == 2
    assert "has no exemplars" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
    assert np.isfinite(float((run / "metrics.csv").read_text().splitlines()[1].split(",")[1]))
