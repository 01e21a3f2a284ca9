"""Scoring clips: frames sampled over a video file's length, decoded one by one, and what their scores come to.

A clip's score is the mean over its sampled frames, and `lowest_mean` the mean of the lowest 5 % of them: conventions of
pooling, and no model of video quality, which also depends on motion.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from .arguments import whole
from .errors import PscrError, Status
from .image import from_array
from .image_words import refused
from .samplings import Pixels
from .scorer import Result, Scorer
from .stderr_capture import caught

ENDINGS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
FRAMES = 16  # sampled where the caller says nothing
_LOWEST = 0.05  # share of the frames that `lowest_mean` is of
_WHOLE = 0.9  # share of the frames that the header promises, below which a clip is cut short


@dataclass(frozen=True)
class Sampling:
    """Which frames are taken. frames: the centres of so many equal parts; every: one each so many seconds instead.

    Raises:
        PscrError: INVALID_ARGUMENT for frames below 1, and for seconds that are not above 0.
    """

    frames: int = FRAMES
    every: float | None = None

    def __post_init__(self) -> None:
        if whole(self.frames) is None:
            found = f"frames is {self.frames!r}; expected a whole number of 1 or more"
            raise PscrError(Status.INVALID_ARGUMENT, found)
        if self.every is not None and not (math.isfinite(self.every) and self.every > 0):
            raise PscrError(Status.INVALID_ARGUMENT, f"every is {self.every!r}; expected seconds above 0")

    def places(self, count: int, rate: float) -> Generator[int, None, None]:
        """The numbers of the frames to take, ascending, of `count` frames at `rate` a second."""
        if self.every is None:
            taken = min(self.frames, count)
            yield from ((2 * part + 1) * count // (2 * taken) for part in range(taken))
            return
        step, place, number = max(self.every * rate, 1.0), 0, 0
        while place < count:
            yield place
            number += 1
            place = math.ceil(number * step - 1e-6)


class Frame(NamedTuple):
    """One frame of a clip. time: seconds from the start; pixels: [H,W,3] uint8, RGB."""

    time: float
    pixels: Pixels


@dataclass(frozen=True)
class ClipResult:
    """The score of one clip.

    score: mean of its sampled frames' scores. spread: their standard deviation (population).
    times: seconds from the start, of each sampled frame; results: their Results, in the same order.
    lowest: time and score of the frame with the lowest score. lowest_mean: mean of the lowest 5 %, one frame at least.
    """

    score: float
    spread: float
    times: tuple[float, ...]
    results: tuple[Result, ...]
    lowest: tuple[float, float]
    lowest_mean: float
    path: str

    @property
    def message(self) -> str:
        """The clip in a sentence."""
        time, score = self.lowest
        many = f"{len(self.times)} frame{'s' * (len(self.times) > 1)}"
        return f"{many}; lowest {score:.3f} at {time:.3f} s; mean of the lowest 5 % {self.lowest_mean:.3f}"


def score_clip(
    scorer: Scorer, path: str | os.PathLike[str], frames: int = FRAMES, every: float | None = None
) -> ClipResult:
    """Score a video file by frames of it, each as `Scorer.score` does.

    frames: how many, spread evenly: the centres of so many equal parts. every: seconds from one frame to the next
        instead. Memory does not grow with the clip's length.

    Raises:
        PscrError: those of `read_frames`, and of `Scorer.score` for its first frame without a score.
    """
    times, results = [], []
    for time, result in score_frames(scorer, path, Sampling(frames, every)):
        times.append(time)
        results.append(result)
    scores = [result.score for result in results]
    ordered = sorted(scores)
    low = ordered[: max(1, round(_LOWEST * len(ordered)))]
    place = scores.index(ordered[0])
    mean = math.fsum(scores) / len(scores)
    return ClipResult(
        mean,
        statistics.pstdev(scores),
        tuple(times),
        tuple(results),
        (times[place], scores[place]),
        math.fsum(low) / len(low),
        os.fspath(path),
    )


def score_frames(
    scorer: Scorer,
    path: str | os.PathLike[str],
    sampling: Sampling,
    wanted: Callable[[float], bool] = lambda time: True,
    diagnose: bool = False,
) -> Generator[tuple[float, Result], None, None]:
    """Time and Result of each sampled frame, as they are ready, decoded beside inference.

    Frames go to the network one by one, so that their scores are those of `Scorer.score` to the bit.
    wanted: whether the frame of this time is scored. diagnose: as in `Scorer.score`.

    Raises:
        PscrError: as `score_clip`.
    """
    times: list[float] = []

    def pixels() -> Generator[Pixels, None, None]:
        with closing(read_frames(path, sampling, wanted)) as found:
            for frame in found:
                times.append(frame.time)
                yield frame.pixels

    results = scorer.score_many(pixels(), pixel_format="rgb", batch=1, on_error="raise", diagnose=diagnose)
    for number, result in enumerate(results):
        yield times[number], result


def read_frames(
    path: str | os.PathLike[str], sampling: Sampling, wanted: Callable[[float], bool] = lambda time: True
) -> Generator[Frame, None, None]:
    """The sampled frames of a video file, one by one; those between are not converted to pixels.

    wanted: whether the frame of this time, in seconds, is given.

    Raises:
        PscrError: FILE_NOT_FOUND; DECODE_FAILED for what is no video, has no frames or no frame rate, or is cut short.
    """
    name = os.fspath(path)
    capture = _opened(name)
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        count = _count(capture.get(cv2.CAP_PROP_FRAME_COUNT), rate, name)
        grabbed = given = 0
        for place in sampling.places(count, rate):
            while grabbed <= place and _quietly(capture.grab):
                grabbed += 1
            if grabbed <= place:
                break
            given += 1
            if wanted(place / rate):
                there, array = _quietly(capture.retrieve)
                if not there:
                    raise refused(Status.DECODE_FAILED, name, f"frame {place} cannot be decoded; check the file")
                yield Frame(place / rate, from_array(array, "bgr"))
        else:
            return
        if not given or grabbed < _WHOLE * count:
            found = f"ends after {grabbed} of {count} frames; the file is cut short or damaged; copy it again"
            raise refused(Status.DECODE_FAILED, name, found)
    finally:
        capture.release()


def _opened(name: str) -> Any:
    if not Path(name).exists():
        raise refused(Status.FILE_NOT_FOUND, name, "no such file; check the path")
    if not Path(name).is_file():
        raise refused(Status.DECODE_FAILED, name, "no regular file; expected a video file")
    if cv2.CAP_FFMPEG not in cv2.videoio_registry.getBackends():
        found = "this OpenCV was built without FFmpeg, which reads videos; install opencv-python-headless of PyPI"
        raise refused(Status.DECODE_FAILED, name, found)
    # An absolute path is never taken for an address.
    capture, said = caught(lambda: cv2.VideoCapture(str(Path(name).absolute()), cv2.CAP_FFMPEG), alone=True)
    if not capture.isOpened():
        words = f" ({said})" if said else ""
        found = f"no video that can be read{words}; expected mp4, mov, mkv, webm or avi, whole, with a picture track"
        raise refused(Status.DECODE_FAILED, name, found)
    return capture


def _count(promised: float, rate: float, name: str) -> int:
    """How many frames a clip's header promises."""
    if not (math.isfinite(rate) and rate > 0):
        raise refused(Status.DECODE_FAILED, name, f"{rate} frames a second; expected a rate above 0; encode it again")
    if not (math.isfinite(promised) and promised >= 1):
        found = f"its header promises {promised:.0f} frames; expected 1 or more; encode it again"
        raise refused(Status.DECODE_FAILED, name, found)
    return int(promised)


def _quietly(decode: Callable[[], Any]) -> Any:
    """What a decoder gives; what it writes to stderr is kept off the terminal."""
    return caught(decode, alone=True)[0]
