"""Video files and animations among the inputs: a row for each clip, or for each of its sampled frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..runtime.animation import is_animated
from ..runtime.clip import ClipResult, score_clip, score_frames
from ..runtime.errors import PscrError, Status, as_error
from ..runtime.frame_sampling import FrameSampling
from ..runtime.pipeline import failed
from ..runtime.scorer import Result, Scorer
from ..runtime.video_file import ENDINGS
from .inputs import Item
from .originals import Originals

_TIME = "#t="  # between a clip and the seconds of a frame


@dataclass(frozen=True)
class Clips:
    """How clips are scored. per_frame: a row for each frame, called such as `clip.mp4#t=1.250`, seconds from the
    start, in place of one for the clip. done: how often each path has its row already; frames among them are left out,
    and counted off. sought: whether animated images are clips too, and not their first frame alone, and folders and
    patterns stand for videos beside images.
    """

    sampling: FrameSampling
    per_frame: bool = False
    done: Counter[str] = field(default_factory=Counter)
    sought: bool = False

    @property
    def besides(self) -> frozenset[str]:
        """Endings of the files that folders and patterns stand for besides images."""
        return ENDINGS if self.sought else frozenset()

    def holds(self, item: Item) -> bool:
        """Whether an item is a clip: a video file by its name, or an animation that is taken for one."""
        return not item.problem and item.source is None and self._is_clip(item.path)

    def rows(self, scorer: Scorer, path: str, given: Originals = None, diagnose: bool = False) -> Iterator[Result]:
        """The results of one clip; one that fails on the way has its error as its last.

        given: the originals, which frames have none of. diagnose: whether frames that have rows are diagnosed.
        """
        try:
            if given is not None:
                told = f"{path}: a clip has no original to compare it with; score it by a model without reference"
                raise PscrError(Status.INVALID_ARGUMENT, told)
            if self.per_frame:
                frames = score_frames(scorer, path, self.sampling, lambda time: self._left(path, time), diagnose)
                for time, result in frames:
                    yield replace(result, path=_frame(path, time))
                return
            clip = self.score(scorer, path)
        except Exception as error:
            yield failed(path, as_error(error))
        else:
            yield clip_row(clip)

    def score(self, scorer: Scorer, path: str) -> ClipResult:
        """One clip, by the sampling. Errors as `score_clip`."""
        return score_clip(scorer, path, self.sampling.frames, self.sampling.every)

    def score_again(self, scorer: Scorer, path: str) -> float | None:
        """The score of the clip or frame that a row's path names; None where it names neither.

        Raises:
            PscrError: it has none.
        """
        if self._is_clip(path):
            return self.score(scorer, path).score
        clip, mark, _ = path.rpartition(_TIME)
        if not (mark and self._is_clip(clip)):
            return None
        for _, result in score_frames(scorer, clip, self.sampling, lambda time: _frame(clip, time) == path):
            return result.score
        raise PscrError(Status.INVALID_ARGUMENT, f"{path}: no frame that is sampled; name the sampling it came from")

    def _is_clip(self, path: str) -> bool:
        return Path(path).suffix.lower() in ENDINGS or (self.sought and is_animated(path))

    def _left(self, path: str, time: float) -> bool:
        """Whether a frame's row is still to be written."""
        name = _frame(path, time)
        done = self.done[name] > 0
        self.done[name] -= done
        return not done


def clip_row(clip: ClipResult) -> Result:
    """The row of a clip."""
    first = clip.results[0]
    return Result(clip.score, clip.spread, first.width, first.height, Status.OK, clip.message, clip.path)


def _frame(path: str, time: float) -> str:
    """What a frame's row is called, after media fragments (W3C)."""
    return f"{path}{_TIME}{time:.3f}"
