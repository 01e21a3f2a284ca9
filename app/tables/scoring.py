"""From inputs to results: every item its result, in order, and by the model that scored the rows before."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ..console import UsageError
from ..progress import Progress
from ..runtime.errors import PscrError
from ..runtime.image import Source
from ..runtime.image_words import UNNAMED
from ..runtime.pipeline import failed
from ..runtime.scorer import Result, Scorer
from .clips import Clips
from .inputs import Item
from .originals import Originals, original_of, score_each
from .results_file import Tally

SAME_MODEL = 0.01  # of the score's range: what devices and precisions of one model may differ by
_CHECKED = 3  # images that are scored again


def in_order(
    scorer: Scorer, items: Iterator[Item], batch: int | None, diagnose: bool = False
) -> Generator[Result, None, None]:
    """One result per item, in order; an item that names no image gets its result without going to the scorer."""
    with closing(paired(scorer, items, batch, diagnose=diagnose)) as pairs:
        for _, result in pairs:
            yield result


def paired(
    scorer: Scorer,
    items: Iterator[Item],
    batch: int | None,
    given: Originals = None,
    diagnose: bool = False,
    clips: Clips | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """`in_order` with the item of each result; a result is called by its item's path, wherever the image lay.

    given: the images' originals, for a full-reference model.
    clips: how video files are scored, each of which may have several results; without, they are images of no known
        format.
    """
    if clips is None:
        yield from _images(scorer, items, batch, given, diagnose)
        return
    for are_clips, run in itertools.groupby(items, clips.holds):
        if not are_clips:
            yield from _images(scorer, run, batch, given, diagnose)
            continue
        for item in run:
            for result in clips.rows(scorer, item.path, given, diagnose):
                yield item, result


def _images(
    scorer: Scorer, items: Iterator[Item], batch: int | None, given: Originals, diagnose: bool
) -> Generator[tuple[Item, Result], None, None]:
    waiting: deque[Item] = deque()

    def sources() -> Iterator[Source]:
        for item in items:
            waiting.append(item)
            if not item.problem:
                yield item.path if item.source is None else item.source

    if isinstance(given, Path):
        scored = score_each(scorer, sources(), given, diagnose)
    else:
        scored = scorer.score_many(sources(), batch=batch, reference=given, diagnose=diagnose)
    for result in scored:
        while waiting[0].problem:
            yield _no_image(waiting.popleft())
        item = waiting.popleft()
        yield item, result if item.source is None else _called(result, item.path)
    for item in waiting:
        yield _no_image(item)


def check_diagnosis(scorer: Scorer, wanted: bool) -> None:
    """See, before anything is written, that the model makes diagnoses where they are wanted.

    Raises:
        PscrError: INVALID_ARGUMENT.
    """
    if wanted:
        scorer.classifier()


def check_same_model(
    scorer: Scorer,
    promised: Iterable[tuple[str, float]],
    source: str,
    otherwise: str = "",
    given: Originals = None,
    clips: Clips | None = None,
) -> None:
    """Refuse to put scores of one model beside those of another: the first promised scores must be given again.

    An image that is gone, as those of a finished run may be, is passed over.

    promised: paths and scores. source: the option and file that they come from. otherwise: what else would help.
    given: the images' originals, for a full-reference model. clips: how video files among them were scored.

    Raises:
        UsageError: one has another score.
    """
    low, high = scorer.scale.range
    for path, score in itertools.islice(promised, _CHECKED):
        try:
            found = clips.score_again(scorer, path) if clips else None
            if found is None:
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


def _called(result: Result, path: str) -> Result:
    """The result of an image that is called so, and was scored without its name."""
    message = result.message
    if message.startswith(UNNAMED):
        message = path + message[len(UNNAMED) :]
    return replace(result, path=path, message=message)


def _no_image(item: Item) -> tuple[Item, Result]:
    return item, failed(item.path, PscrError(item.status, item.problem))
