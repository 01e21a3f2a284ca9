"""Clips: which frames are sampled, that their scores are those of the same pixels, and what is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clip_makers import RATE, change_size, cut_short, write_clip

import pscr
from pscr.runtime.clip import read_frames
from pscr.runtime.frame_sampling import FrameSampling
from pscr.runtime.video_file import _count


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.avi", 40)


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    with pscr.open(tiny_model, "cpu") as opened:
        yield opened


def every_frame(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    return frames


@pytest.mark.parametrize(
    ("sampling", "places"),
    [
        (FrameSampling(4), [5, 15, 25, 35]),
        (FrameSampling(1), [20]),
        (FrameSampling(100), list(range(40))),
        (FrameSampling(every=1.0), [0, 10, 20, 30]),
        (FrameSampling(every=0.25), [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30, 33, 35, 38]),
        (FrameSampling(every=0.001), list(range(40))),
        (FrameSampling(every=60.0), [0]),
    ],
)
def test_sampled_frames_are_the_ones_that_were_asked_for(
    sampling: FrameSampling, places: list[int], clip: Path
) -> None:
    assert list(sampling.places(40, RATE)) == places
    frames, whole = list(read_frames(clip, sampling)), every_frame(clip)
    assert [frame.time for frame in frames] == pytest.approx([place / RATE for place in places])
    for frame, place in zip(frames, places, strict=True):
        assert np.array_equal(frame.pixels, whole[place])


@pytest.mark.parametrize(("ending", "codec"), [(".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "MJPG")])
def test_frames_score_as_the_same_pixels_to_the_bit(
    ending: str, codec: str, scorer: pscr.Scorer, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / f"clip{ending}", 40, codec)
    found, whole = pscr.score_clip(scorer, path, frames=5), every_frame(path)
    expected = [scorer.score(whole[place], pixel_format="rgb") for place in FrameSampling(5).places(40, RATE)]
    assert list(found.results) == expected
    scores = [result.score for result in expected]
    assert found.score == math.fsum(scores) / 5
    assert found.spread == pytest.approx(float(np.std(scores)))
    assert found.lowest == (found.times[scores.index(min(scores))], min(scores))
    assert found.lowest_mean == min(scores)


def test_lowest_mean_is_of_five_percent(scorer: pscr.Scorer, clip: Path) -> None:
    found = pscr.score_clip(scorer, clip, every=0.1)
    assert found.lowest_mean == pytest.approx(sum(sorted(result.score for result in found.results)[:2]) / 2)


@pytest.mark.parametrize(
    "arguments", [{"frames": 0}, {"frames": 1.5}, {"every": 0}, {"every": math.nan}, {"every": "1"}]
)
def test_sampling_that_takes_nothing_is_refused(arguments: dict[str, Any], scorer: pscr.Scorer, clip: Path) -> None:
    with pytest.raises(pscr.PscrError, match="expected") as caught:
        pscr.score_clip(scorer, clip, **arguments)
    assert caught.value.status is pscr.Status.INVALID_ARGUMENT


def refusal(scorer: pscr.Scorer, path: Path) -> pscr.PscrError:
    with pytest.raises(pscr.PscrError) as caught:
        pscr.score_clip(scorer, path)
    return caught.value


@pytest.mark.parametrize("path", [None, 3, b"clip.avi"])
def test_what_is_no_path_is_refused(scorer: pscr.Scorer, path: Any) -> None:
    assert refusal(scorer, path).status is pscr.Status.INVALID_ARGUMENT


def test_what_is_no_video_is_refused_without_noise(
    scorer: pscr.Scorer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text, empty, sound = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "sound.avi"
    text.write_bytes(b"no video" * 1000)
    empty.write_bytes(b"")
    sizes = (16036).to_bytes(4, "little"), (16000).to_bytes(4, "little")
    form = bytes.fromhex("10000000 0100 0100 401f0000 803e0000 0200 1000")
    sound.write_bytes(b"RIFF" + sizes[0] + b"WAVEfmt " + form + b"data" + sizes[1] + bytes(16000))
    for path in (text, empty, sound):
        error = refusal(scorer, path)
        assert error.status is pscr.Status.DECODE_FAILED
        assert "no video that can be read" in error.message
        assert "0x" not in error.message
    assert refusal(scorer, tmp_path / "missing.mp4").status is pscr.Status.FILE_NOT_FOUND
    assert refusal(scorer, tmp_path).status is pscr.Status.DECODE_FAILED
    assert capfd.readouterr().err == ""


def test_clip_that_is_cut_short_is_refused(scorer: pscr.Scorer, clip: Path, tmp_path: Path) -> None:
    error = refusal(scorer, cut_short(tmp_path / "short.avi", clip))
    assert error.status is pscr.Status.DECODE_FAILED
    assert "cut short" in error.message


@pytest.mark.parametrize(
    ("count", "rate"), [(0, 10), (-5, 10), (math.nan, 10), (40, 0), (40, math.nan), (40, math.inf)]
)
def test_header_without_frames_or_rate_is_refused(count: float, rate: float) -> None:
    with pytest.raises(pscr.PscrError, match=r"clip\.avi: .*expected") as caught:
        _count(count, rate, "clip.avi")
    assert caught.value.status is pscr.Status.DECODE_FAILED
    assert "-" not in caught.value.message  # FFmpeg's least number stands for one that it does not know


def test_frames_above_the_scorers_max_pixels_are_refused_by_the_clips_name(tiny_model: Path, clip: Path) -> None:
    with pscr.open(tiny_model, "cpu", max_pixels=96 * 128 - 1) as scorer:
        error = refusal(scorer, clip)
    assert error.status is pscr.Status.IMAGE_TOO_LARGE
    assert error.message.startswith(f"{clip}: 128x96")


def test_frame_size_that_changes_in_the_middle_leaves_no_frame_without_a_score(
    scorer: pscr.Scorer, clip: Path, tmp_path: Path
) -> None:
    changing = change_size(tmp_path / "changing.avi", clip)
    found = pscr.score_clip(scorer, changing, frames=8)
    assert [result.status for result in found.results] == [pscr.Status.OK] * 8
    assert found.results[:4] == pscr.score_clip(scorer, clip, frames=8).results[:4]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tiny_model: Path, tmp_path: Path) -> None:
    program = (
        "import resource, sys, pscr\n"
        "with pscr.open(sys.argv[1], 'cpu', threads=1) as scorer:\n"
        "    pscr.score_clip(scorer, sys.argv[2], every=1.0)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = [
        int(subprocess.check_output([sys.executable, "-c", program, tiny_model, write_clip(tmp_path / name, count)]))
        for name, count in (("short.avi", 30), ("long.avi", 3000))
    ]
    assert peaks[1] - peaks[0] < 60 * 1024
