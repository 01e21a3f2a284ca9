"""`pscr compare`: which of two sets is better, with which certainty, and when it refuses to say."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_linear
from cli_testing import Cli, write_image

from pscr.report.two_sets import Scored, Verdict, change
from pscr.tables.fields import COLUMNS

HALVES = 200


@pytest.fixture(scope="module")
def lower_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose lower scores are better."""
    return tiny_linear.write(tmp_path_factory.mktemp("models") / "lower")


def write_results(file: Path, scores: list[float], **cells: list[str]) -> Path:
    """A csv file as `pscr score` writes it, of images that are gone; cells: of the columns beside."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((*cells, *COLUMNS))
        for number, (score, *beside) in enumerate(zip(scores, *cells.values(), strict=True)):
            writer.writerow((*beside, f"gone/{number}.png", f"{score:.6f}", "", 8, 8, "OK", "", "", ""))
    return file


def normal(seed: int, count: int, mean: float) -> list[float]:
    return list(np.random.default_rng(seed).normal(mean, 0.5, count))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Results, the second clearly higher."""
    first, second = (write_results(tmp_path / f"{n}.csv", normal(n, 50, 2.5 + n)) for n in range(2))
    return first, second


def compared(cli: Cli, *words: object) -> dict[str, Any]:
    done = cli("compare", *words, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_the_figures_are_of_the_second_set_minus_the_first(cli: Cli, tiny_model: Path, two: tuple[Path, Path]) -> None:
    found = compared(cli, *two, "--model", tiny_model)
    first, second = (normal(n, 50, 2.5 + n) for n in range(2))
    assert found["before"] == {"count": 50, "mean": pytest.approx(np.mean(first), abs=1e-5)}
    assert found["difference"]["value"] == pytest.approx(np.mean(second) - np.mean(first), abs=1e-5)
    wins = np.greater.outer(np.array(second), np.array(first)).mean()
    assert found["probability_better"]["value"] == pytest.approx(wins, abs=1e-5)
    assert found["verdict"] == "better"
    back = compared(cli, *two[::-1], "--model", tiny_model)
    assert back["verdict"] == "worse"
    assert back["difference"]["low"] == pytest.approx(-found["difference"]["high"], abs=0.05)
    assert back["probability_better"]["value"] == pytest.approx(1 - wins, abs=1e-5)


def test_where_lower_scores_are_better_the_higher_set_is_worse(
    cli: Cli, lower_model: Path, two: tuple[Path, Path]
) -> None:
    found = compared(cli, *two, "--model", lower_model)
    assert found["verdict"] == "worse"
    assert found["difference"]["value"] > 0
    assert found["probability_better"]["value"] < 0.5


def test_fail_if_worse_ends_with_1_only_where_the_second_is_worse_by_more_than_the_margin(
    cli: Cli, tiny_model: Path, two: tuple[Path, Path]
) -> None:
    worse = (*two[::-1], "--model", tiny_model)
    done = cli("compare", *worse, "--fail-if-worse")
    assert done.code == 1
    assert "after is worse" in done.out
    assert cli("compare", *worse, "--fail-if-worse", "--margin", 0.5).code == 1
    assert cli("compare", *worse, "--fail-if-worse", "--margin", 1.5).code == 0
    assert cli("compare", *worse).code == 0
    assert cli("compare", *two, "--model", tiny_model, "--fail-if-worse").code == 0


def test_pairs_tell_what_the_spread_of_prompts_hides(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    level = np.random.default_rng(5).normal(2.5, 1, 40)
    prompts = [f"prompt {n}" for n in range(40)]
    first = write_results(tmp_path / "a.csv", list(level), prompt=prompts)
    second = write_results(tmp_path / "b.csv", [*(level + normal(6, 40, 0.2)), 0.0], prompt=[*prompts, "alone"])
    sets = (first, second, "--model", tiny_model)
    assert compared(cli, *sets)["verdict"] == "no difference"
    found = compared(cli, *sets, "--pair-by", "prompt")
    assert (found["verdict"], found["pairs"], found["left_out"]) == ("better", 40, 1)


def test_columns_that_results_lack_come_from_a_csv_file(
    cli: Cli, tiny_model: Path, two: tuple[Path, Path], tmp_path: Path
) -> None:
    file = tmp_path / "columns.csv"
    file.write_text("path,style\n" + "".join(f"{n}.png,{'photo' if n < 20 else 'art'}\n" for n in range(50)))
    found = compared(cli, *two, "--model", tiny_model, "--by", "style", "--columns", file)
    assert {name: one["before"]["count"] for name, one in found["groups"].items()} == {"photo": 20, "art": 30}
    refused = cli("compare", *two, "--model", tiny_model, "--by", "style")
    assert refused.code == 2
    assert "no column 'style'; --columns" in refused.error


def test_folders_are_scored_and_compared_as_their_results_are(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    for seed, name in enumerate(("img1.jpg", "img2.jpg", "deep.png")):
        write_image(others / name, 20 + seed)
    results = tmp_path / "images.jsonl"
    assert cli("score", images, "-o", results, "--model", tiny_model, "-q").code == 0
    words = (others, "--pair-by", "path-stem", "--model", tiny_model, "-q")
    from_images = compared(cli, images, *words)
    assert from_images["pairs"] == 3
    assert from_images["left_out"] == 1
    assert compared(cli, results, *words)["difference"] == pytest.approx(from_images["difference"], abs=1e-5)


def test_results_of_another_model_are_refused_unless_they_are_not_to_be_checked(
    cli: Cli, tiny_model: Path, lower_model: Path, images: Path, tmp_path: Path
) -> None:
    results = tmp_path / "images.csv"
    assert cli("score", images, "-o", results, "--model", lower_model, "-q").code == 0
    words = ("compare", results, results, "--model", tiny_model)
    refused = cli(*words)
    assert refused.code == 2
    assert "comes from another model" in refused.error
    assert "--no-check" in refused.error
    assert cli(*words, "--no-check").code == 0


def test_what_cannot_be_compared_is_a_usage_error(
    cli: Cli, tiny_model: Path, two: tuple[Path, Path], tmp_path: Path
) -> None:
    empty = write_results(tmp_path / "empty.csv", [])
    for words, said in (
        ((two[0], empty), "no image has a score"),
        ((two[0], tmp_path / "gone.csv"), "cannot be read"),
        ((two[0], tmp_path / "gone"), "nothing to compare"),
        ((*two, "--margin", "-1"), "a number from 0"),
        ((*two, "--columns", "some.csv"), "--pair-by COLUMN or --by COLUMN"),
    ):
        done = cli("compare", *words, "--model", tiny_model)
        assert done.code == 2
        assert said in done.error


def test_random_halves_of_one_set_differ_as_rarely_as_the_level_says() -> None:
    rng = np.random.default_rng(11)
    scores = rng.gamma(4, 0.6, 80)
    alarms = 0
    for _ in range(HALVES):
        mixed = rng.permutation(scores)
        first, second = ([Scored(float(score)) for score in half] for half in (mixed[:40], mixed[40:]))
        alarms += change(first, second).verdict in (Verdict.BETTER, Verdict.WORSE)
    assert 0.02 <= alarms / HALVES <= 0.09


def test_one_image_is_too_few_to_tell() -> None:
    assert change([Scored(1.0)], [Scored(4.0)]).verdict is Verdict.TOO_FEW


def test_a_set_without_a_score_says_why(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    for path, why in ((tmp_path / "missing", "no such file"), (image.with_name("text.png"), "not an image")):
        if path.suffix:
            path.write_bytes(b"text")
        done = cli("compare", image, path, "--model", tiny_model, "-q")
        assert done.code == 2
        assert f"nothing to compare in {path}" in done.error
        assert why in done.error
