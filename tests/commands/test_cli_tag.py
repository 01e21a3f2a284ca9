"""`pscr tag`: images get their scores, files stay what they were, and what cannot be tagged is said."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cli_testing import Cli, write_image

from pscr.runtime.image import load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.jpg", "c.png")):
        write_image(tmp_path / "images" / name, seed)
    return tmp_path / "images"


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def tag(cli: Cli, model: Path, *words: object) -> Any:
    return cli("tag", *words, "--model", model, "--device", "cpu", "--format", "jsonl")


def test_every_image_gets_its_score_and_keeps_pixels_mode_and_times(cli: Cli, tiny_model: Path, folder: Path) -> None:
    before = {file: load(file) for file in folder.iterdir()}
    for file in before:
        file.chmod(0o640)
        os.utime(file, ns=(10**18, 10**18 + 7))
    done = tag(cli, tiny_model, folder)
    assert done.code == 0
    assert [Path(row["path"]).name for row in rows(done.out)] == ["a.png", "b.jpg", "c.png"]
    for row in rows(done.out):
        file = Path(row["path"])
        data = file.read_bytes()
        assert row["done"] == "tagged"
        assert f'xmp:Rating="{row["rating"]}"'.encode() in data
        assert (f"pscr_score\0{row['score']:.3f}".encode() in data) == (file.suffix == ".png")
        assert (load(file) == before[file]).all()
        assert (file.stat().st_mode & 0o777, file.stat().st_mtime_ns) == (0o640, 10**18 + 7)
    assert sorted(file.name for file in folder.iterdir()) == ["a.png", "b.jpg", "c.png"]
    assert {row["done"] for row in rows(tag(cli, tiny_model, folder).out)} == {"same"}


def test_a_dry_run_writes_nothing(cli: Cli, tiny_model: Path, folder: Path) -> None:
    before = {file: file.read_bytes() for file in folder.iterdir()}
    done = tag(cli, tiny_model, folder, "--dry-run")
    assert {row["done"] for row in rows(done.out)} == {"tagged"}
    assert "3 would be tagged" in done.err
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_scores_of_an_earlier_run_are_taken_as_they_are(
    cli: Cli, tiny_model: Path, folder: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.csv"
    cli("score", folder / "a.png", folder / "b.jpg", "--model", tiny_model, "-o", scores)
    done = tag(cli, tiny_model, folder, "--scores", scores)
    found = {Path(row["path"]).name: row for row in rows(done.out)}
    assert done.code == 1
    assert [found[name]["done"] for name in ("a.png", "b.jpg", "c.png")] == ["tagged", "tagged", "failed"]
    assert "has no result for it" in found["c.png"]["message"]
    assert b"pscr_score" not in (folder / "c.png").read_bytes()


def test_scores_of_another_model_are_refused(cli: Cli, tiny_model: Path, folder: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.jsonl"
    cli("score", folder, "--model", tiny_model, "-o", scores)
    lines = [{**row, "score": row["score"] + 3} for row in rows(scores.read_text())]
    scores.write_text("".join(json.dumps(line) + "\n" for line in lines))
    before = {file: file.read_bytes() for file in folder.iterdir()}
    done = tag(cli, tiny_model, folder, "--scores", scores)
    assert done.code == 2
    assert "another model" in done.error
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_what_cannot_be_tagged_is_a_row_and_the_rest_is_done(
    cli: Cli, tiny_model: Path, folder: Path, truncated: Path
) -> None:
    webp = write_image(folder / "d.webp")
    done = tag(cli, tiny_model, folder, truncated, folder / "none.png")
    assert done.code == 1
    assert [row["done"] for row in rows(done.out)] == ["tagged"] * 3 + ["failed"] * 3
    assert "only PNG and JPEG" in rows(done.out)[3]["message"]
    assert webp.read_bytes() == write_image(folder / "e.webp").read_bytes()


def test_a_link_goes_on_pointing(cli: Cli, tiny_model: Path, folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(folder / "a.png")
    assert tag(cli, tiny_model, link).code == 0
    assert link.is_symlink()
    assert b"pscr_score" in (folder / "a.png").read_bytes()


def test_the_table_has_a_line_for_each_image(cli: Cli, tiny_model: Path, folder: Path) -> None:
    done = cli("tag", folder, "--model", tiny_model)
    assert [line.split()[-1] for line in done.out.splitlines()] == [
        str(folder / name) for name in ("a.png", "b.jpg", "c.png")
    ]
    assert "3 tagged, 0 the same, 0 failed" in done.err


def test_nothing_to_tag_is_exit_code_2(cli: Cli, tmp_path: Path) -> None:
    done = cli("tag", tmp_path)
    assert done.code == 2
    assert "nothing to tag" in done.error
