"""`pscr score` of videos: one row a clip or a frame, among images, and resumed."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
from cli_testing import Cli
from clip_makers import write_clip

import pscr


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A clip of 40 frames [96,128] at 10 a second."""
    return write_clip(tmp_path / "clip.avi")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_clip_among_images_is_one_row_in_its_place(cli: Cli, tiny_model: Path, image: Path, clip: Path) -> None:
    broken = clip.with_name("broken.mp4")
    broken.write_bytes(b"no video")
    done = cli("score", image, clip, broken, image, "--frames", 4, "--model", tiny_model, "--format", "csv")
    assert done.code == 1
    found = rows(done.out)
    assert [row["path"] for row in found] == [str(path) for path in (image, clip, broken, image)]
    assert [row["status"] for row in found] == ["OK", "OK", "DECODE_FAILED", "OK"]
    with pscr.open(tiny_model) as scorer:
        expected = pscr.score_clip(scorer, clip, 4)
    assert float(found[1]["score"]) == pytest.approx(expected.score, abs=1e-6)
    assert (found[1]["width"], found[1]["height"], found[1]["message"]) == ("128", "96", expected.message)


def test_per_frame_gives_a_row_for_each_frame(cli: Cli, tiny_model: Path, clip: Path) -> None:
    done = cli("score", clip, "--every", 1, "--per-frame", "--model", tiny_model, "--format", "csv")
    assert [row["path"] for row in rows(done.out)] == [f"{clip}#t={second}.000" for second in range(4)]


@pytest.mark.parametrize("per_frame", [(), ("--per-frame",)])
def test_resume_gives_the_same_rows(cli: Cli, tiny_model: Path, clip: Path, per_frame: tuple[str, ...]) -> None:
    out = clip.with_name("scores.csv")
    command = ("score", clip, *per_frame, "--frames", 5, "--model", tiny_model, "-o", out)
    assert cli(*command).code == 0
    whole = out.read_bytes()
    assert cli(*command, "--resume").code == 0
    assert out.read_bytes() == whole
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    assert cli(*command, "--resume").code == 0
    assert out.read_bytes() == whole


def test_resume_knows_another_models_score_by_a_frame(cli: Cli, tiny_model: Path, clip: Path) -> None:
    out = clip.with_name("scores.csv")
    assert cli("score", clip, "--per-frame", "--frames", 5, "--model", tiny_model, "-o", out).code == 0
    text = out.read_text().splitlines()
    cells = text[-1].split(",")
    cells[1] = str(float(cells[1]) + 3)
    out.write_text("\n".join([*text[:-1], ",".join(cells)]) + "\n")
    done = cli("score", clip, "--per-frame", "--frames", 5, "--model", tiny_model, "-o", out, "--resume")
    assert done.code == 2
    assert "another model" in done.err


@pytest.mark.parametrize("option", [("--frames", "0"), ("--every", "0"), ("--every", "nan"), ("--every", "x")])
def test_sampling_that_takes_nothing_is_refused(cli: Cli, clip: Path, option: tuple[str, str]) -> None:
    done = cli("score", clip, *option)
    assert done.code == 2
    assert "expected" in done.err


@pytest.fixture
def renders(clip: Path, image: Path) -> Path:
    """A folder with an image, a clip, a text and a clip in a folder of its own."""
    folder = clip.with_name("renders")
    (folder / "more").mkdir(parents=True)
    shutil.copy(image, folder / "2.png")
    shutil.copy(clip, folder / "10.AVI")
    shutil.copy(clip, folder / "more" / "1.avi")
    (folder / "notes.txt").write_text("no clip")
    return folder


@pytest.mark.parametrize("option", [("--frames", 2), ("--every", 2)])
def test_folders_and_patterns_hold_clips_where_an_option_is_of_clips(
    cli: Cli, tiny_model: Path, renders: Path, option: tuple[str, int]
) -> None:
    found = [str(renders / name) for name in ("2.png", "10.AVI", "more/1.avi")]
    for named in (renders, f"{renders}/**/*"):
        done = cli("score", named, *option, "--model", tiny_model, "--format", "csv")
        assert done.code == 0
        assert [row["path"] for row in rows(done.out)] == found
        assert "1 left out (1 .txt)" in done.error
    done = cli("score", f"{renders}/*.AVI", *option, "--model", tiny_model, "--format", "csv")
    assert [row["path"] for row in rows(done.out)] == found[1:2]


def test_folders_and_patterns_hold_images_alone_without_such_an_option(
    cli: Cli, tiny_model: Path, renders: Path
) -> None:
    done = cli("score", renders, "--model", tiny_model, "--format", "csv")
    assert [row["path"] for row in rows(done.out)] == [str(renders / "2.png")]
    assert "3 left out (2 .avi, 1 .txt)" in done.error
    assert cli("score", renders / "more", "--model", tiny_model).code == 2


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("per_frame", [(), ("--per-frame",)])
def test_resume_goes_on_in_a_folder_with_clips(
    cli: Cli, tiny_model: Path, renders: Path, per_frame: tuple[str, ...], ending: str
) -> None:
    out = renders.with_name(f"scores.{ending}")
    command = ("score", renders, *per_frame, "--frames", 3, "--model", tiny_model, "-o", out)
    assert cli(*command).code == 0
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    assert cli(*command, "--resume").code == 0
    assert out.read_bytes() == whole
