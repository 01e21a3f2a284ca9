"""Candidates in order: by score, each step with what the paired votes and the calibration say of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_model as tiny

import pscr
from pscr.runtime.calibration import Calibration
from pscr.runtime.manifest import Manifest

CALIBRATION = Calibration((0.5, 0.9), (0.5, 2.0), (0.5, 0.9), 0.4, 0.1, 100, "made up")


def picture(seed: int) -> np.ndarray:
    return cv2.resize(np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8), (80, 64))


@pytest.fixture
def scorer(own_model: Path) -> Iterator[pscr.Scorer]:
    """The tiny model with a calibration."""
    manifest = dataclasses.replace(Manifest.read(own_model), calibration=CALIBRATION.to_dict())
    manifest.write(own_model, ["model.onnx", "bank.npz"])
    with pscr.open(own_model, device="cpu", threads=2) as opened:
        yield opened


def test_candidates_come_best_first_with_the_paired_differences(scorer: pscr.Scorer) -> None:
    images = [picture(seed) for seed in range(6)]
    votes = [tiny.expected_votes(tiny.SAMPLING.cut(image)[None])[0] for image in images]
    ranked = pscr.rank(scorer, images, pixel_format="rgb")
    scores = sorted((vote.mean() for vote in votes), reverse=True)
    assert [one.place for one in ranked] == [1, 2, 3, 4, 5, 6]
    assert [one.result.score for one in ranked] == pytest.approx(scores, abs=1e-5)
    order = np.argsort([-vote.mean() for vote in votes])
    for one, better, worse in zip(ranked, order, order[1:], strict=False):
        paired = votes[better] - votes[worse]
        assert one.ahead == pytest.approx(paired.mean(), abs=1e-5)
        assert one.supported == (paired.mean() > 1.96 * paired.std())
        assert one.confidence == pytest.approx(0.5 * (1 + math.erf(paired.mean() / 0.4 / math.sqrt(2))), abs=1e-4)
    assert (ranked[-1].ahead, ranked[-1].supported, ranked[-1].confidence) == (None, None, None)
    assert {one.supported for one in ranked[:-1]} == {True, False}


def test_lower_is_better_where_the_model_says_so(own_model: Path) -> None:
    manifest = Manifest.read(own_model)
    meaning = dataclasses.replace(manifest.score, higher_is_better=False)
    dataclasses.replace(manifest, score=meaning).write(own_model, ["model.onnx", "bank.npz"])
    with pscr.open(own_model, device="cpu", threads=1) as scorer:
        ranked = pscr.rank(scorer, [picture(seed) for seed in range(4)], pixel_format="rgb")
    scores = [one.result.score for one in ranked]
    assert scores == sorted(scores)
    assert all(one.ahead >= 0 for one in ranked[:-1])
    assert all(one.confidence is None for one in ranked)


def test_what_cannot_be_scored_comes_last_without_a_place(scorer: pscr.Scorer) -> None:
    ranked = pscr.rank(scorer, [b"text", picture(0), "none.png", picture(1)], pixel_format="rgb")
    assert [one.place for one in ranked] == [1, 2, 0, 0]
    assert [one.result.status.name for one in ranked] == ["OK", "OK", "DECODE_FAILED", "FILE_NOT_FOUND"]
    assert pscr.rank(scorer, []) == []


def test_the_same_image_twice_is_a_toss_up(scorer: pscr.Scorer) -> None:
    first, second = pscr.rank(scorer, [picture(0), picture(0)], pixel_format="rgb")
    assert (first.ahead, first.supported, first.confidence) == (0, False, 0.5)
    assert second.place == 2
