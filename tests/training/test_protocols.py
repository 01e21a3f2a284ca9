"""What is measured on what: the protocols, the splits they take, and repeated runs."""

import csv
import json
import random

import numpy as np
import pytest
import torch
from training_run import OPTIONS, label

from pscr import PscrError
from pscr.training import repeats, splits
from pscr.training.config import Config
from pscr.training.databases import Item
from pscr.training.mixture import Labels, divide
from pscr.training.processes import Processes
from pscr.training.run_report import headline, maxima
from pscr.training.train import main
from pscr.training.validation import Validator

pytestmark = pytest.mark.slow

ITEMS = [Item(f"{index}.png", None, float(index), f"{index}.png") for index in range(2982)]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return label(tmp_path_factory.mktemp("labelled"))


def run(labelled, folder, *options):
    return main(["--data", f"csv:{labelled}", "-o", str(folder), *OPTIONS, *options])


def test_the_published_split_is_numpys_shuffle_of_the_list_after_seed_1():
    names = [item.name for item in ITEMS]
    before = np.random.get_state()[1].tolist()
    train, test = splits.published(ITEMS)
    assert np.random.get_state()[1].tolist() == before, "the global generator is left alone"
    np.random.seed(1)
    np.random.shuffle(names)
    assert {ITEMS[index].name for index in train} == set(names[:2385])
    assert {ITEMS[index].name for index in test} == set(names[2385:])


def test_the_published_protocol_reports_maxima_over_the_test_set_by_name(labelled, tmp_path):
    assert run(labelled, tmp_path, "--protocol=published", "--exemplars=2") == 0
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["images"] == {"train": 9, "test": 3}
    for name in ("srcc", "plcc"):
        values = [float(row[f"test_{name}"]) for row in rows]
        assert results["published"][name]["max"] == pytest.approx(max(values), abs=1e-5)
        assert values[results["published"][name]["epoch"] - 1] == max(values)
    assert "Maxima over the test set" in (tmp_path / "summary.md").read_text()
    assert headline(results)[0] == "test (maxima)"


def test_srcc_and_plcc_each_count_from_their_own_best_epoch():
    rows = [
        {"epoch": 1, "test_srcc": 0.9, "test_plcc": 0.1},
        {"epoch": 2},
        {"epoch": 3, "test_srcc": 0.5, "test_plcc": 0.7},
    ]
    found = maxima(rows)
    assert found["srcc"] == {"max": 0.9, "epoch": 1, "median_last": 0.7, "last": 2}
    assert (found["plcc"]["max"], found["plcc"]["epoch"]) == (0.7, 3)


def test_exemplars_are_drawn_anew_for_every_image_and_epoch():
    """An exemplar's vote is its own opinion here, so a score says which exemplars were drawn."""

    class Network:
        direct = False

        class regressor:  # noqa: N801
            terms = query_part = staticmethod(lambda features: features)
            differences = staticmethod(lambda queries, terms: torch.zeros(len(queries), len(terms)))

    opinion = torch.arange(40, dtype=torch.float32) ** 2
    config, processes = Config("", protocol="published", exemplars=3), Processes(torch.device("cpu"))
    validator = Validator(config, None, opinion, Labels(0.0, 1.0), np.arange(30), processes)
    validator.features = lambda model, images: torch.zeros(len(images), 1)
    first, again, later = (validator.scores(Network, np.arange(30, 40), epoch) for epoch in (1, 1, 2))
    assert len(set(first.tolist())) == 10
    np.testing.assert_array_equal(first, again)
    assert (first != later).any()


def test_test_images_neither_train_nor_select_and_are_scored_once(labelled, tmp_path):
    assert run(labelled, tmp_path, "--test=0.25") == 0
    split = json.loads((tmp_path / "split.json").read_text())
    assert [len(split[part]) for part in ("train", "val", "test")] == [6, 3, 3]
    assert len({*split["train"], *split["val"], *split["test"]}) == 12
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["figures"]) == {"val", "test"}
    assert headline(results)[0] == "test"
    with (tmp_path / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["name"] for row in rows if row["part"] == "test"} == set(split["test"])
    written = (tmp_path / "results.json").stat().st_mtime_ns
    assert run(labelled, tmp_path, "--test=0.25") == 0
    assert (tmp_path / "results.json").stat().st_mtime_ns == written


def test_the_validation_part_is_the_same_with_and_without_a_test_part(labelled):
    base = {"data": f"csv:{labelled}", "val": 0.25}
    database = Config(**base).load_database()
    alone, both = (divide(Config(**base, test=test), database) for test in (0.0, 0.25))
    assert set(alone) == {"train", "val"}
    assert alone["val"] == both["val"]


def test_a_split_file_decides_who_trains(labelled, tmp_path):
    names = [f"{index}.png" for index in random.Random(0).sample(range(12), 12)]
    parts = {"train": names[:6], "val": names[6:9], "test": names[9:]}
    (tmp_path / "own.json").write_text(json.dumps(parts))
    config = Config(f"csv:{labelled}", split=str(tmp_path / "own.json"))
    database = config.load_database()
    found = divide(config, database)
    assert {part: {database.items[i].name for i in chosen} for part, chosen in found.items()} == {
        part: set(chosen) for part, chosen in parts.items()
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a split"),
        ("[]", "not a split"),
        ('{"val": ["0.png"]}', "has val; expected train, not empty"),
        ('{"train": ["0.png"], "val": ["0.png"]}', "0.png is in 'train' and in 'val'"),
        ('{"train": ["none.png"]}', "1 of its 1 train images are not in the database, first none.png"),
    ],
)
def test_a_split_file_that_cannot_be_used_is_one_clear_line(labelled, tmp_path, capsys, text, says):
    (tmp_path / "own.json").write_text(text)
    assert run(labelled, tmp_path / "run", "--split", str(tmp_path / "own.json")) == 2
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_missing_split_file_is_refused():
    with pytest.raises(PscrError, match="cannot be read"):
        divide(Config("", split="none.json"), type("Database", (), {"items": ()}))


def test_repeats_run_in_their_own_folders_and_give_median_and_quartiles(labelled, tmp_path):
    assert run(labelled, tmp_path, "--repeats=3", "--epochs=1") == 0
    figures = []
    for seed in (1, 2, 3):
        results = json.loads((tmp_path / f"seed-{seed}" / "results.json").read_text())
        assert results["seed"] == seed
        figures.append(results["figures"]["val"]["rmse"])
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["seeds"] == [1, 2, 3]
    assert found["figures"]["rmse"]["median"] == pytest.approx(np.median(figures), abs=1e-5)
    assert found["figures"]["rmse"]["quartiles"] == pytest.approx(np.percentile(figures, [25, 75]), abs=1e-5)
    assert len(set(figures)) == 3, "the seeds make a difference"
    assert "**median**" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "cache" / "stem.npy").is_file(), "the runs share what does not depend on the seed"
    assert repeats.quartiles([{"published": None, "figures": {}, "seed": 1, "seconds": 1.0}])["figures"] == {}
