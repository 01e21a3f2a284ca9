"""`pscr score` of clips that cannot be used, or not so: each has its row and a sentence, the others their scores."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_diagnosis
import tiny_linear
from cli_testing import Cli, Outcome, write_image
from clip_makers import ANIMATIONS, change_size, cut_short, without_rate, write_animation, write_clip

import pscr
from pscr.runtime.families.full_reference import FullReferenceHead
from pscr.runtime.families.linear import REGRESSOR

Score = Callable[..., Outcome]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.avi")


@pytest.fixture
def score(cli: Cli, tiny_model: Path) -> Score:
    return lambda *words: cli("score", *words, "--model", tiny_model, "--format", "csv")


def rows(done: Outcome) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done.out)))


@pytest.mark.parametrize("options", [(), ("--per-frame",), ("--every", 0.5)])
def test_every_bad_clip_has_its_row_with_a_reason_and_the_others_their_scores(
    score: Score, clip: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    expected = {
        write_clip(tmp_path / "empty.avi", 0): ("DECODE_FAILED", "0 frames"),
        tmp_path / "text.mp4": ("DECODE_FAILED", "no video that can be read"),
        tmp_path / "nothing.mkv": ("DECODE_FAILED", "no video that can be read"),
        tmp_path / "folder.d" / "missing.mp4": ("FILE_NOT_FOUND", "no such file"),
    }
    (tmp_path / "text.mp4").write_text("a text, and no video\n" * 100)
    (tmp_path / "nothing.mkv").write_bytes(b"")
    done = score(clip, *expected, clip, *options)
    assert done.code == 1
    found = rows(done)
    bad = [row for row in found if row["status"] != "OK"]
    assert [row["path"] for row in bad] == list(map(str, expected))
    for row, (status, words) in zip(bad, expected.values(), strict=True):
        assert row["status"] == status
        assert words in row["message"]
        assert not row["score"]
    good = [row for row in found if row["status"] == "OK"]
    assert [row["path"].partition("#")[0] for row in good] == [str(clip)] * len(good)
    assert good[: len(good) // 2] == good[len(good) // 2 :] != []
    assert f"{len(found) - len(bad)} scored, {len(bad)} failed" in done.error


def test_clip_that_is_cut_short_keeps_the_frames_that_have_rows(score: Score, clip: Path, tmp_path: Path) -> None:
    short = cut_short(tmp_path / "short.avi", clip)
    (row,) = rows(score(short))
    assert (row["status"], row["score"]) == ("DECODE_FAILED", "")
    assert "cut short" in row["message"]
    *frames, last = rows(score(short, "--per-frame", "--frames", 4))
    assert [frame["path"] for frame in frames] == [f"{short}#t=0.500", f"{short}#t=1.500"]
    assert {frame["status"] for frame in frames} == {"OK"}
    assert (last["path"], last["status"]) == (str(short), "DECODE_FAILED")


def test_clip_without_a_rate_has_a_row(score: Score, clip: Path, tmp_path: Path) -> None:
    """Readers of videos may take a rate of their own; whichever it is, the frames or the reason are there."""
    (row,) = rows(score(without_rate(tmp_path / "rateless.avi", clip), "--frames", 4))
    assert (row["status"] == "OK" and row["score"]) or (row["status"] == "DECODE_FAILED" and "rate" in row["message"])


def test_clip_whose_frames_change_size_has_a_score_for_each(score: Score, clip: Path, tmp_path: Path) -> None:
    changing = change_size(tmp_path / "changing.avi", clip)
    found = rows(score(changing, "--per-frame", "--frames", 8))
    assert [row["status"] for row in found] == ["OK"] * 8
    assert rows(score(changing, "--frames", 8))[0]["status"] == "OK"


# --- animations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [*ANIMATIONS, ".apng"])
def test_animation_is_a_clip_where_an_option_is_of_clips_and_else_its_first_frame(
    score: Score, tiny_model: Path, tmp_path: Path, ending: str
) -> None:
    six = write_animation(tmp_path / "six.png").rename(tmp_path / "six.apng") if ending == ".apng" else None
    six = six or write_animation(tmp_path / f"six{ending}")
    with pscr.open(tiny_model, "cpu") as scorer:
        results = [result.score for result in pscr.score_clip(scorer, six).results]
    assert len(set(results)) > 1
    (first,) = rows(score(six))
    assert float(first["score"]) == pytest.approx(results[0], abs=1e-5)
    assert "frames" not in first["message"]
    for named in (six, tmp_path):
        (whole,) = rows(score(named, "--frames", 6))
        assert whole["message"].startswith("6 frames; lowest")
        assert float(whole["score"]) == pytest.approx(sum(results) / 6, abs=1e-5)
    frames = rows(score(six, "--per-frame"))
    assert [row["path"] for row in frames] == [f"{six}#t={number / 5:.3f}" for number in range(6)]
    assert [float(row["score"]) for row in frames] == pytest.approx(results, abs=1e-5)


@pytest.mark.parametrize("ending", ANIMATIONS)
def test_without_pillow_an_animation_says_what_to_install_and_stills_keep_their_scores(
    score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    six, still = write_animation(tmp_path / f"six{ending}"), write_image(tmp_path / "still.png")
    whole = rows(score(six, still))
    monkeypatch.setitem(sys.modules, "PIL", None)
    done = score(six, still, "--frames", 4)
    assert done.code == 1
    animation, image = rows(done)
    assert animation["status"] == "DECODE_FAILED"
    assert "pip install 'pscr[pillow]'" in animation["message"]
    assert image == whole[1]


# --- options that do not go with clips --------------------------------------------------------------------------------


def test_reference_is_refused_for_a_clip_in_words_and_not_for_an_image(cli: Cli, clip: Path, tmp_path: Path) -> None:
    model, image = tmp_path / "model", write_image(tmp_path / "image.png")
    tiny_linear.write(model)
    manifest = dataclasses.replace(tiny_linear.manifest(), family=FullReferenceHead.family)
    manifest.write(model, ["model.onnx", REGRESSOR])
    for options in ((), ("--per-frame",)):
        words = ("score", image, clip, image, *options, "--model", model, "--reference", image, "--format", "csv")
        done = cli(*words)
        assert done.code == 1
        found = rows(done)
        assert [row["status"] for row in found] == ["OK", "INVALID_ARGUMENT", "OK"]
        assert "a clip has no original to compare it with" in found[1]["message"]


def test_diagnose_is_of_frames_and_a_clips_row_has_none(cli: Cli, own_model: Path, clip: Path) -> None:
    tiny_diagnosis.add(own_model)
    words = ("score", clip, "--frames", 3, "--diagnose", "--model", own_model, "--format", "csv")
    (whole,) = rows(cli(*words))
    assert (whole["status"], whole["kind"], whole["degree"], whole["probability"]) == ("OK", "", "", "")
    frames = rows(cli(*words, "--per-frame"))
    assert len(frames) == 3
    assert all(row["kind"] and float(row["probability"]) > 0 for row in frames)
