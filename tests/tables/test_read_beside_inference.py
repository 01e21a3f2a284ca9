"""Wherever images lie, the next one is read while one is inferred, as it is of files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, TypeVar

import cv2
import pyarrow as pa
import pytest
from cli_testing import write_image
from table_makers import IMAGE, held, write_arrow, write_parquet, write_shard

import pscr
from pscr.runtime import clip
from pscr.runtime.frame_sampling import FrameSampling
from pscr.tables.clips import Clips
from pscr.tables.scoring import paired
from pscr.tables.table_inputs import Wanted, inputs_of

T = TypeVar("T")
SIDE = 64
PATIENCE = 30.0  # seconds after which nobody will come


def write_clip(path: Path, files: Iterable[Path]) -> Path:
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"HFYU"), 25, (SIDE, SIDE))
    if not video.isOpened():
        pytest.skip("this OpenCV writes no lossless video")
    for file in files:
        video.write(cv2.imread(str(file)))
    video.release()
    return path


KINDS: dict[str, Callable[[Path, list[Path]], Path]] = {
    "folder": lambda folder, files: files[0].parent,
    "Parquet": lambda folder, files: write_parquet(folder / "a.parquet", {"image": pa.array(held(files), IMAGE)}),
    "Arrow": lambda folder, files: write_arrow(folder / "a.arrow", {"image": pa.array(held(files), IMAGE)}),
    "tar": lambda folder, files: write_shard(folder / "a.tar", files),
    "clip": lambda folder, files: write_clip(folder / "a.avi", files),
}


class Meeting:
    """Reading the second image waits until the first is being inferred, and that waits until the second is read."""

    def __init__(self) -> None:
        self._inferring, self._read = threading.Event(), threading.Event()

    def inferring(self, infer: Callable[..., T]) -> Callable[..., T]:
        def meets(*given: Any, **more: Any) -> T:
            self._inferring.set()
            assert self._read.wait(PATIENCE), "the next image is not read while one is inferred"
            return infer(*given, **more)

        return meets

    def reading(self, sources: Iterable[T]) -> Generator[T, None, None]:
        for number, source in enumerate(sources):
            if number == 1:
                assert self._inferring.wait(PATIENCE), "no image is inferred before the next is read"
                self._read.set()
            yield source


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_image_is_read_while_one_is_inferred(
    kind: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [write_image(tmp_path / "files" / f"{seed}.png", seed, SIDE) for seed in range(4)]
    inputs = inputs_of([str(KINDS[kind](tmp_path, files))], False, Wanted())
    meeting, items = Meeting(), inputs.items
    if kind == "clip":
        read_frames = clip.read_frames
        monkeypatch.setattr(clip, "read_frames", lambda *given: meeting.reading(read_frames(*given)))
    else:
        items = meeting.reading(items)
    with pscr.open(str(tiny_model), "cpu", threads=2) as scorer:
        expected = [scorer.score(file).score for file in files]
        monkeypatch.setattr(scorer, "infer", meeting.inferring(scorer.infer))
        clips = Clips(FrameSampling(every=1 / 25), per_frame=True)
        scores = [result.score for _, result in paired(scorer, items, None, clips=clips)]
    assert scores == pytest.approx(expected, abs=1e-6)
