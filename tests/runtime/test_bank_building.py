"""A bank from labelled images: its votes, its scale, its leave-one-out error, and its warnings."""

from __future__ import annotations

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_model as tiny
from image_makers import assert_refused

import pscr
from pscr.runtime import calibration
from pscr.runtime.bank import Bank
from pscr.runtime.bank_building import LeaveOneOut, build, leave_one_out
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.labelled_images import Labelled
from pscr.runtime.manifest import Manifest
from pscr.runtime.score_scale import ScoreScale


def pictures(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Images of different brightness and contrast."""
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        coarse = rng.integers(0, int(rng.integers(20, 256)), (6, 6, 3)).astype(np.uint8)
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(cv2.imencode(".png", cv2.resize(coarse, (80, 64)))[1].tobytes())
    return paths


def own_scores(model: Path, paths: list[Path]) -> np.ndarray:
    """What the model's own bank says of images."""
    with pscr.open(model, device="cpu", threads=1) as scorer:
        return np.array([scorer.score(path).score for path in paths])


def labelled(paths: list[Path], scores: np.ndarray) -> list[Labelled]:
    return [Labelled(path.name, path, float(score)) for path, score in zip(paths, scores, strict=True)]


def test_a_bank_votes_by_the_formula(tiny_model: Path, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 6)
    bank, _ = build(tiny_model, labelled(paths, own_scores(tiny_model, paths)), "cpu", 1, fit_scale=False)
    bank.write(tmp_path / "bank.npz")
    parts = tiny.weights()
    with pscr.open(tiny_model, device="cpu", threads=1, bank=tmp_path / "bank.npz") as scorer:
        result = scorer.score(paths[0])
        np.testing.assert_allclose(bank.terms[2], scorer.terms(scorer.patches(paths[2])[None])[0])
        delta = tiny.expected_votes(scorer.patches(paths[0])[None])[0] - parts.bank.scores  # to the model's own bank
        assert delta.shape == (tiny.EXEMPLARS,)
        votes = scorer.infer(scorer.patches(paths[0])[None]).votes[0]
    assert result.score == pytest.approx(votes.mean(), abs=1e-5)
    assert bank.names == tuple(path.name for path in paths)
    assert bank.scale == 1


def test_leave_one_out_is_what_scoring_with_the_others_gives(tiny_model: Path, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 7)
    scores = own_scores(tiny_model, paths)
    bank, figures = build(tiny_model, labelled(paths, scores), "cpu", 1, fit_scale=False)
    found = []
    for left in range(7):
        kept = [place for place in range(7) if place != left]
        rest = Bank(bank.terms[kept], bank.scores[kept], tuple(bank.names[place] for place in kept))
        with pscr.open(tiny_model, device="cpu", threads=1, bank=rest) as scorer:
            found.append(scorer.score(paths[left]).score)
    errors = np.array(found) - scores
    assert figures.rmse == pytest.approx(np.sqrt(np.mean(errors**2)), abs=1e-4)
    assert figures.mae == pytest.approx(np.mean(np.abs(errors)), abs=1e-4)


def refitted(differences: np.ndarray, scores: np.ndarray) -> tuple[list[float], list[float]]:
    """Each image's score and spread by a bank that never knew it: its line fitted anew, by numpy's least squares."""
    found, spreads = [], []
    for left in range(len(scores)):
        kept = [place for place in range(len(scores)) if place != left]
        predicted, above = [], []
        for one in kept:
            others = [place for place in kept if place != one]
            predicted.append(differences[one, others].mean())
            above.append(scores[one] - scores[others].mean())
        scale, offset = np.polyfit(predicted, above, 1)
        votes = scores[kept] + offset + scale * differences[left, kept]
        found.append(votes.mean())
        spreads.append(votes.std())
    return found, spreads


@pytest.mark.parametrize("count", [3, 4, 5, 8, 20, 41])
@pytest.mark.parametrize("antisymmetric", [True, False])
@pytest.mark.parametrize("far", [0, 100])
def test_the_line_is_fitted_without_the_image_that_is_left_out(count: int, antisymmetric: bool, far: float) -> None:
    rng = np.random.default_rng(count)
    sayings, labels = rng.normal(size=count), far + 30 * rng.normal(size=count)
    differences = sayings[:, None] - sayings + far * (not antisymmetric) + rng.normal(0, 0.3, (count, count))
    if antisymmetric:
        differences -= differences.T
    figures, scores, spreads = leave_one_out(differences, labels)
    expected, widths = refitted(differences, labels)
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    np.testing.assert_allclose(spreads, widths, rtol=1e-9)
    assert figures.rmse == pytest.approx(np.sqrt(np.mean((np.array(expected) - labels) ** 2)), rel=1e-9)


def test_leave_one_out_and_calibration_of_many_images_need_no_table_of_all_pairs() -> None:
    count, scale = 2000, 1e5
    rng = np.random.default_rng(0)
    sayings = rng.normal(size=count).astype(np.float32)
    labels = scale * (sayings + rng.normal(0, 0.2, count))
    rows = (saying - sayings for saying in sayings)
    tracemalloc.start()
    try:
        figures, scores, spreads = leave_one_out(rows, labels)
        calibration.measure(scores, spreads, labels, "made up")
        assert tracemalloc.get_traced_memory()[1] < 4 * count**2 / 4  # a quarter of the differences in float32
    finally:
        tracemalloc.stop()
    assert figures.scale == pytest.approx(scale, rel=0.05)
    assert figures.rmse == pytest.approx(0.2 * scale, rel=0.05)


def test_the_scale_carries_labels_in_other_units(tiny_model: Path, tmp_path: Path) -> None:
    """Opinions that are a straight line of what the model can say come back as they were, whichever way it leads."""
    paths = pictures(tmp_path, 40)
    exemplars, _ = build(
        tiny_model, labelled(paths[:30], own_scores(tiny_model, paths[:30])), "cpu", 1, fit_scale=False
    )
    plain = Bank(exemplars.terms, np.zeros(30, np.float32), exemplars.names)
    with pscr.open(tiny_model, device="cpu", threads=1, bank=plain) as scorer:
        sayings = np.array([scorer.score(path).score for path in paths])
    for slope, offset in ((20.0, 5.0), (-3.0, 100.0)):
        labels = labelled(paths[:30], offset + slope * sayings[:30])
        scale = ScoreScale("made up", "here", (-1000, 1000), higher_is_better=slope > 0)
        expected = offset + slope * sayings[30:]
        errors = []
        for fit_scale in (True, False):
            if not fit_scale and slope < 0:
                continue  # the model's own scale cannot run the other way
            bank, _ = build(tiny_model, labels, "cpu", 1, fit_scale=fit_scale, scale=scale)
            with pscr.open(tiny_model, device="cpu", threads=1, bank=bank) as scorer:
                found = np.array([scorer.score(path).score for path in paths[30:]])
            errors.append(np.sqrt(np.mean((found - expected) ** 2)))
            assert np.sign(bank.scale) == (np.sign(slope) if fit_scale else 1)
        assert errors[0] < 0.6 * min([*errors[1:], expected.std()]), (errors, expected.std())


def test_a_perfect_model_has_no_leave_one_out_error() -> None:
    sayings = np.random.default_rng(0).normal(size=20)
    labels = 7 + 12 * sayings
    figures, scores, spreads = leave_one_out(sayings[:, None] - sayings[None], labels)
    assert figures.scale == pytest.approx(12, rel=1e-9)
    assert np.abs(scores - labels).max() < 1e-9
    assert figures.srcc == pytest.approx(1)
    assert figures.plcc == pytest.approx(1, abs=1e-9)
    assert (spreads >= 0).all()


def test_labels_that_do_not_follow_the_model_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    sayings, labels = rng.normal(size=50), rng.normal(size=50)
    figures, _, _ = leave_one_out(sayings[:, None] - sayings[None], labels)
    (warning,) = figures.warnings()
    assert "50 images are too few, or their labels do not follow" in warning
    assert f"{figures.rmse_of_mean:.3f}" in warning


def test_a_scale_that_is_not_firm_says_how_many_images_would_make_it_so() -> None:
    rng = np.random.default_rng(1)

    def draw(count: int) -> LeaveOneOut:
        sayings = rng.normal(size=count)
        labels = 3 * sayings + rng.normal(0, 3.2, size=count)
        return leave_one_out(sayings[:, None] - sayings[None], labels)[0]

    drawn = [draw(40) for _ in range(20)]
    (warning,) = max(drawn, key=lambda figures: figures.clearly_better).warnings()
    assert re.search(r"known to ±\d+ % only; about \d+ such images", warning)
    error = float(np.mean([figures.scale_error for figures in drawn]))
    needed = round(40 * (error / 0.1) ** 2)
    assert np.mean([draw(needed).scale_error for _ in range(20)]) == pytest.approx(0.1, abs=0.02)


def test_intervals_of_a_built_bank_hold_what_they_say(tiny_model: Path, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 160)
    noise = np.random.default_rng(3).normal(0, 0.05, 160)
    opinions = own_scores(tiny_model, paths) + noise
    bank, _ = build(tiny_model, labelled(paths[:80], opinions[:80]), "cpu", 1)  # the other half is held out
    with pscr.open(tiny_model, device="cpu", threads=1, bank=bank) as scorer:
        bounds = [scorer.interval(scorer.score(path), 0.8) for path in paths[80:]]
        assert "80 images" in scorer.info["interval"]
    held = np.mean([low <= opinion <= high for (low, high), opinion in zip(bounds, opinions[80:], strict=True)])
    assert 0.65 < held < 0.95


def test_a_bank_of_another_network_of_the_same_width_is_refused(
    tiny_model: Path, own_model: Path, tmp_path: Path
) -> None:
    paths = pictures(tmp_path, 5)
    bank, _ = build(tiny_model, labelled(paths, own_scores(tiny_model, paths)), "cpu", 1)
    parts = tiny.weights()
    other = tiny.graph(parts.__class__(**{**vars(parts), "exemplar": parts.exemplar[::-1].copy()}))
    (own_model / "model.onnx").write_bytes(other.SerializeToString())
    Manifest.read(own_model).write(own_model, ["model.onnx", "bank.npz"])
    with pytest.raises(PscrError) as caught:
        pscr.open(own_model, device="cpu", threads=1, bank=bank)
    assert_refused(caught, Status.MODEL_INVALID, "built with another model", "tiny 0.0.1", "build it again")


@pytest.mark.parametrize("slope", [5.0, -5.0])
def test_labels_that_run_against_the_model_are_refused_without_the_word(
    tiny_model: Path, tmp_path: Path, slope: float
) -> None:
    """With such a bank `rank` would put the worst image first; with the right word it puts the best one first."""
    paths = pictures(tmp_path, 12)
    labels = labelled(paths, slope * own_scores(tiny_model, paths))
    wrong = ScoreScale("made up", "here", (-100, 100), higher_is_better=slope < 0)
    with pytest.raises(PscrError) as caught:
        build(tiny_model, labels, "cpu", 1, scale=wrong)
    assert_refused(caught, Status.INVALID_ARGUMENT, "run against the model's scores", "--lower-is-better")
    bank, _ = build(tiny_model, labels, "cpu", 1, scale=replace(wrong, higher_is_better=slope > 0))
    with pscr.open(tiny_model, "cpu", 1, bank=bank) as scorer:
        assert scorer.scale.higher_is_better == (slope > 0)
        ordered = [str(one.result.path) for one in pscr.rank(scorer, paths)]
    said = {str(image.path): image.score for image in labels}
    best, worst = (np.mean([said[path] for path in some]) for some in (ordered[:4], ordered[-4:]))
    assert (best - worst) * slope > 0
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, "cpu", 1, bank=replace(bank, score=wrong))
    assert_refused(caught, Status.MODEL_INVALID, "is better", "build it again")


@pytest.mark.parametrize("scores", [[1.0, 2.0], [1.0, 1.0, 1.0], [1.0, 2.0, float("nan")], []])
def test_labels_of_which_no_bank_can_be_made_are_refused(tiny_model: Path, tmp_path: Path, scores: list[float]) -> None:
    paths = pictures(tmp_path, len(scores))
    with pytest.raises(PscrError) as caught:
        build(tiny_model, labelled(paths, np.array(scores)), "cpu", 1)
    assert_refused(caught, Status.INVALID_ARGUMENT, "expected 3 or more")


def test_images_that_all_look_the_same_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 1) * 5
    with pytest.raises(PscrError) as caught:
        build(tiny_model, labelled(paths, np.arange(5.0)), "cpu", 1)
    assert_refused(caught, Status.INVALID_ARGUMENT, "different quality")


def test_an_image_that_cannot_be_read_is_named(tiny_model: Path, tmp_path: Path) -> None:
    paths = pictures(tmp_path, 4)
    paths[2].write_bytes(b"text")
    with pytest.raises(PscrError) as caught:
        build(tiny_model, labelled(paths, np.arange(4.0)), "cpu", 1)
    assert_refused(caught, Status.DECODE_FAILED, "2.png")


def test_what_a_bank_says_of_itself_survives_its_file(tiny_model: Path, tmp_path: Path) -> None:
    paths, scale = (
        pictures(tmp_path, 25),
        ScoreScale("difference opinion", "made up", (-50, 50), higher_is_better=False),
    )
    bank, figures = build(tiny_model, labelled(paths, -5 * own_scores(tiny_model, paths)), "cpu", 1, scale=scale)
    assert bank.score == scale
    bank.write(tmp_path / "bank.npz")
    again = Bank.read(tmp_path / "bank.npz")
    assert again.score == scale
    assert (again.scale, again.offset, again.about, again.names) == (
        bank.scale,
        bank.offset,
        json.loads(json.dumps(bank.about)),
        bank.names,
    )
    np.testing.assert_array_equal(again.probe, bank.probe)
    assert again.about["leave_one_out"]["rmse"] == pytest.approx(figures.rmse, abs=1e-5)
    assert again.about["calibration"]["images"] == 25
