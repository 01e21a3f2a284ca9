"""Names that the system cannot look up, too long or in a closed folder: a line each, and scores for the others."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_testing import Cli, write_image

LONG = "x" * 300  # more than any file system takes


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder with an image and a clip, neither of which can be reached."""
    folder = tmp_path / "closed"
    folder.mkdir()
    write_image(folder / "inside.png")
    (folder / "clip.mp4").write_bytes(b"")
    folder.chmod(0)
    try:
        if os.access(folder, os.R_OK):
            pytest.skip("this user may read everything")
        yield folder
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("ending", [".png", ".mp4", ".gif", ".parquet"])
def test_an_image_or_a_clip_that_cannot_be_looked_up_is_a_row(
    cli: Cli, tiny_model: Path, image: Path, ending: str
) -> None:
    done = cli("score", LONG + ending, image, "--model", tiny_model, "--format", "csv", "-q", "--frames", "2")
    assert done.code == 1
    bad, good = csv.DictReader(io.StringIO(done.out))
    assert (bad["status"], good["status"]) == ("DECODE_FAILED", "OK")
    assert "cannot be read (File name too long)" in bad["message"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("score", f"{LONG}/*.png"), "nothing to score in"),
        (("score", "one.png", "--min-score", "1", "--delete-list", LONG), "cannot be written: File name too long"),
        (("compare", LONG, "one.png"), "nothing to compare in"),
        (("compare", f"{LONG}.csv", "one.png"), "cannot be read: File name too long"),
        (("tag", "one.png", "--scores", f"{LONG}.csv"), "cannot be read: File name too long"),
    ],
)
def test_what_a_run_stands_on_and_cannot_be_looked_up_is_one_line(
    cli: Cli, tiny_model: Path, image: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], found: str
) -> None:
    monkeypatch.chdir(image.parent)
    done = cli(*words, "--model", tiny_model, "-q")
    assert done.code == 2
    assert found in done.error


def test_a_closed_folder_costs_no_other_image_its_score(cli: Cli, tiny_model: Path, image: Path, closed: Path) -> None:
    words = ("--model", tiny_model, "--format", "csv", "-q", "--frames", "2")
    done = cli("score", closed, closed / "clip.mp4", closed / "a.gif", image, *words)
    assert done.code == 1
    found = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["status"] for row in found] == ["FILE_NOT_FOUND", "DECODE_FAILED", "DECODE_FAILED", "OK"]
    assert all("Permission denied" in row["message"] for row in found[:3])
