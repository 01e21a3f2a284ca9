"""`--diagnose`: columns beside the score, in every format, and a line under the worst images of a report."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import tiny_diagnosis
from cli_testing import Cli

import pscr
from pscr.tables.fields import COLUMNS, DIAGNOSED_COLUMNS, result_of


@pytest.fixture
def model(own_model: Path) -> Path:
    tiny_diagnosis.add(own_model)
    return own_model


def test_csv_and_jsonl_have_the_librarys_diagnosis_after_the_usual_columns(
    cli: Cli, model: Path, images: Path, tmp_path: Path
) -> None:
    table, lines = tmp_path / "scores.csv", tmp_path / "scores.jsonl"
    for file in (table, lines):
        assert cli("score", images, "-o", file, "--model", model, "--diagnose", "-q").code == 0
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == DIAGNOSED_COLUMNS == (*COLUMNS, "kind", "degree", "probability")
    entries = [json.loads(line) for line in lines.read_text().splitlines()]
    with pscr.open(model, "cpu", 1) as scorer:
        for row, entry in zip(rows, entries, strict=True):
            found = scorer.score(row["path"], diagnose=True)
            assert found.diagnosis is not None
            assert (row["kind"], entry["kind"]) == (found.diagnosis.kind,) * 2
            assert float(row["degree"]) == entry["degree"] == pytest.approx(found.diagnosis.degree, abs=1e-5)
            assert float(row["probability"]) == entry["probability"]
            assert float(row["score"]) == pytest.approx(found.score, abs=1e-5)
            read = result_of(row).diagnosis
            assert read is not None
            assert (read.kind, read.degree) == (found.diagnosis.kind, entry["degree"])


def test_the_table_says_what_it_looks_like_and_a_failed_row_says_nothing(
    cli: Cli, model: Path, images: Path, truncated: Path
) -> None:
    done = cli("score", images, truncated, "--model", model, "--diagnose", "-q")
    assert done.code == 1
    header, *rows = done.out.splitlines()
    assert "looks like" in header
    scored = [row for row in rows if " OK " in row]
    assert len(scored) == len(rows) - 1
    assert all(re.search(r"(blur|noise) \(\d+ %\), degree \d\.\d of 5|clean \(\d+ %\)", row) for row in scored)
    (failed,) = set(rows) - set(scored)
    assert "%" not in failed.split(str(truncated))[0]


def test_without_the_option_nothing_changes(cli: Cli, model: Path, tiny_model: Path, images: Path) -> None:
    outputs = [cli("score", images, "--format", "csv", "-q", "--model", one).out for one in (model, tiny_model)]
    assert outputs[0] == outputs[1]


def test_a_model_that_makes_no_diagnosis_is_refused_before_anything_is_written(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    done = cli("score", images, "-o", out, "--model", tiny_model, "--diagnose")
    assert done.code == 2
    assert "tiny cannot say what is wrong with an image" in done.error
    assert not out.exists()


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_run_goes_on_with_the_columns_that_it_began_with(
    cli: Cli, model: Path, images: Path, tmp_path: Path, ending: str
) -> None:
    whole, part = tmp_path / f"whole.{ending}", tmp_path / f"part.{ending}"
    words = ("score", images, "--model", model, "-q", "-o")
    assert cli(*words, whole, "--diagnose").code == 0
    lines = whole.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:2]))
    done = cli(*words, part, "--resume")
    assert done.code == 2
    assert "has the columns of --diagnose; add --diagnose" in done.error
    assert cli(*words, part, "--resume", "--diagnose").code == 0
    assert sorted(part.read_bytes().splitlines()) == sorted(whole.read_bytes().splitlines())
    assert cli(*words, part, "--overwrite").code == 0
    done = cli(*words, part, "--resume", "--diagnose")
    assert done.code == 2
    assert "has no columns of --diagnose; leave --diagnose out" in done.error


@pytest.mark.slow
def test_a_report_says_of_the_worst_what_they_look_like(cli: Cli, model: Path, images: Path, tmp_path: Path) -> None:
    page, plain, scores = tmp_path / "report.html", tmp_path / "plain.html", tmp_path / "scores.csv"
    words = ("report", images, "--model", model, "--show", 2, "--no-maps", "-q")
    assert cli(*words, "-o", page, "--diagnose").code == 0
    assert cli(*words, "-o", plain).code == 0
    worst, best = (re.search(rf'id="{name}".*?</section>', page.read_text(), re.DOTALL) for name in ("worst", "best"))
    assert worst
    assert best
    assert len(re.findall(r"<small>looks like (blur|noise|clean) \(\d+ %\)", worst[0])) == 2
    assert "looks like" not in best[0]
    assert "looks like" not in plain.read_text().replace("What an image looks like", "")
    assert cli("score", images, "-o", scores, "--model", model, "--diagnose", "-q").code == 0
    again = tmp_path / "again.html"
    assert cli(*words, "--scores", scores, "-o", again, "--diagnose").code == 0
    assert "<small>looks like" in again.read_text()
