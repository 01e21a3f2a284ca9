"""From inputs to results: every item its result, in order, and by the model that scored the rows before."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from ..console import UsageError
from ..progress import Progress
from ..runtime.errors import PscrError, Status
from ..runtime.pipeline import failed
from ..runtime.scorer import Result, Scorer
from .inputs import Item
from .originals import Originals, original_of, score_each
from .results_file import Tally

SAME_MODEL = 0.01  # of the score's range: what devices and precisions of one model may differ by


def in_order(
    scorer: Scorer, items: Iterator[Item], batch: int | None, given: Originals = None
) -> Generator[Result, None, None]:
    """One result per item, in order; an item that names no image gets its result without going to the scorer.

    given: the images' originals, for a full-reference model.
    """
    without_image: deque[tuple[int, Item]] = deque()

    def paths() -> Iterator[str]:
        for place, item in enumerate(items):
            if item.problem:
                without_image.append((place, item))
            else:
                yield item.path

    place = 0
    if isinstance(given, Path):
        scored = score_each(scorer, paths(), given)
    else:
        scored = scorer.score_many(paths(), batch=batch, reference=given)
    for result in scored:
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
    given: Originals = None,
) -> None:
    """Refuse to put scores of one model beside those of another: every promised score must be given again.

    An image that is gone, as those of a finished run may be, is passed over.

    promised: paths and scores. source: the option and file that they come from. otherwise: what else would help.
    given: the images' originals, for a full-reference model.

    Raises:
        UsageError: one has another score.
    """
    low, high = scorer.scale.range
    for path, score in promised:
        try:
            found = scorer.score(path, reference=original_of(path, given)).score
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


def _no_image(item: Item) -> Result:
    return failed(item.path, PscrError(Status.FILE_NOT_FOUND, item.problem))
