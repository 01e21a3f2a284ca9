"""The mean of runs is a run."""

import json
import shutil
from pathlib import Path

import pytest
from training_run import OPTIONS, label

from pscr.training import checkpoint
from pscr.training.average import main
from pscr.training.train import main as train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one split that differ in their order."""
    folder = tmp_path_factory.mktemp("average")
    data = ["--data", f"csv:{label(folder)}", *OPTIONS, "--epochs=1", f"--cache={folder / 'cache'}"]
    for shuffle in ("1", "2"):
        assert train([*data, "-o", str(folder / shuffle), f"--shuffle={shuffle}"]) == 0
    assert train([*data, "-o", str(folder / "other"), "--seed=2"]) == 0
    assert train([*data, "-o", str(folder / "whole"), "--val=0"]) == 0
    return folder


def test_every_weight_is_the_mean(runs, tmp_path):
    assert main([str(runs / "1"), str(runs / "2"), "-o", str(tmp_path / "mean")]) == 0
    first, second, mean = (
        checkpoint.part("model", checkpoint.read(run / "best.safetensors")[0])
        for run in (runs / "1", runs / "2", tmp_path / "mean")
    )
    key = "regressor.fc1.weight"
    assert not (first[key] == second[key]).all()
    for key, value in mean.items():
        assert value.dtype == first[key].dtype
        assert (value - (first[key].double() + second[key].double()) / 2).abs().max() < 1e-6
    assert json.loads((tmp_path / "mean" / "averaged.json").read_text())["epochs"] == [1, 1]
    split, first = (json.loads((run / "split.json").read_text()) for run in (tmp_path / "mean", runs / "1"))
    assert {part: set(names) for part, names in split.items()} == {part: set(names) for part, names in first.items()}


def test_what_trained_one_of_the_runs_is_not_held_out_of_their_mean(runs, tmp_path):
    assert main([str(runs / "1"), str(runs / "whole"), "-o", str(tmp_path / "mean")]) == 0
    split, whole = (json.loads((run / "split.json").read_text()) for run in (tmp_path / "mean", runs / "whole"))
    assert set(split["train"]) == set(whole["train"])
    assert not split["val"]
    assert json.loads((tmp_path / "mean" / "config.json").read_text())["val"] == 0


def test_the_same_data_by_a_relative_path_is_the_same(runs, tmp_path, monkeypatch):
    shutil.copytree(runs / "2", tmp_path / "2")
    config = json.loads((runs / "2" / "config.json").read_text())
    place = Path(config["data"].partition(":")[2])
    (tmp_path / "2" / "config.json").write_text(json.dumps(config | {"data": f"csv:{place.name}"}))
    monkeypatch.chdir(place.parent)
    assert main([str(runs / "1"), str(tmp_path / "2"), "-o", str(tmp_path / "mean")]) == 0
    monkeypatch.chdir(tmp_path)
    assert main([str(runs / "1"), str(tmp_path / "2"), "-o", str(tmp_path / "other")]) == 3


def test_runs_of_another_split_are_refused(runs, tmp_path, capsys):
    assert main([str(runs / "1"), str(runs / "other"), "-o", str(tmp_path / "mean")]) == 3
    assert "seed is 2; expected 1" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


def test_a_folder_that_is_no_run_is_refused(runs, tmp_path, capsys):
    assert main([str(runs / "1"), str(tmp_path), "-o", str(tmp_path / "mean")]) == 3
    assert "not a run of pscr train" in capsys.readouterr().err
