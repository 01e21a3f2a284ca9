"""`pscr regress` fits a head from a csv of labels, and every verb that takes a bank takes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_testing import Cli, write_image

from pscr.runtime.regressor import Regressor


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Thirty images, two of each prompt, with a label each."""
    rng = np.random.default_rng(0)
    rows = ["path,score,dmos,prompt"]
    for number in range(30):
        write_image(tmp_path / "set" / f"{number}.png", number)
        rows.append(f"{number}.png,{rng.uniform(0, 100):.2f},{rng.uniform(0, 1):.3f},prompt {number // 2}")
    file = tmp_path / "set" / "labels.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_it_writes_a_head_and_says_how_good_it_is(cli: Cli, tiny_model: Path, labels: Path, tmp_path: Path) -> None:
    head = tmp_path / "head.npz"
    words = ("regress", labels, "--model", tiny_model, "-o", head, "--range", 0, 100, "--meaning", "my judgement")
    done = cli(*words, "--group-column", "prompt", "--regressors", 3)
    assert done.code == 0
    for part in ("3 regressors, which vote", "my judgement; labels, 0 to 100", "30 images of 15 groups", "interval"):
        assert part in done.out
    regressor = Regressor.read(head)
    assert len(regressor) == 3
    assert regressor.about["labels"] == "labels.csv, column score"
    told = json.loads(cli(*words, "--json").out)
    assert told["about"]["fit"]["groups"] == 30
    assert told["score"]["range"] == [0, 100]


def test_every_verb_that_takes_a_bank_takes_a_head(cli: Cli, tiny_model: Path, labels: Path, tmp_path: Path) -> None:
    head, image = tmp_path / "head.npz", labels.with_name("0.png")
    words = ("--score-column", "dmos", "--lower-is-better", "--range", 0, 1, "-q")
    assert cli("regress", labels, "--model", tiny_model, "-o", head, *words).code == 0
    given = ("--model", tiny_model, "--head", head)
    scored = cli("score", image, *given)
    assert "lower is better" in scored.out
    assert str(head) in scored.out
    assert cli("rank", image, labels.with_name("1.png"), *given).code == 0
    assert cli("map", image, *given, "-o", tmp_path / "map.png").code == 0
    assert cli("report", labels.parent, *given, "-o", tmp_path / "report.html", "--no-maps").code == 0
    assert "linear: 10 regressors" in cli("info", tiny_model, "--head", head).out
    refused = cli("score", image, *given, "--bank", "bank.npz")
    assert refused.code == 2
    assert "not allowed with argument" in refused.error


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["-o", "head.txt"], 2, "ending in .npz"),
        (["-o", "no/folder/head.npz"], 2, "there is no folder"),
        (["-o", "{}/head.npz", "--score-column", "mos"], 2, "mos"),
        (["-o", "{}/head.npz", "--group-column", "city"], 2, "city"),
        (["-o", "{}/head.npz", "--range", "0", "50"], 2, "--range"),
        (["-o", "{}/head.npz", "--regressors", "0"], 2, "whole number"),
    ],
)
def test_a_wrong_call_is_one_line(
    cli: Cli, tiny_model: Path, labels: Path, tmp_path: Path, words: list[str], code: int, part: str
) -> None:
    done = cli("regress", labels, "--model", tiny_model, *(word.format(tmp_path) for word in words))
    assert done.code == code
    assert part in done.error
    assert not (tmp_path / "head.npz").exists()


def test_an_image_that_is_missing_is_named(cli: Cli, tiny_model: Path, labels: Path, tmp_path: Path) -> None:
    labels.with_name("7.png").unlink()
    done = cli("regress", labels, "--model", tiny_model, "-o", tmp_path / "head.npz")
    assert done.code == 3 or done.code == 1
    assert "7.png" in done.error
