"""A regressor from labels takes the place of what votes, in a model of any family, and knows its model again."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model as tiny
from image_makers import assert_refused

import pscr
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.labelled_images import Labelled
from pscr.runtime.regressor import Regressor
from pscr.runtime.regressor_building import Features, Fit, features, fit
from pscr.runtime.score_scale import ScoreScale


def made_up(images: int = 60, width: int = 8, noise: float = 0.1, seed: int = 0) -> tuple[Features, list[float]]:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (images, width)).astype(np.float32)
    labels = 50 + 10 * (values @ rng.normal(0, 1, width) + rng.normal(0, noise, images))
    return Features(values, values[0], {"model": "x", "version": "1"}), [float(label) for label in labels]


@pytest.fixture(params=["pscr", "direct"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "model") if request.param == "pscr" else tiny.write_direct(tmp_path / "model")


def image(seed: int, side: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def fitted(model: Path, tmp_path: Path, **more: Any) -> tuple[Regressor, Fit, list[Labelled]]:
    """On images whose labels are their brightness."""
    rng = np.random.default_rng(0)
    labelled = []
    for number in range(24):
        file = tmp_path / f"{number}.npy.png"
        level = int(rng.integers(20, 230))
        pixels = np.clip(image(number) // 4 + level - 32, 0, 255).astype(np.uint8)
        import cv2

        file.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        labelled.append(Labelled(file.name, file, level / 2.55))
    found = features(model, labelled, "cpu", 1)
    return *fit(found, [one.score for one in labelled], **more), labelled


def test_the_fit_follows_the_labels_and_says_how_well_on_images_left_out() -> None:
    found, labels = made_up()
    regressor, figures = fit(found, labels)
    assert figures.srcc > 0.95
    assert figures.rmse < 0.3 * figures.rmse_of_mean
    assert [point.labels for point in figures.curve] == [25]
    votes = regressor.votes(found.values)
    assert votes.shape == (60, 10)
    assert np.corrcoef(votes.mean(1), labels)[0, 1] > 0.99
    assert regressor.about["calibration"]["by"] == "constant"


def test_labels_that_nothing_foretells_are_told() -> None:
    found, _ = made_up()
    labels = np.random.default_rng(9).normal(3, 1, 60).tolist()
    _, figures = fit(found, labels)
    assert abs(figures.srcc) < 0.5
    assert figures.rmse > 0.8 * figures.rmse_of_mean


def test_images_of_one_content_are_left_out_together() -> None:
    """Each content is its own feature: who has seen it knows the label, who has not knows nothing."""
    values = np.repeat(np.eye(12, dtype=np.float32), 4, 0)
    labels = np.repeat(np.random.default_rng(0).normal(0, 1, 12), 4).tolist()
    found = Features(values, values[0], {})
    _, seen = fit(found, labels)
    _, unseen = fit(found, labels, groups=[str(number // 4) for number in range(48)])
    assert seen.srcc > 0.8
    assert unseen.srcc < 0.5


def test_the_same_seed_gives_the_same_bytes_and_the_file_reads_back(tmp_path: Path) -> None:
    found, labels = made_up()
    scale = ScoreScale("sharpness", "mine", (0.0, 100.0), higher_is_better=False)
    labels = np.clip(labels, 0, 100).tolist()
    for name in ("a.npz", "b.npz"):
        fit(found, labels, scale=scale)[0].write(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = Regressor.read(tmp_path / "a.npz")
    assert read.score == scale
    np.testing.assert_array_equal(read.probe, found.probe)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"labels": [1.0] * 60}, ["not all the same"]),
        ({"labels": [float("nan")] * 60}, ["finite"]),
        ({"labels": [1.0, -1e300] * 30}, ["expected -1e+09 to 1e+09"]),
        ({"labels": [1.0, 2.0, 3.0]}, ["5 or more"]),
        ({"groups": ["one"] * 60}, ["1 groups", "two groups or more"]),
        ({"regressors": 0}, ["0 regressors"]),
        ({"scale": ScoreScale("x", "x", (0.0, 1.0))}, ["--range"]),
    ],
)
def test_what_cannot_be_fitted_is_refused(change: dict[str, Any], parts: list[str]) -> None:
    found, labels = made_up()
    given = {"labels": labels, **change}
    with pytest.raises(PscrError) as caught:
        fit(found, given.pop("labels"), **given)
    assert_refused(caught, Status.INVALID_ARGUMENT, *parts)


def test_features_that_are_all_the_same_are_refused() -> None:
    found, labels = made_up()
    with pytest.raises(PscrError) as caught:
        fit(found._replace(values=np.ones_like(found.values)), labels)
    assert_refused(caught, Status.INVALID_ARGUMENT, "the same in all")


@pytest.mark.parametrize("regressors", [1, 10])
def test_a_head_scores_by_the_models_own_features(model: Path, tmp_path: Path, regressors: int) -> None:
    scale = ScoreScale("brightness", "mine", (0.0, 100.0))
    head, figures, labelled = fitted(model, tmp_path, regressors=regressors, scale=scale)
    assert figures.srcc > 0.8
    head.write(tmp_path / "head.npz")
    with pscr.open(model, "cpu", 1, head=tmp_path / "head.npz") as scorer:
        result = scorer.score(labelled[0].path)
        terms = scorer.terms(scorer.patches(labelled[0].path)[None])
        assert result.score == pytest.approx(float((terms @ head.weights.T + head.intercepts).mean()), abs=1e-3)
        assert (result.spread is None) == (regressors == 1) == (not scorer.head.has_spread)
        assert result.interval is not None
        assert scorer.scale == scale
        assert scorer.info["regressors"] == regressors
        many = list(scorer.score_many([one.path for one in labelled], batch=5))
        assert many[0].score == pytest.approx(result.score, abs=1e-4)
        assert np.corrcoef([one.score for one in many], [one.score for one in labelled])[0, 1] > 0.9
        found = pscr.quality_map(scorer, image(1, 200), pixel_format="rgb")
        assert np.isfinite(found.values).all()
        with pickle.loads(pickle.dumps(scorer)) as again:
            assert again.score(labelled[0].path) == result


def test_a_head_of_another_model_or_width_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    head, _, _ = fitted(tiny_model, tmp_path)
    other = tiny.write(tmp_path / "other", seed=8)
    for given, parts in (
        (head, ["built with another model (tiny"]),
        (replace(head, probe=None, weights=head.weights[:, :3]), ["for 3 features"]),
    ):
        with pytest.raises(PscrError) as caught:
            pscr.open(other, "cpu", 1, head=given)
        assert_refused(caught, Status.MODEL_INVALID, *parts)


def test_a_bank_and_a_head_are_not_taken_together(tiny_model: Path, tmp_path: Path) -> None:
    head, _, _ = fitted(tiny_model, tmp_path)
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, "cpu", 1, head=head, bank=tiny.weights().bank)
    assert_refused(caught, Status.INVALID_ARGUMENT, "one of the two")
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, "cpu", 1, head=3)  # type: ignore[arg-type]
    assert_refused(caught, Status.INVALID_ARGUMENT, "head is a int")
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, "cpu", 1, head=tmp_path / "missing.npz")
    assert_refused(caught, Status.FILE_NOT_FOUND, "missing.npz")
