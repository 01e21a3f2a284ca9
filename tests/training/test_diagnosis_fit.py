"""The classifier of distortions: what it is fitted to, what it is judged by, and the command that makes one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_testing import write_image

import pscr
from pscr.runtime.diagnosis import CLEAN, FILE, Classifier
from pscr.training import diagnose
from pscr.training.diagnosis import KINDS, PASSED, Samples, fit, joined, judge, square
from pscr.training.distortions import GROUPS, TYPES, severity

WIDTH = 8


def samples(contents: int, seed: int) -> Samples:
    """Features that tell the types apart with some noise: what a network would give that sees all of them."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(0, 3, (len(KINDS), WIDTH))
    rows = [(place, level, content) for content in range(contents) for place in range(len(TYPES)) for level in (3, 5)]
    rows += [(len(TYPES), 0, content) for content in range(contents)]
    types, levels, shown = np.array(rows).T
    return Samples(centres[types] + rng.normal(0, 0.3, (len(rows), WIDTH)), types, levels, shown)


def test_every_type_has_a_kind_and_what_an_image_cannot_show_is_let_pass() -> None:
    assert set(PASSED) <= {one.name for one in TYPES}
    assert set(KINDS) == set(GROUPS) - {"brightness"} | {CLEAN}
    for kind, one in zip(KINDS, TYPES, strict=False):
        assert kind == (CLEAN if one.name in PASSED else one.group)


def test_degrees_are_six_less_peoples_mean() -> None:
    found = Samples(np.zeros((2, 1)), np.array([9, len(TYPES)]), np.array([5, 0]), np.zeros(2, np.int64))
    assert found.degrees[0] == pytest.approx(6 - severity("jpeg", 5))
    assert found.degrees[1] < 1.5


def test_features_that_tell_types_apart_are_told_apart_on_other_contents(tiny_model: Path) -> None:
    with pscr.open(tiny_model, "cpu", 1) as scorer:
        found = fit(samples(6, 0), scorer, seed=0)
    figures = judge(found, samples(4, 1))
    assert figures.from_3 > 0.95
    assert figures.clean == 1
    assert figures.contents == 4
    assert np.diag(figures.confusion).min() > 0.8
    assert np.allclose(np.sum(figures.confusion, 1), 1)
    shuffled = samples(4, 1)
    wrong = judge(found, Samples(shuffled.features[::-1], shuffled.types, shuffled.levels, shuffled.contents))
    assert wrong.from_3 < 0.5


def test_joined_samples_show_different_contents() -> None:
    both = joined(samples(2, 0), samples(3, 1))
    assert len(np.unique(both.contents)) == 5
    assert len(both.features) == len(both.types) == len(samples(5, 0).types)


def test_squares_are_the_middle_and_of_512_pixels_at_most() -> None:
    image = np.arange(600 * 800 * 3, dtype=np.uint32).astype(np.uint8).reshape(600, 800, 3)
    assert square(image).shape == (512, 512, 3)
    np.testing.assert_array_equal(square(image[:100]), image[:100, 350:450])


def test_the_command_fits_judges_and_puts_the_file_into_the_model(
    own_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("fit/a.png", "fit/b.png", "fit/c.jpg", "other/a.png", "clean/a.png")):
        write_image(tmp_path / name, seed)
    words = [str(own_model), "--images", str(tmp_path / "fit"), "--held-out", str(tmp_path / "other")]
    words += ["--clean", str(tmp_path / "clean"), "--device", "cpu", "--threads", "1", "--levels", "1"]
    assert diagnose.main([*words, "-o", str(tmp_path / "a.npz"), "--add"]) == 0
    told = capsys.readouterr().out
    assert "26 images of 1 contents that it was not fitted on" in told
    assert "right at the levels 3 to 5" in told
    found = Classifier.from_bytes((tmp_path / "a.npz").read_bytes())
    assert found.about["fit"] == {"images": 3, "clean": 1, "levels": 1, "seed": 0}
    assert (own_model / FILE).read_bytes() == (tmp_path / "a.npz").read_bytes()
    with pscr.open(own_model, "cpu", 1) as scorer:
        diagnosis = scorer.score(tmp_path / "fit" / "a.png", diagnose=True).diagnosis
    assert diagnosis is not None
    assert set(diagnosis.all) == set(KINDS)
    assert diagnose.main([*words, "-o", str(tmp_path / "b.npz")]) == 0
    assert (tmp_path / "b.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()


def test_a_folder_without_images_and_nothing_to_write_are_refused(
    own_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(own_model), "--images", str(tmp_path), "--held-out", str(tmp_path)]
    assert diagnose.main([*words, "-o", str(tmp_path / "a.npz")]) == 2
    assert "no images in this folder" in capsys.readouterr().err
    assert diagnose.main(words) == 2
    assert "expected -o FILE, or --add" in capsys.readouterr().err
