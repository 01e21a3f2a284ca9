"""A published checkpoint becomes a model folder whose scores are those of the published computation."""

import pickle

import pytest
import torch
from published_file import as_published
from random_network import settled
from training_run import label

import pscr
from pscr.export import parity
from pscr.export.import_pscr import main
from pscr.export.published import read
from pscr.runtime.bank import Bank
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest

pytestmark = pytest.mark.slow

EXEMPLARS = ("2.png", "5.png", "8.png")


@pytest.fixture(scope="module")
def network():
    return settled("resnet18")


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    """A checkpoint, images, and a CSV of exemplars that lies elsewhere."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "images").mkdir()
    label(folder / "images")
    rows = [f"{name},{score}" for name, score in zip(EXEMPLARS, (1.5, 2.25, 4.0), strict=True)]
    (folder / "exemplars.csv").write_text("\n".join(["path,score", *rows]))
    with torch.no_grad():
        network.regressor.fc2.weight *= 30  # so that differences reach the size of scores
    as_published(network, folder / "best_model.pt")
    return folder


def export(folder, output, *options, file="best_model.pt", backbone="resnet18"):
    words = [str(folder / file), "--backbone", backbone, "--bank-csv", str(folder / "exemplars.csv")]
    return main([*words, "--bank-root", str(folder / "images"), "-o", str(output), *options])


def test_scores_equal_the_published_computation_to_1e_4(network, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parity, "BATCHES", (1, 3))  # fewer passes; test_score_graph.py looks at batches
    assert export(folder, tmp_path / "model", "--database", "AGIQA-3K", "--range", "0", "5") == 0
    assert "parity passed: the published computation in torch" in capsys.readouterr().err
    manifest = Manifest.read(tmp_path / "model")
    assert (manifest.backbone, manifest.sampling.method, manifest.bank["size"]) == ("resnet18", "ops", 3)
    assert (manifest.score.database, manifest.score.range, manifest.training["epochs"]) == ("AGIQA-3K", (0.0, 5.0), 41)
    assert manifest.parity["compared"].startswith("the published computation")
    assert manifest.parity["largest_difference"] <= manifest.parity["tolerance"] == 1e-4
    assert manifest.parity["tolerance_share"] == manifest.parity["batch_tolerance_share"] == 2e-5
    assert Bank.read(tmp_path / "model" / "bank.npz").names == EXEMPLARS
    with pscr.open(tmp_path / "model", device="cpu", threads=1) as scorer, torch.inference_mode():
        for index in (0, 11):
            query = features(network, folder / "images" / f"{index}.png")
            votes = [
                score + network.regressor(query, features(network, folder / "images" / name))
                for name, score in zip(EXEMPLARS, (1.5, 2.25, 4.0), strict=True)
            ]
            found = scorer.score(folder / "images" / f"{index}.png")
            assert found.score == pytest.approx(float(torch.stack(votes).mean()), abs=1e-4)
            assert found.spread > 0.01


def features(network, path):
    """[1,C]: the nine patches of the published grid one by one, then their mean."""
    patches = torch.from_numpy(network.sampling.cut(load(path)))
    return torch.stack([network.backbone(network.normalise(patch[None]))[0] for patch in patches]).mean(0)[None]


class Harm:
    """What a pickle could do when it is read: here, write a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return (open, (str(self.file), "w"))


def test_nothing_in_a_checkpoint_is_executed(network, folder, tmp_path, capsys):
    torch.save({"backbone": Harm(tmp_path / "harm"), "regressor": {}}, folder / "harm.pt")
    assert export(folder, tmp_path / "model", file="harm.pt") == 3
    assert "not a readable torch checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("make", "backbone", "code", "says"),
    [
        (lambda network, file: None, "resnet18", 3, "no such checkpoint"),
        (lambda network, file: file.write_bytes(b"junk"), "resnet18", 3, "not a readable torch checkpoint"),
        (lambda network, file: file.write_bytes(pickle.dumps({"a": 1})), "resnet18", 3, "torch checkpoint"),
        (
            lambda network, file: torch.save({"state_dict": {}}, file),
            "resnet18",
            3,
            "holds state_dict; expected the state",
        ),
        (lambda network, file: torch.save([1], file), "resnet18", 3, "holds list"),
        (as_published, "vgg16", 3, "another backbone's checkpoint"),
        (as_published, "resnet50", 3, "key 'layer1.0.downsample.0.weight' is missing"),
        (lambda network, file: as_published(network, file, regressor={}), "resnet18", 3, "'fc1.weight' is missing"),
    ],
)
def test_another_file_is_one_clear_line_and_nothing_is_written(
    network, folder, tmp_path, capsys, make, backbone, code, says
):
    make(network, tmp_path / "other.pt")
    words = [str(tmp_path / "other.pt"), "--backbone", backbone, "-o", str(tmp_path / "model")]
    assert main([*words, "--bank-csv", str(folder / "exemplars.csv"), "--bank-root", str(folder / "images")]) == code
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_a_missing_exemplar_is_named_with_its_row(network, folder, tmp_path, capsys):
    (tmp_path / "exemplars.csv").write_text("path,score\n2.png,1\nnone.png,2\n")
    words = [str(folder / "best_model.pt"), "--backbone", "resnet18", "-o", str(tmp_path / "model")]
    assert main([*words, "--bank-csv", str(tmp_path / "exemplars.csv"), "--bank-root", str(folder / "images")]) == 3
    assert "row 3: no image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["-o", "x", "--backbone", "vgg16", "--bank-csv", "y"], "CHECKPOINT"),
        (["x.pt", "-o", "x", "--backbone", "vgg16"], "--bank-csv"),
        (["x.pt", "-o", "x", "--bank-csv", "y"], "--backbone"),
    ],
)
def test_a_command_line_that_lacks_something_names_it(words, missing, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert f"required: {missing}" in capsys.readouterr().err


def test_weights_of_several_gpus_and_without_batch_counters_are_read(network, folder, tmp_path):
    state = {f"module.{key}": value for key, value in network.backbone.state_dict().items() if "num_batches" not in key}
    state |= {"module.fc.weight": torch.zeros(1000, 512), "module.fc.bias": torch.zeros(1000)}
    file = as_published(network, tmp_path / "best.pt", backbone=state)
    found, _ = read(file, "resnet18")
    assert all((a == b).all() for a, b in zip(found.parameters(), network.parameters(), strict=True))
