"""`pscr score --move-to` and `--delete-list`: images that do not pass are put aside, and none is lost."""

from __future__ import annotations

import csv
import errno
import os
import shutil
from pathlib import Path

import pytest
import table_makers
import tiny_linear
from cli_testing import Cli

from pscr.tables import gate


@pytest.fixture
def scores(cli: Cli, tiny_model: Path, images: Path) -> dict[str, float]:
    """The score of each image by its path, the lowest first."""
    rows = csv.DictReader(cli("score", images, "--model", tiny_model, "--format", "csv", "-q").out.splitlines())
    return dict(sorted(((row["path"], float(row["score"])) for row in rows), key=lambda one: one[1]))


@pytest.fixture
def limit(scores: dict[str, float]) -> float:
    """Two images score below it."""
    ordered = list(scores.values())
    return (ordered[1] + ordered[2]) / 2


def test_images_below_the_limit_are_moved_and_the_rest_stays(
    cli: Cli, tiny_model: Path, images: Path, scores: dict[str, float], limit: float, tmp_path: Path
) -> None:
    (images / "broken.png").write_bytes(b"no image")
    low, high = (list(map(Path, part)) for part in (list(scores)[:2], list(scores)[2:]))
    contents = {path.name: path.read_bytes() for path in low}
    words = ("--model", tiny_model, "-o", tmp_path / "scores.csv")
    done = cli("score", images, *words, "--min-score", limit, "--move-to", tmp_path / "new" / "low")
    assert done.code == 1  # of the image that cannot be read
    assert "2 images below" in done.err
    assert {path.name: path.read_bytes() for path in (tmp_path / "new" / "low").iterdir()} == contents
    assert not any(path.exists() for path in low)
    assert all(path.exists() for path in (*high, images / "broken.png"))
    with (tmp_path / "scores.csv").open() as stream:
        assert {row["path"] for row in csv.DictReader(stream)} == {*scores, str(images / "broken.png")}


def test_a_name_that_is_taken_gets_a_number(
    cli: Cli, tiny_model: Path, images: Path, scores: dict[str, float], limit: float, tmp_path: Path
) -> None:
    lowest = Path(next(iter(scores)))
    aside = tmp_path / "low"
    aside.mkdir()
    taken = [aside / lowest.name, aside / f"{lowest.stem}-2{lowest.suffix}"]
    for path in taken:
        path.write_text("mine")
    content = lowest.read_bytes()
    assert cli("score", images, "--model", tiny_model, "--min-score", limit, "--move-to", aside, "-q").code == 0
    assert [path.read_text() for path in taken] == ["mine", "mine"]
    assert (aside / f"{lowest.stem}-3{lowest.suffix}").read_bytes() == content


def no_link(source: Path, target: Path) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_a_move_to_another_file_system_keeps_content_and_time(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_link)
    content, modified = image.read_bytes(), image.stat().st_mtime_ns
    (tmp_path / "low").mkdir()
    moved = gate.move(image, tmp_path / "low")
    assert (moved.read_bytes(), moved.stat().st_mtime_ns, image.exists()) == (content, modified, False)


def test_where_the_target_is_full_each_image_is_named_and_stays(
    cli: Cli,
    tiny_model: Path,
    images: Path,
    scores: dict[str, float],
    limit: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", no_link)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    aside = tmp_path / "low"
    done = cli("score", images, "--model", tiny_model, "--min-score", limit, "--move-to", aside, "-q")
    assert done.code == 1
    assert sorted(done.err.splitlines()) == sorted(
        f"pscr: {path} stays where it is: No space left on device" for path in list(scores)[:2]
    )
    assert list(aside.iterdir()) == []
    assert all(Path(path).exists() for path in scores)


def test_a_link_is_moved_as_a_link_to_what_it_leads_to(image: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(image.name)
    (tmp_path / "low").mkdir()
    moved = gate.move(link, tmp_path / "low")
    assert moved.resolve() == image
    assert not link.is_symlink()
    assert image.exists()


@pytest.mark.parametrize(("null", "end"), [((), b"\n"), (("--null",), b"\0")])
def test_the_list_names_the_images_and_deletes_none(
    cli: Cli,
    tiny_model: Path,
    images: Path,
    scores: dict[str, float],
    limit: float,
    tmp_path: Path,
    null: tuple[str, ...],
    end: bytes,
) -> None:
    file = tmp_path / "list"
    done = cli("score", images, "--model", tiny_model, "--min-score", limit, "--delete-list", file, *null, "-q")
    assert done.code == 0
    assert set(file.read_bytes().split(end)) == {*map(os.fsencode, list(scores)[:2]), b""}
    assert all(Path(path).exists() for path in scores)


def test_a_path_with_a_line_end_is_not_listed_among_lines(
    cli: Cli, tiny_model: Path, image: Path, tmp_path: Path
) -> None:
    odd = image.rename(image.with_name("two\nlines.png"))
    words = ("score", odd, "--model", tiny_model, "--min-score", 1000, "-q", "--delete-list", tmp_path / "list")
    done = cli(*words)
    assert done.code == 1
    assert "--null lists it" in done.err
    assert (tmp_path / "list").read_bytes() == b""
    assert cli(*words, "-0").code == 0
    assert (tmp_path / "list").read_bytes() == os.fsencode(odd) + b"\0"


def test_where_lower_scores_are_better_the_highest_are_held_back(cli: Cli, images: Path, tmp_path: Path) -> None:
    words = ("score", images, "--model", tiny_linear.write(tmp_path / "lower"), "--delete-list", tmp_path / "list")
    assert cli(*words, "--max-score=-1000", "-q").code == 0
    assert len((tmp_path / "list").read_text().splitlines()) == 4
    refused = cli(*words, "--min-score", 50, "-q")
    assert refused.code == 2
    assert "expected --max-score" in refused.error


@pytest.mark.parametrize(
    "words",
    [
        ("--min-score", "2"),
        ("--move-to", "low"),
        ("--delete-list", "list"),
        ("--min-score", "2", "--max-score", "3", "--move-to", "low"),
        ("--min-score", "2", "--move-to", "low", "--delete-list", "list"),
        ("--min-score", "nan", "--move-to", "low"),
        ("--min-score", "2", "--delete-list", "-"),
        ("--min-score", "2", "--move-to", "low", "--resume", "-o", "scores.csv"),
        ("--min-score", "2", "--move-to", "low", "--per-frame"),
        ("--max-score", "2", "--move-to", "low"),
    ],
)
def test_options_that_do_not_go_together_are_refused_and_nothing_is_done(
    cli: Cli,
    tiny_model: Path,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("score", image, "--model", tiny_model, *words).code == 2
    assert list(tmp_path.iterdir()) == [image]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", ["image.png", "clip.mp4", "scores.csv", "train.tar"])
def test_the_list_is_never_written_over_an_image_the_results_or_a_table(
    cli: Cli, tiny_model: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, there: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    table_makers.write_shard(tmp_path / "train.tar", [image])
    if there and not Path(name).exists():
        Path(name).write_bytes(b"mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    words = ("--model", tiny_model, "--min-score", 1000, "-o", "scores.csv", "--overwrite", "--delete-list", name)
    done = cli("score", image, "train.tar", *words)
    assert (done.code, "would write paths over" in done.error) == (2, True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
