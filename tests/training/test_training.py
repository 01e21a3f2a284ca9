"""Training runs end to end, resumes exactly, and refuses what it cannot use."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from training_run import OPTIONS, label

from pscr import PscrError
from pscr.training import checkpoint
from pscr.training.config import Config
from pscr.training.processes import Processes
from pscr.training.run_folder import RunFolder
from pscr.training.train import main
from pscr.training.trainer import Trainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return label(tmp_path_factory.mktemp("labelled"))


def rows_of(run):
    with (run / "metrics.csv").open() as stream:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def undisturbed(labelled, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert main(["--data", f"csv:{labelled}", "-o", str(run), *OPTIONS]) == 0
    return run


def test_a_run_leaves_its_configuration_split_metrics_and_weights(undisturbed):
    rows = rows_of(undisturbed)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(np.isfinite(float(row["train_loss"])) and float(row["val_rmse"]) >= 0 for row in rows)
    split = json.loads((undisturbed / "split.json").read_text())
    assert len(split["val"]) == 3
    assert len(split["train"]) == 9
    for picture in ("curves.png", "scatter.png"):
        assert (undisturbed / picture).read_bytes().startswith(b"\x89PNG")
    assert "val, epoch" in (undisturbed / "summary.md").read_text()
    config = json.loads((undisturbed / "config.json").read_text())
    assert config["database"] == "labels"
    assert (config["label"], config["label_column"]) == ("quality", "score")
    _, meta = checkpoint.read(undisturbed / "best.safetensors")
    best = max(rows, key=lambda row: float(row["val_srcc"]) + float(row["val_plcc"]))
    assert meta["metrics"]["epoch"] == int(best["epoch"])


def test_frozen_blocks_stay_as_they_were_and_the_others_move(undisturbed):
    tensors, _ = checkpoint.read(undisturbed / "last.safetensors")
    model, average = checkpoint.part("model", tensors), checkpoint.part("average", tensors)
    assert (
        model["backbone._blocks.13._project_conv.weight"] == average["backbone._blocks.13._project_conv.weight"]
    ).all()
    assert (
        model["backbone._blocks.14._project_conv.weight"] != average["backbone._blocks.14._project_conv.weight"]
    ).any()


def test_a_run_killed_in_the_middle_of_an_epoch_resumes_to_the_same_figures(labelled, undisturbed, tmp_path):
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "pscr.training.train", "--data", f"csv:{labelled}", "-o", str(run), *OPTIONS]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (run / "metrics.csv").is_file():  # written when the first epoch has ended; the second runs now
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(rows_of(run)) < 3, "the run was over before it could be killed"
    assert main(command[3:]) == 0
    assert rows_of(run) == rows_of(undisturbed)
    ours, theirs = (checkpoint.read(folder / "best.safetensors")[0] for folder in (run, undisturbed))
    assert all((ours[key] == theirs[key]).all() for key in theirs)


def test_a_finished_run_is_left_as_it_is(labelled, undisturbed, capsys):
    before = (undisturbed / "metrics.csv").read_bytes()
    assert main(["--data", f"csv:{labelled}", "-o", str(undisturbed), *OPTIONS]) == 0
    assert (undisturbed / "metrics.csv").read_bytes() == before


def test_the_same_data_by_a_relative_path_is_the_same_run(labelled, undisturbed, monkeypatch):
    before = (undisturbed / "metrics.csv").read_bytes()
    monkeypatch.chdir(labelled.parent)
    assert main(["--data", f"csv:{labelled.name}", "-o", str(undisturbed), *OPTIONS]) == 0
    assert (undisturbed / "metrics.csv").read_bytes() == before


def test_other_data_of_the_same_name_does_not_resume_a_run(labelled, undisturbed, tmp_path, monkeypatch, capsys):
    rows = [f"{labelled.parent / line}" for line in labelled.read_text().splitlines()[1:]]
    (tmp_path / labelled.name).write_text("\n".join([labelled.read_text().splitlines()[0], *rows]))
    monkeypatch.chdir(tmp_path)
    assert main(["--data", f"csv:{labelled.name}", "-o", str(undisturbed), *OPTIONS]) == 2
    assert "another configuration (data was" in capsys.readouterr().err


def test_another_configuration_does_not_resume_a_run(labelled, undisturbed, capsys):
    before = {file: file.read_bytes() for file in undisturbed.iterdir() if file.is_file()}
    assert main(["--data", f"csv:{labelled}", "-o", str(undisturbed), *OPTIONS, "--lr=0.5"]) == 2
    assert "another configuration" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in undisturbed.iterdir() if file.is_file()} == before


def test_another_label_does_not_resume_a_run(labelled, undisturbed, capsys):
    before = (undisturbed / "config.json").read_bytes()
    assert main(["--data", f"csv:{labelled}", "-o", str(undisturbed), *OPTIONS, "--label=alignment"]) == 2
    assert "another configuration" in capsys.readouterr().err
    assert (undisturbed / "config.json").read_bytes() == before


def test_a_run_from_before_labels_could_be_chosen_is_read_and_resumed(labelled, undisturbed, tmp_path):
    """Then config.json had the score column as `label`, and the checkpoint's configuration no label at all."""
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    config = json.loads((run / "config.json").read_text())
    config["label"] = config.pop("label_column")
    (run / "config.json").write_text(json.dumps(config))
    assert RunFolder(run).config() == RunFolder(undisturbed).config()
    tensors, meta = checkpoint.read(run / "last.safetensors")
    del meta["config"]["label"]
    checkpoint.write(run / "last.safetensors", tensors, meta)
    assert main(["--data", f"csv:{labelled}", "-o", str(run), *OPTIONS]) == 0


def test_a_run_with_options_that_are_no_more_is_read_where_they_did_nothing(labelled, undisturbed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    config = json.loads((run / "config.json").read_text())
    idle = {"scales": 1, "mixup": 0.0, "rank_weight": 0.0, "rank_scale": 0.3}
    (run / "config.json").write_text(json.dumps({**config, **idle}))
    assert RunFolder(run).config() == RunFolder(undisturbed).config()
    tensors, meta = checkpoint.read(run / "last.safetensors")
    for key, value in (("scales", 1), ("mixup", 0.2)):
        meta["config"][key] = value
        checkpoint.write(run / "last.safetensors", tensors, meta)
        code = main(["--data", f"csv:{labelled}", "-o", str(run), *OPTIONS])
        assert code == (0 if value == 1 else 3)
    (run / "config.json").write_text(json.dumps({**config, "scales": 2}))
    with pytest.raises(PscrError, match=r"config\.json: trained with scales 2, which this version no longer has"):
        RunFolder(run).config()


def test_one_validation_image_is_not_enough_to_validate(labelled, tmp_path):
    run = tmp_path / "run"
    assert main(["--data", f"csv:{labelled}", "-o", str(run), *OPTIONS, "--val=0.05", "--epochs=1"]) == 0
    assert len(json.loads((run / "split.json").read_text())["val"]) == 1
    assert rows_of(run)[0]["val_srcc"] == ""


def test_ctrl_c_says_how_to_go_on(labelled, tmp_path):
    command = [
        sys.executable,
        "-m",
        "pscr.training.train",
        "--data",
        f"csv:{labelled}",
        "-o",
        str(tmp_path / "run"),
        *OPTIONS,
    ]
    process = subprocess.Popen([*command, "--epochs=1000"], stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "run" / "metrics.csv").is_file():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "stopped and saved; the same command goes on from here" in errors
    assert "Traceback" not in errors


def test_two_processes_train_as_one_does(labelled, tmp_path):
    """All pairs of the global batch, with stochastic depth and dropout: to 1e-6 in every weight."""
    options = ["--data", f"csv:{labelled}", *OPTIONS, "--epochs=1", "--patches=2", "--device=cpu"]
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
    launch += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0", "-m", "pscr.training.train"]
    done = subprocess.run(
        [sys.executable, *launch, "-o", str(tmp_path / "two"), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes on cpu" in json.loads((tmp_path / "two" / "results.json").read_text())["device"]
    assert done.stderr.count("images train") == 1, "only the first process speaks"
    assert main(["-o", str(tmp_path / "one"), *options]) == 0
    one, two = (checkpoint.read(tmp_path / name / "last.safetensors")[0] for name in ("one", "two"))
    assert set(one) == set(two)
    for key, value in one.items():
        np.testing.assert_allclose(two[key], value, atol=1e-6, err_msg=key)
    assert float(rows_of(tmp_path / "two")[0]["train_loss"]) == pytest.approx(
        float(rows_of(tmp_path / "one")[0]["train_loss"]), abs=1e-5
    )


def test_a_batch_that_two_processes_cannot_share_is_refused(labelled, tmp_path):
    config = Config(f"csv:{labelled}", pretrained="none", batch=3, threads=1)
    with pytest.raises(PscrError, match="cannot be shared by 2 processes"):
        Trainer(
            config,
            config.load_database(),
            range(8),
            [],
            RunFolder(tmp_path),
            processes=Processes(torch.device("cpu"), 0, 2),
        )


def test_too_few_images_for_a_batch_is_an_error(labelled, tmp_path, capsys):
    assert main(["--data", f"csv:{labelled}", "-o", str(tmp_path / "run"), *OPTIONS, "--batch=64"]) == 2
    assert "do not fill one batch" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(undisturbed, tmp_path):
    data = (undisturbed / "best.safetensors").read_bytes()
    file = tmp_path / "cut.safetensors"
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(PscrError, match="not a checkpoint of pscr train"):
        checkpoint.read(file)
    with pytest.raises(PscrError, match="no such checkpoint"):
        checkpoint.read(tmp_path / "none.safetensors")


@pytest.mark.parametrize(("crops", "dimensions"), [("grid", 2), ("random", 3)])
def test_crops_are_drawn_as_asked_where_nothing_is_frozen(labelled, tmp_path, crops, dimensions):
    """Without frozen layers there is no cache to draw from, and the choice must hold all the same."""
    config = Config(f"csv:{labelled}", pretrained="none", batch=4, frozen_blocks=0, crops=crops, threads=1)
    trainer = Trainer(config, config.load_database(), range(8), range(8, 12), RunFolder(tmp_path))
    assert trainer.steps_from.draw(np.random.default_rng(0), np.arange(4), 2).ndim == dimensions


def test_a_half_done_run_from_before_scores_were_standardised_is_not_gone_on_with(
    labelled, undisturbed, tmp_path, capsys
):
    run = tmp_path / "old"
    shutil.copytree(undisturbed, run)
    tensors, meta = checkpoint.read(run / "last.safetensors")
    del meta["labels"]
    command = ["--data", f"csv:{labelled}", "-o", str(run), *OPTIONS]
    checkpoint.write(run / "last.safetensors", tensors, meta)
    assert main(command) == 0  # it has ended: nothing is left to do
    checkpoint.write(run / "last.safetensors", tensors, {**meta, "rows": meta["rows"][:1]})
    capsys.readouterr()
    assert main(command) == 2
    assert "begin again in another -o folder" in capsys.readouterr().err
