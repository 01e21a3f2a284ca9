"""`pscr rank`: one row for each candidate, the best first."""

from __future__ import annotations

import json
from pathlib import Path

from cli_testing import Cli


def test_candidates_are_listed_best_first(cli: Cli, tiny_model: Path, images: Path) -> None:
    rows = [
        json.loads(line) for line in cli("rank", images, "--model", tiny_model, "--format", "jsonl").out.splitlines()
    ]
    scored = cli("score", images, "--model", tiny_model, "--format", "jsonl", "-q").out.splitlines()
    expected = sorted((json.loads(line)["score"] for line in scored), reverse=True)
    assert [row["score"] for row in rows] == expected
    assert [row["place"] for row in rows] == [1, 2, 3, 4]
    assert (
        rows[0]["ahead"] == round(expected[0] - expected[1], 6)
        or abs(rows[0]["ahead"] - expected[0] + expected[1]) < 1e-5
    )
    assert rows[-1]["ahead"] is rows[-1]["supported"] is None
    table = cli("rank", images, "--model", tiny_model)
    assert table.code == 0
    assert "not calibrated" in table.out
    assert table.out.splitlines()[2].split() == ["place", "score", "ahead", "supported", "confidence", "path"]


def test_1_where_a_candidate_has_no_place(cli: Cli, tiny_model: Path, images: Path, truncated: Path) -> None:
    done = cli("rank", images, truncated, "--model", tiny_model, "-q")
    assert done.code == 1
    assert "DECODE_FAILED" in done.out.splitlines()[-1]


def test_2_where_there_is_nothing_to_compare(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words in ([image], [tmp_path / "empty"]):
        done = cli("rank", *words, "--model", tiny_model)
        assert done.code == 2
        assert "expected two images or more" in done.error
