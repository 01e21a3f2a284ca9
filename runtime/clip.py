"""Scoring clips, which are video files and animated images: frames sampled over the length, and what they come to.

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

from . import animation, video_file
from .errors import PscrError, Status
from .frame_sampling import FRAMES, Frame, FrameSampling
from .image import DEFAULT_MAX_PIXELS
from .image_words import unreadable
from .samplings import Pixels
from .scorer import Result, Scorer

_LOWEST = 0.05  # share of the frames that `lowest_mean` is of


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
    for time, result in score_frames(scorer, path, FrameSampling(frames, every)):
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
    sampling: FrameSampling,
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
        with closing(read_frames(path, sampling, wanted, scorer.max_pixels)) as found:
            for frame in found:
                times.append(frame.time)
                yield frame.pixels

    results = scorer.score_many(pixels(), pixel_format="rgb", batch=1, on_error="raise", diagnose=diagnose)
    for number, result in enumerate(results):
        yield times[number], result


def read_frames(
    path: str | os.PathLike[str],
    sampling: FrameSampling,
    wanted: Callable[[float], bool] = lambda time: True,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Generator[Frame, None, None]:
    """The sampled frames of a video file or, by its ending, of an animated image, one by one.

    wanted: whether the frame of this time, in seconds, is given. max_pixels: of a frame.

    Raises:
        PscrError: INVALID_ARGUMENT for what is no path; FILE_NOT_FOUND; DECODE_FAILED where the system gives no access;
            those of `video_file.read_frames` and `animation.read_frames`.
    """
    if not isinstance(path, (str, os.PathLike)):
        found = f"path is a {type(path).__name__}; expected the name of a video file or an animated image"
        raise PscrError(Status.INVALID_ARGUMENT, found)
    name = os.fspath(path)
    try:
        Path(name).stat()
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from error
    reader = animation if Path(name).suffix.lower() in animation.ENDINGS else video_file
    return reader.read_frames(name, sampling, wanted, max_pixels)
