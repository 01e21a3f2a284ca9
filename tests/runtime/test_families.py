"""A family without votes has no spread, anywhere; a head that fits no graph, and a family of tomorrow, are told."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import tiny_model as tiny
from image_makers import assert_refused

import pscr
from pscr.runtime import calibration, capi, verification
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families import FAMILIES
from pscr.runtime.manifest import FILE_NAME, Manifest


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_direct(tmp_path_factory.mktemp("direct") / "model")


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)


def test_a_direct_model_scores_without_spread(direct: Path) -> None:
    with pscr.open(direct, "cpu", 1) as scorer:
        result = scorer.score(picture(0), pixel_format="rgb")
        (same,) = scorer.score_many([picture(0)], pixel_format="rgb")
        assert (result.score, result.spread, result.interval) == (pytest.approx(same.score, abs=1e-6), None, None)
        assert "spread" not in result._repr_html_()
        assert (scorer.info["family"], scorer.info["bank"], scorer.head.has_spread) == ("direct", None, False)
        assert all(abs(promised - found) < 1e-4 for _, promised, found in verification.check(scorer))
        assert scorer.terms(scorer.patches(picture(0), pixel_format="rgb")[None]).shape == (1, tiny.WIDTH)


def test_candidates_of_a_direct_model_have_a_distance_and_nothing_that_votes_would_say(direct: Path) -> None:
    with pscr.open(direct, "cpu", 1) as scorer:
        first, second = pscr.rank(scorer, [picture(0), picture(1)], pixel_format="rgb")
    assert first.ahead == pytest.approx(first.result.score - second.result.score)
    assert (first.supported, first.confidence, second.ahead) == (None, None, None)


def test_a_direct_model_has_a_quality_map(direct: Path) -> None:
    with pscr.open(direct, "cpu", 1) as scorer:
        found = pscr.quality_map(scorer, picture(0), pixel_format="rgb", stride=8)
        assert found.values.shape == (5, 5)
        assert found._repr_png_().startswith(b"\x89PNG")


def test_the_flat_form_gives_nan_for_a_spread_that_is_not_there(direct: Path) -> None:
    handle, out = np.zeros(1, np.int64), np.zeros(2)
    assert capi.pscr_open(str(direct), "cpu", 1, handle) == Status.OK
    pixels = picture(0)
    assert capi.pscr_score_pixels(int(handle[0]), pixels, 64, 64, 0, "rgb", out) == Status.OK
    assert np.isfinite(out[0])
    assert np.isnan(out[1])
    assert capi.pscr_close(int(handle[0])) == Status.OK


def test_a_direct_model_takes_no_bank(direct: Path, tiny_model: Path) -> None:
    with pytest.raises(PscrError) as caught:
        pscr.open(direct, "cpu", 1, bank=tiny_model / "bank.npz")
    assert_refused(caught, Status.INVALID_ARGUMENT, "without exemplars", "no bank")


def test_openvino_gives_the_scores_of_a_direct_model(direct: Path) -> None:
    pytest.importorskip("openvino")
    with pscr.open(direct, "openvino", 1) as one, pscr.open(direct, "cpu", 1) as other:
        found, expected = (scorer.score(picture(0), pixel_format="rgb").score for scorer in (one, other))
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_constant_width_is_an_interval_where_there_is_no_spread(direct: Path, tmp_path: Path) -> None:
    folder = tiny.write_direct(tmp_path / "calibrated")
    rng = np.random.default_rng(0)
    scores = rng.normal(2.5, 1, 400)
    opinions = scores + rng.normal(0, 0.5, 400)
    found = calibration.measure(scores, None, opinions, "made up")
    assert (found.by, found.spread_correlation) == ("constant", None)
    assert found.factor(0.9) == pytest.approx(0.5 * 1.645, rel=0.1)
    assert all(abs(held - level) < 0.03 for held, level in zip(found.coverage, found.levels, strict=True))
    manifest = Manifest.read(folder)
    dataclasses.replace(manifest, calibration=found.to_dict()).write(folder, list(manifest.files))
    with pscr.open(folder, "cpu", 1) as scorer:
        result = scorer.score(picture(0), pixel_format="rgb")
        half = found.factor(0.9)
        assert result.interval == pytest.approx((result.score - half, result.score + half))
        assert "spread" not in scorer.info["interval"]
        first, _ = pscr.rank(scorer, [picture(0), picture(1)], pixel_format="rgb")
        assert 0.5 <= first.confidence <= 1


def test_a_constant_width_may_be_asked_for_where_there_is_a_spread() -> None:
    rng = np.random.default_rng(1)
    scores, spreads = rng.normal(size=100), rng.uniform(0.5, 1.5, 100)
    found = calibration.measure(scores, spreads, scores + rng.normal(0, 0.3, 100), "made up", by="constant")
    assert found.interval(1.0, None) == found.interval(1.0, 9.0)
    assert calibration.Calibration.from_dict(json.loads(json.dumps(found.to_dict())), "here") == found
    with pytest.raises(PscrError) as caught:
        calibration.measure(scores, None, scores, "made up", by="spread")
    assert_refused(caught, Status.INVALID_ARGUMENT, "no spread", "constant")


def test_a_family_of_tomorrow_needs_a_newer_pscr(own_model: Path) -> None:
    entries = json.loads((own_model / FILE_NAME).read_text())
    (own_model / FILE_NAME).write_text(json.dumps(entries | {"family": "tomorrow"}))
    with pytest.raises(PscrError) as caught:
        pscr.open(own_model, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, "'tomorrow'", *map(repr, FAMILIES), "newer pscr")


@pytest.mark.parametrize("family", ["direct", "pscr"])
def test_a_head_that_does_not_fit_its_graph_is_refused(family: str, own_model: Path, tmp_path: Path) -> None:
    """The graph of one family under the name of the other."""
    folder = own_model if family == "direct" else tiny.write_direct(tmp_path / "model")
    manifest = Manifest.read(folder)
    files = list(manifest.files)
    if family == "pscr":
        tiny.weights().bank.write(folder / "bank.npz")
        files.append("bank.npz")
    dataclasses.replace(manifest, family=family).write(folder, files)
    with pytest.raises(PscrError) as caught:
        pscr.open(folder, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, "model.onnx has", "expected a score graph")


def test_votes_that_are_not_finite_have_no_finite_spread_and_nothing_is_printed(tiny_model: Path) -> None:
    with pscr.open(tiny_model, "cpu", 1) as scorer, warnings.catch_warnings():
        warnings.simplefilter("error")
        spread = scorer.head.spread(np.array([1.0, np.inf, 2.0], np.float32))
    assert spread is not None
    assert not np.isfinite(spread)
