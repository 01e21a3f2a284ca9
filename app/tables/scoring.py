"""From inputs to results: every item its result, in order, and by the model that scored the rows before."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..console import UsageError
from ..progress import Progress
from ..runtime.clip import ENDINGS as CLIPS
from ..runtime.clip import Sampling, score_clip, score_frames
from ..runtime.errors import PscrError, Status, as_error
from ..runtime.pipeline import failed
from ..runtime.scorer import Result, Scorer
from .inputs import Item
from .results_file import Tally

_TIME = "#t="  # between a clip and the seconds of a frame
SAME_MODEL = 0.01  # of the score's range: what devices and precisions of one model may differ by


@dataclass(frozen=True)
class Clips:
    """How video files are scored. per_frame: a row for each frame, called such as `clip.mp4#t=1.250`, seconds from the
    start, in place of one for the clip. done: how often each path has its row already; frames among them are left out.
    """

    sampling: Sampling
    per_frame: bool = False
    done: Counter[str] = field(default_factory=Counter)

    def rows(self, scorer: Scorer, path: str) -> Iterator[Result]:
        """The results of one video file; one that fails on the way has its error as its last."""
        try:
            if self.per_frame:
                frames = score_frames(scorer, path, self.sampling, lambda t: not self.done[_frame(path, t)])
                for time, result in frames:
                    yield replace(result, path=_frame(path, time))
                return
            clip = score_clip(scorer, path, self.sampling.frames, self.sampling.every)
        except Exception as error:
            yield failed(path, as_error(error))
        else:
            first = clip.results[0]
            yield Result(clip.score, clip.spread, first.width, first.height, Status.OK, clip.message, path)

    def score(self, scorer: Scorer, path: str) -> float:
        """The score of one row's path again, whether of an image, a video file or a frame.

        Raises:
            PscrError: there is none.
        """
        clip, mark, _ = path.rpartition(_TIME)
        if is_clip(path):
            return score_clip(scorer, path, self.sampling.frames, self.sampling.every).score
        if not (mark and is_clip(clip)):
            return scorer.score(path).score
        for _, result in score_frames(scorer, clip, self.sampling, lambda time: _frame(clip, time) == path):
            return result.score
        raise PscrError(Status.INVALID_ARGUMENT, f"{path}: no frame that is sampled; name the sampling it came from")


def is_clip(path: str) -> bool:
    """Whether a file is called like a video."""
    return Path(path).suffix.lower() in CLIPS


def in_order(
    scorer: Scorer, items: Iterator[Item], batch: int | None, clips: Clips | None = None
) -> Generator[Result, None, None]:
    """The results of each item, in order: one for an image; for a video file those that `clips` gives.

    Without `clips` a video file is an image that cannot be read.
    """
    if clips is None:
        yield from _images(scorer, items, batch)
        return
    for are_clips, run in itertools.groupby(items, lambda item: not item.problem and is_clip(item.path)):
        if are_clips:
            for item in run:
                yield from clips.rows(scorer, item.path)
        else:
            yield from _images(scorer, run, batch)


def _images(scorer: Scorer, items: Iterator[Item], batch: int | None) -> Generator[Result, None, None]:
    """One result per item, in order; an item that names no image gets its result without going to the scorer."""
    without_image: deque[tuple[int, Item]] = deque()

    def paths() -> Iterator[str]:
        for place, item in enumerate(items):
            if item.problem:
                without_image.append((place, item))
            else:
                yield item.path

    place = 0
    for result in scorer.score_many(paths(), batch=batch):
        while without_image and without_image[0][0] == place:
            yield _no_image(without_image.popleft()[1])
            place += 1
        yield result
        place += 1
    for _, item in without_image:
        yield _no_image(item)


def check_same_model(
    scorer: Scorer,
    promised: Iterable[tuple[str, float]],
    source: str,
    otherwise: str = "",
    clips: Clips | None = None,
) -> None:
    """Refuse to put scores of one model beside those of another: every promised score must be given again.

    An image that is gone, as those of a finished run may be, is passed over.

    promised: paths and scores. source: the option and file that they come from. otherwise: what else would help.
    clips: how video files among them are scored; None where there are none.

    Raises:
        UsageError: one has another score.
    """
    low, high = scorer.scale.range
    for path, score in promised:
        try:
            found = clips.score(scorer, path) if clips else scorer.score(path).score
        except PscrError:
            continue
        if abs(found - score) > SAME_MODEL * (high - low):
            raise UsageError(
                f"{source} has {score:.3f} for {path}, which this model gives {found:.3f}; it comes from another model "
                f"or bank, or the image has changed; use the same --model and --bank{otherwise}"
            )


def summarised(tally: Tally, progress: Progress, before: int | None) -> str:
    """The run in one line; before: how many of the rows an earlier run has left, where this one goes on from it."""
    resumed = "" if before is None else f" ({before} of them before)"
    return f"{tally}{resumed}, {progress.rate:.1f} images/s"


def _frame(path: str, time: float) -> str:
    """What a frame's row is called, after media fragments (W3C)."""
    return f"{path}{_TIME}{time:.3f}"


def _no_image(item: Item) -> Result:
    return failed(item.path, PscrError(Status.FILE_NOT_FOUND, item.problem))
