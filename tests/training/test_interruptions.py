"""A run that is stopped, or whose disk is full, leaves whole files and ends as if nothing had happened."""

import resource
import signal
from dataclasses import replace

import numpy as np
import pytest
from training_run import label

from pscr.training import checkpoint
from pscr.training.config import Config
from pscr.training.interrupts import Stopped
from pscr.training.run_folder import RunFolder
from pscr.training.trainer import Trainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    labels = label(tmp_path_factory.mktemp("labelled"))
    return Config(
        f"csv:{labels}",
        epochs=2,
        batch=4,
        patches=1,
        exemplars=4,
        head_epochs=1,
        frozen_blocks=14,
        threads=1,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def trainer(config, cache, tmp_path):
    """Trainers of one run folder, each as a new process would make it: three steps an epoch."""
    return lambda: Trainer(config, config.load_database(), range(12), range(3), RunFolder(tmp_path), cache)


@pytest.fixture(scope="module")
def undisturbed(config, cache, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed")
    rows = list(Trainer(config, config.load_database(), range(12), range(3), RunFolder(run), cache).fit())
    return rows, checkpoint.read(run / "last.safetensors")[0]


def figures(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def assert_same(run, trainer, undisturbed):
    rows, tensors = undisturbed
    assert figures(trainer.rows) == figures(rows)
    found = checkpoint.read(run / "last.safetensors")[0]
    assert set(found) == set(tensors)
    assert all((found[key] == tensors[key]).all() for key in tensors)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_an_epoch_saves_the_steps_that_are_done(trainer, undisturbed, tmp_path, number):
    first = trainer()
    draw, calls = first.steps_from.draw, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 5:  # the second step of the second epoch
            signal.raise_signal(number)
        return draw(*arguments)

    first.steps_from.draw = interrupted
    handler = signal.getsignal(number)
    with pytest.raises(Stopped):
        list(first.fit())
    assert signal.getsignal(number) is handler
    assert len(calls) == 5
    assert len(checkpoint.read(tmp_path / "last.safetensors")[1]["position"]["losses"]) == 2
    second = trainer()
    list(second.fit())
    assert_same(tmp_path, second, undisturbed)


def test_a_full_disk_loses_the_epoch_and_no_file(trainer, undisturbed, tmp_path):
    first = trainer()
    epochs = first.fit()
    next(epochs)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            next(epochs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    second = trainer()
    assert second.restore()
    assert len(second.rows) == 1
    list(second.fit())
    assert_same(tmp_path, second, undisturbed)


def test_a_run_ends_early_where_nothing_gets_better(config, cache, tmp_path):
    patient = replace(config, epochs=50, patience=2, validate_every=2)
    trainer = Trainer(patient, config.load_database(), range(12), range(3), RunFolder(tmp_path), cache)
    merits = iter([0.1, 0.5, 0.4, np.nan, 0.9])
    trainer.validator.figures = lambda *_: dict.fromkeys(("srcc", "plcc"), next(merits))
    rows = list(trainer.fit())
    assert [row["epoch"] for row in rows if "val_srcc" in row] == [2, 4, 6, 8]
    assert len(rows) == 8
    assert checkpoint.read(tmp_path / "best.safetensors")[1]["epoch"] == 4
