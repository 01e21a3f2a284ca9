"""A model without votes has no spread in any place where people look, and never a 0 in its stead."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import httpx
import pytest
import tiny_model as tiny
from cli_testing import Cli
from serve_process import serving


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_direct(tmp_path_factory.mktemp("direct") / "model")


def test_the_cell_is_empty_and_the_key_null(cli: Cli, direct: Path, image: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(cli("score", image, "--model", direct, "--format", "csv").out))
    assert (row["spread"], row["low"], row["high"], row["status"]) == ("", "", "", "OK")
    found = json.loads(cli("score", image, "--model", direct, "--format", "jsonl").out)
    assert (found["spread"], found["low"], found["high"], found["status"]) == (None, None, None, "OK")
    table = cli("score", image, "--model", direct, "-q").out.splitlines()[-1].split()
    assert table[:2] == [f"{found['score']:.3f}", "-"]


def test_a_file_of_such_rows_is_gone_on_with_and_reported_on(
    cli: Cli, direct: Path, images: Path, tmp_path: Path
) -> None:
    pytest.importorskip("jinja2")
    out = tmp_path / "scores.csv"
    assert cli("score", images, "--model", direct, "-o", out, "-q").code == 0
    whole = out.read_text()
    out.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    assert cli("score", images, "--model", direct, "-o", out, "-q", "--resume").code == 0
    assert out.read_text() == whole
    page = tmp_path / "page.html"
    assert cli("report", images, "--scores", out, "--model", direct, "-o", page, "-q").code == 0
    text = page.read_text()
    assert "data-spread" not in text
    assert "The model is not calibrated: no interval is given." in text


def test_ranking_says_what_it_does_not_know(cli: Cli, direct: Path, images: Path) -> None:
    done = cli("rank", images, "--model", direct, "--format", "jsonl", "-q")
    first = json.loads(done.out.splitlines()[0])
    assert (first["spread"], first["supported"], first["confidence"]) == (None, None, None)
    assert first["ahead"] >= 0


def test_info_says_what_the_model_is(cli: Cli, direct: Path) -> None:
    found = cli("info", direct).out
    assert "the network gives the score itself" in found
    assert "exemplars" in found  # that there are none
    facts = json.loads(cli("info", direct, "--json").out)
    assert (facts["family"], facts["bank"], facts["interval"]) == ("direct", None, None)


def test_the_service_says_null(direct: Path, image: Path) -> None:
    with serving(direct) as served:
        answer = httpx.post(f"{served.url}/v1/score", content=image.read_bytes(), timeout=30).json()
    (one,) = answer["results"]
    assert (one["spread"], one["interval"], one["status"]) == (None, None, "OK")
