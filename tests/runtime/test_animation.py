"""Animated images as clips: which of their frames are taken, when, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clip_makers import ANIMATIONS, GREYS, cut_short, write_animation

import pscr
from pscr.runtime.animation import is_animated
from pscr.runtime.clip import read_frames
from pscr.runtime.frame_sampling import FrameSampling

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    with pscr.open(tiny_model, "cpu") as opened:
        yield opened


@pytest.mark.parametrize("ending", ANIMATIONS)
@pytest.mark.parametrize(
    ("sampling", "numbers"),
    [(FrameSampling(3), [1, 3, 5]), (FrameSampling(16), [0, 1, 2, 3, 4, 5]), (FrameSampling(every=0.5), [0, 3, 5])],
)
def test_sampled_frames_are_the_ones_that_were_asked_for(
    ending: str, sampling: FrameSampling, numbers: list[int], tmp_path: Path
) -> None:
    frames = list(read_frames(write_animation(tmp_path / f"six{ending}"), sampling))
    assert [frame.time for frame in frames] == pytest.approx([number / 5 for number in numbers])
    assert [frame.pixels.shape for frame in frames] == [(48, 64, 3)] * len(numbers)
    assert [int(frame.pixels.mean()) for frame in frames] == pytest.approx([GREYS[number] for number in numbers], abs=1)


def test_times_follow_each_frames_duration(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "six.gif", [100, 400, 100, 1000, 100, 100])
    frames = read_frames(path, FrameSampling(every=0.5))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.5, 1.6])


def test_frames_score_as_the_same_pixels_to_the_bit(scorer: pscr.Scorer, tmp_path: Path) -> None:
    found = pscr.score_clip(scorer, write_animation(tmp_path / "six.webp"))
    expected = [scorer.score(np.full((48, 64, 3), grey, np.uint8), pixel_format="rgb") for grey in GREYS]
    assert list(found.results) == expected


@pytest.mark.parametrize("ending", ANIMATIONS)
def test_only_several_frames_are_an_animation(ending: str, tmp_path: Path) -> None:
    still, text = tmp_path / f"still{ending}", tmp_path / f"text{ending}"
    Image.new("RGB", (64, 48)).save(still)
    text.write_bytes(b"no image")
    assert is_animated(str(write_animation(tmp_path / f"six{ending}")))
    assert not any(map(is_animated, (str(still), str(text), str(tmp_path / f"missing{ending}"))))


@pytest.mark.parametrize("ending", ANIMATIONS)
def test_without_pillow_a_files_own_marks_tell_and_it_is_refused_with_what_to_install(
    ending: str, scorer: pscr.Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    six, still = write_animation(tmp_path / f"six{ending}"), tmp_path / f"still{ending}"
    Image.new("RGB", (64, 48)).save(still)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert is_animated(str(six))
    assert not is_animated(str(still))
    for size in range(64):  # of any file, nothing is raised
        still.write_bytes(six.read_bytes()[:size])
        is_animated(str(still))
    with pytest.raises(pscr.PscrError, match=r"pip install 'pscr\[pillow\]'") as caught:
        pscr.score_clip(scorer, six)
    assert caught.value.status is pscr.Status.DECODE_FAILED


@pytest.mark.parametrize("ending", ANIMATIONS)
def test_what_is_no_animation_is_refused(ending: str, scorer: pscr.Scorer, tmp_path: Path) -> None:
    text = tmp_path / f"text{ending}"
    text.write_bytes(b"no image")
    short = cut_short(tmp_path / f"short{ending}", write_animation(tmp_path / f"six{ending}"))
    for path in (text, short):
        with pytest.raises(pscr.PscrError, match=path.name) as caught:
            pscr.score_clip(scorer, path)
        assert caught.value.status is pscr.Status.DECODE_FAILED
    with pytest.raises(pscr.PscrError) as caught:
        pscr.score_clip(scorer, tmp_path / f"missing{ending}")
    assert caught.value.status is pscr.Status.FILE_NOT_FOUND
