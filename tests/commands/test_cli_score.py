"""`pscr score`: the numbers are the library's own, the rows are in order, and bad inputs do not stop the others."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest
from cli_testing import Cli, Process, write_image

import pscr


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_score_is_what_the_library_gives(cli: Cli, tiny_model: Path, image: Path) -> None:
    with pscr.open(tiny_model, "cpu") as scorer:
        expected = scorer.score(image)
    done = cli("score", image, "--model", tiny_model, "--device", "cpu", "--format", "jsonl")
    found = json.loads(done.out)
    assert done.code == 0
    assert found["score"] == pytest.approx(expected.score, abs=1e-4)
    assert found["spread"] == pytest.approx(expected.spread, abs=1e-4)
    assert (found["width"], found["height"], found["status"]) == (96, 96, "OK")


def test_rows_come_in_the_order_of_the_inputs(cli: Cli, tiny_model: Path, images: Path) -> None:
    given = [
        images / "img2.png",
        images / "missing.png",
        images / "img1.png",
        images / "notes.txt",
        images / "img10.png",
    ]
    done = cli("score", *given, "--model", tiny_model, "--format", "csv")
    assert [row["path"] for row in rows(done.out)] == [str(path) for path in given]


def test_folder_gives_one_row_for_each_image_below_it(cli: Cli, tiny_model: Path, images: Path) -> None:
    done = cli("score", images, "--model", tiny_model, "--format", "csv")
    assert done.code == 0
    found = [os.path.relpath(row["path"], images) for row in rows(done.out)]
    assert found == ["below/deep.JPG", "img1.png", "img2.png", "img10.png"]


def test_batch_and_threads_do_not_change_the_scores(cli: Cli, tiny_model: Path, images: Path) -> None:
    scores = [
        [float(row["score"]) for row in rows(cli("score", images, "--model", tiny_model, "--format", "csv", *more).out)]
        for more in ((), ("--batch", 1), ("--batch", 3, "--threads", 1))
    ]
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)
    assert scores[2] == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize("form", ["csv", "jsonl", "table"])
def test_bad_inputs_are_reported_and_the_rest_is_scored(
    cli: Cli, tiny_model: Path, images: Path, truncated: Path, form: str
) -> None:
    done = cli("score", images, truncated, images / "none.png", "--model", tiny_model, "--format", form)
    assert done.code == 1
    assert done.out.count("OK") == 4
    assert "DECODE_FAILED" in done.out
    assert "FILE_NOT_FOUND" in done.out


def test_folder_without_images_among_other_inputs_is_a_failed_row_in_its_place(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = cli("score", empty, images / "img1.png", empty, "--model", tiny_model, "--format", "csv")
    assert done.code == 1
    assert [row["status"] for row in rows(done.out)] == ["FILE_NOT_FOUND", "OK", "FILE_NOT_FOUND"]
    assert "no images in this folder" in rows(done.out)[0]["message"]


def test_fail_fast_stops_after_the_first_failure_and_keeps_what_came_before(
    cli: Cli, tiny_model: Path, images: Path
) -> None:
    given = [images / "img1.png", images / "missing.png", images / "img2.png"]
    done = cli("score", *given, "--model", tiny_model, "--format", "csv", "--fail-fast")
    assert done.code == 1
    assert [row["status"] for row in rows(done.out)] == ["OK", "FILE_NOT_FOUND"]


def test_max_pixels_refuses_larger_images_only(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    small, large = write_image(tmp_path / "small.png"), write_image(tmp_path / "large.png", side=200)
    done = cli("score", small, large, "--model", tiny_model, "--format", "csv", "--max-pixels", 10_000)
    assert done.code == 1
    assert [row["status"] for row in rows(done.out)] == ["OK", "IMAGE_TOO_LARGE"]


def test_list_on_standard_input_is_scored(process: Process, tiny_model: Path, images: Path) -> None:
    listed = f"{images / 'img2.png'}\n\n{images / 'img1.png'}\n".encode()
    done = process("score", "-", "--model", tiny_model, "--format", "csv", stdin=listed)
    assert done.returncode == 0
    assert [Path(row["path"]).name for row in rows(done.stdout.decode())] == ["img2.png", "img1.png"]


def test_null_list_takes_paths_with_line_feeds(process: Process, tiny_model: Path, tmp_path: Path) -> None:
    path = write_image(tmp_path / "two\nlines.png")
    done = process("score", "-0", "-", "--model", tiny_model, "--format", "csv", stdin=os.fsencode(path) + b"\0")
    assert done.returncode == 0
    assert [row["path"] for row in rows(done.stdout.decode())] == [str(path)]


def test_list_can_stand_among_other_paths(process: Process, tiny_model: Path, images: Path) -> None:
    listed = f"{images / 'img2.png'}\n".encode()
    given = (images / "img10.png", "-", images / "img1.png")
    done = process("score", *given, "--model", tiny_model, "--format", "csv", stdin=listed)
    found = [Path(row["path"]).name for row in rows(done.stdout.decode())]
    assert found == ["img10.png", "img2.png", "img1.png"]


def test_path_that_starts_with_a_dash_follows_two_dashes(
    cli: Cli, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "-dash.png")
    monkeypatch.chdir(tmp_path)
    done = cli("score", "--model", tiny_model, "--format", "csv", "--", "-dash.png")
    assert done.code == 0
    assert rows(done.out)[0]["path"] == "-dash.png"
