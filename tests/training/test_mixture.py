"""What trains together: scores of any scale, several databases, altered copies; each is compared with its like only."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from training_run import OPTIONS, label

from pscr import PscrError
from pscr.export.to_onnx import main as export
from pscr.runtime.scorer import open as open_scorer
from pscr.training.config import Config
from pscr.training.copies import Copy, pixels
from pscr.training.databases import Item, load
from pscr.training.losses import mixture_loss, pair_loss
from pscr.training.mixture import Labels, Mixture
from pscr.training.regressor import Regressor
from pscr.training.train import main as train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    return label(tmp_path_factory.mktemp("labelled"))


def moved(labelled: Path, name: str, scale: float, offset: float) -> Path:
    """The same images with their labels on another scale."""
    rows = labelled.read_text().splitlines()
    changed = [f"{path},{float(score) * scale + offset:.6f}" for path, score in (row.split(",") for row in rows[1:])]
    file = labelled.parent / name
    file.write_text("\n".join([rows[0], *changed]))
    return file


def test_labels_times_20_plus_7_give_the_same_scores_transformed(labelled, tmp_path):
    """Nothing in training or export knows the unit of the labels: not the loss, nor the clip, nor any tolerance."""
    other = moved(labelled, "other.csv", 20, 7)
    for name, file in (("one", labelled), ("other", other)):
        assert train(["--data", f"csv:{file}", "-o", str(tmp_path / name), *OPTIONS, "--clip=1"]) == 0
        folder = tmp_path / f"{name}-model"
        assert export([str(tmp_path / name), "-o", str(folder), "--threads=1", "--weights=float"]) == 0
    images = sorted(labelled.parent.glob("*.png"))
    with (
        open_scorer(tmp_path / "one-model", "cpu", 1) as one,
        open_scorer(tmp_path / "other-model", "cpu", 1) as two,
    ):
        scores = np.array([[scorer.score(image).score for image in images] for scorer in (one, two)])
        width = two.manifest.score.range[1] - two.manifest.score.range[0]
        assert two.manifest.score.range == pytest.approx([20 * bound + 7 for bound in one.manifest.score.range])
    assert np.ptp(scores[0]) > 0.05
    assert np.abs(20 * scores[0] + 7 - scores[1]).max() < 1e-4 * width
    for name in ("metrics.csv",):
        first, second = ((tmp_path / run / name).read_text().splitlines() for run in ("one", "other"))
        assert [row.split(",")[1] for row in first] == [row.split(",")[1] for row in second]  # the loss


def test_a_database_that_trained_along_can_be_what_the_model_is_exported_for(labelled, tmp_path):
    other = moved(labelled, "hundred.csv", -20, 90)
    run = tmp_path / "run"
    options = ["--data", f"csv:{labelled}", "--also", f"csv:{other}", "--copies=2", "-o", str(run), *OPTIONS]
    assert train(options) == 0
    assert json.loads((run / "config.json").read_text())["also"] == f"csv:{other}"
    for name, more in (("own", []), ("along", ["--bank-of", f"csv:{other}"])):
        assert export([str(run), "-o", str(tmp_path / name), "--threads=1", *more]) == 0
    with open_scorer(tmp_path / "along", "cpu", 1) as scorer:
        assert scorer.manifest.score.database == "hundred"
        assert scorer.manifest.score.range[1] > 80
        assert len(scorer.head.bank) == 9
        assert scorer.manifest.training["along"] == ["labels"]
        assert 0 < scorer.score(labelled.parent / "3.png").score < 120
    assert export([str(run), "-o", str(tmp_path / "none"), "--bank-of", "csv:nowhere.csv"]) == 2


def items_of(folder: Path, count: int = 3) -> list[Item]:
    found = []
    for index in range(count):
        path = folder / f"{index}.png"
        picture = np.random.default_rng(index).integers(0, 256, (40 + 20 * index, 90, 3), np.uint8)
        cv2.imwrite(str(path), cv2.GaussianBlur(picture, (0, 0), 2))
        found.append(Item(path.name, path, float(index), path.name))
    return found


def test_a_copy_is_the_same_every_time_and_of_the_size_it_says(tmp_path):
    for item in items_of(tmp_path):
        original = pixels(item)
        for number in range(6):
            one, two = Copy(item, number, 7), Copy(item, number, 7)
            np.testing.assert_array_equal(one.pixels(), two.pixels())
            assert one.pixels().shape[:2] == one.size(*original.shape[:2])
            assert one.distorted == (number % 2 == 1)
            assert (one.kept == 1) or one.distorted
            assert 0 <= one.kept <= 1
        assert Copy(item, 1, 7).pixels().shape == original.shape
        assert Copy(item, 0, 7).pixels().shape[0] > original.shape[0]


def test_pairs_stay_within_a_database_and_within_an_image_and_its_copies(labelled, tmp_path):
    file = tmp_path / "small.csv"
    items_of(tmp_path)
    file.write_text("path,score\n0.png,10\n1.png,40\n2.png,90\n")
    config = Config(f"csv:{labelled}", also=f"csv:{file}", copies=2)
    databases = [load(config.data), load(config.also)]
    mixture = Mixture.of(config, databases, [[0, 1, 2], [0, 2]])
    assert mixture.train.tolist() == [0, 1, 2, 12, 14]
    assert len(mixture.sources) == 15 * 3
    copy = int(mixture.copies[1, 1])
    batch = np.array([0, 1, 12, 14, copy])
    images, copies = mixture.pairs(batch)
    allowed = {(int(batch[i]), int(batch[j])) for i, j in np.argwhere(images)}
    assert allowed == {(0, 1), (1, 0), (12, 14), (14, 12)}
    assert {(int(batch[i]), int(batch[j])) for i, j in np.argwhere(copies)} == {(1, copy), (copy, 1)}
    for which, database in enumerate(databases):
        own = mixture.opinion[: len(databases[0].items) + 3][mixture.database[:15] == which]
        assert own.mean() == pytest.approx(0, abs=1e-9)
        assert own.std() == pytest.approx(1)
        assert Labels.of(database).deviation > 0


def test_a_distorted_copy_is_worth_less_and_never_less_than_the_worst(labelled):
    config = Config(f"csv:{labelled}", copies=6)
    mixture = Mixture.of(config, [load(config.data)], [range(12)])
    for image in range(12):
        for number, copy in enumerate(mixture.copies[image]):
            source = mixture.sources[copy]
            assert isinstance(source, Copy)
            lost = mixture.opinion[image] - mixture.opinion[copy]
            assert lost == 0 if number % 2 == 0 else lost >= 0
            assert mixture.opinion[copy] >= min(mixture.opinion[image], np.quantile(mixture.opinion[:12], 0.02)) - 1e-9
    assert np.ptp(mixture.opinion[mixture.copies[11, 1::2]]) > 0  # some kinds are worse than others


def test_without_copies_the_loss_is_that_of_all_pairs():
    torch.manual_seed(0)
    regressor, features, opinion = Regressor(6), torch.randn(5, 6), torch.randn(5)
    everything, nothing = ~torch.eye(5, dtype=torch.bool), torch.zeros(5, 5, dtype=torch.bool)
    expected = pair_loss(regressor, features, opinion)
    torch.testing.assert_close(mixture_loss(regressor, features, opinion, everything, nothing, 0.5), expected)


@pytest.mark.parametrize(
    "options",
    [["--copies=-1"], ["--copies=2", "--pairs=partner"], ["--copies=1", "--method=nr"], ["--also=csv:missing.csv"]],
)
def test_what_does_not_go_together_is_refused_and_leaves_nothing(labelled, tmp_path, options, capsys):
    run = tmp_path / "run"
    assert train(["--data", f"csv:{labelled}", "-o", str(run), *OPTIONS, *options]) == (
        3 if "--also=csv:missing.csv" in options else 2
    )
    assert len(capsys.readouterr().err.splitlines()) <= 2
    assert not run.exists()


def test_labels_that_are_all_the_same_are_refused(labelled):
    database = load(f"csv:{labelled}")
    same = [Item(item.name, item.path, 3.0, item.group) for item in database.items]
    with pytest.raises(PscrError, match="all 12 scores are 3"):
        Labels.of(type(database)(database.name, database.label, database.scale, tuple(same)))
