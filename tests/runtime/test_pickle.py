"""A Scorer that goes to another process opens the same model there, as joblib, Spark and multiprocessing need it."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_makers import assert_refused

import pscr
from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """An image file."""
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "picture.png"), noise)
    return str(tmp_path / "picture.png")


def test_a_process_that_is_spawned_scores_with_it(tiny_model: Path, picture: str) -> None:
    with pscr.open(tiny_model, "cpu", threads=1) as scorer, multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(scorer.score, [picture]) == [scorer.score(picture)]


def test_it_is_opened_with_the_same_arguments_wherever_the_process_stands(
    own_model: Path, picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = Bank.read(own_model / "bank.npz")
    Bank(own.terms, own.scores + 1, own.names).write(tmp_path / "other.npz")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for bank in (None, "other.npz", Bank.read(tmp_path / "other.npz")):
        with pscr.open(own_model.name, "auto", threads=1, bank=bank, max_pixels=7000) as scorer:
            with monkeypatch.context() as moved:
                moved.chdir(elsewhere)
                again = pickle.loads(pickle.dumps(scorer))
            with again:
                assert again.score(picture) == scorer.score(picture)
                assert again.info == {**scorer.info, "folder": str(own_model)}
                with pytest.raises(PscrError, match="expected at most 7000"):
                    again.score(np.zeros((100, 100), np.uint8))


def test_one_that_is_closed_goes_nowhere(tiny_model: Path) -> None:
    scorer = pscr.open(tiny_model, "cpu", threads=1)
    scorer.close()
    with pytest.raises(PscrError) as caught:
        pickle.dumps(scorer)
    assert_refused(caught, Status.CLOSED, "open the model again")
