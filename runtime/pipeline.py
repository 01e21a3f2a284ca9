"""From sources to results: images are decoded in threads beside inference, and inferred side by side on a CPU."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np

from .diagnosis import Classifier, Diagnosis
from .errors import PscrError, Status
from .families.head import Floats, Head, Outputs, Row
from .image import Source
from .ordered import in_order
from .samplings import Pixels

_NO_ROW = Row(np.float32(math.nan))


@dataclass(frozen=True)
class Result:
    """The score of one image.

    score: in opinion-score units of the scale that is open; not clipped to its range.
    spread: standard deviation of the votes (population), same units; None where fewer than two vote and where there
        is no score.
    width, height: of the decoded image, in pixels, after EXIF orientation.
    status, message: OK and empty, or why there is no score. An image that had to be padded, or on which its decoder had
        a warning, is OK with a message.
    path: the input, where it was a path.
    interval: the lowest and highest opinion score that people would give with 90 % probability, where model and bank
        are calibrated (see calibration.py); else None. `Scorer.interval` has other levels.
    diagnosis: what the image looks like, where that was asked for (see diagnosis.py); else None.
    Where status is not OK, score is NaN, and width and height are 0.
    """

    score: float
    spread: float | None
    width: int
    height: int
    status: Status = Status.OK
    message: str = ""
    path: str | None = None
    interval: tuple[float, float] | None = None
    diagnosis: Diagnosis | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a score."""
        return self.status is Status.OK

    def _repr_html_(self) -> str:
        """The table that Jupyter shows; what comes from outside is escaped."""
        cells = [("image", self.path)] if self.path else []
        if self.ok:
            cells.append(("score", f"{self.score:.3f}"))
            if self.spread is not None:
                cells.append(("spread of the votes", f"{self.spread:.3f}"))
            if self.interval:
                cells.append(("90 % of opinion scores", "{:.3f} to {:.3f}".format(*self.interval)))
            if self.diagnosis:
                cells.append(("looks like", self.diagnosis.in_words()))
            cells.append(("size", f"{self.width} × {self.height}"))
        cells.append(("status", Status(self.status).name))
        if self.message:
            cells.append(("message", self.message))
        rows = "".join(f'<tr><th scope="row">{name}</th><td>{html.escape(text)}</td></tr>' for name, text in cells)
        table = f"<table><tbody>{rows}</tbody></table>"
        return table.encode("utf-8", "backslashreplace").decode()  # a path may have bytes that are not UTF-8


@dataclass(frozen=True)
class Seen:
    """What a result says of its image besides the score: the size in pixels, and what was done to it."""

    width: int
    height: int
    message: str


@dataclass(frozen=True)
class Prepared(Seen):
    """An image that is ready for the network: also its patches [P,S,S,3]."""

    patches: Pixels

    def seen(self) -> Seen:
        """The same without the patches."""
        return Seen(self.width, self.height, self.message)


_LookedAt: TypeAlias = tuple[Source, "Seen | PscrError", Row]


@dataclass(frozen=True)
class _Broken:
    """What inference raised: the device's fault and not the image's, which ends a run."""

    error: Exception


def score_all(
    sources: Iterable[Source],
    prepare: Callable[[Source], Prepared],
    infer: Callable[[list[Pixels]], Outputs],
    *,
    head: Head,
    batch: int,
    workers: int,
    streams: int = 1,
    raising: bool = False,
    classifier: Classifier | None = None,
) -> Generator[tuple[Result, Floats | None], None, None]:
    """A Result for each source and its votes [K], in order; `prepare` runs in `workers` threads.

    What fails in `prepare` is that image's; what `infer` raises is the device's, and ends it.
    batch: images of an inference. Where it is 1 and inferences may run side by side, `infer` runs in as many threads
        more as there are `streams`; else in the consumer's, while the next images are prepared.
    raising: whether an image without a score raises its error, after the results before it, or gives a Result.
    classifier: what makes a diagnosis of the terms that `infer` gives; None for none.
    """
    if batch == 1 and streams > 1:
        looked_at = _side_by_side(sources, prepare, infer, workers + streams)
    else:
        looked_at = _in_groups(sources, prepare, infer, batch, workers)
    with closing(looked_at):
        for source, seen, row in looked_at:
            # An error is only raised to the caller: raised here, its traceback would keep patches in a circle.
            outcome = seen if isinstance(seen, PscrError) else finish(source, seen, row, head, classifier)
            if isinstance(outcome, PscrError):
                if raising:
                    raise outcome
                outcome = failed(source, outcome)
            yield outcome, row.votes


def _side_by_side(
    sources: Iterable[Source],
    prepare: Callable[[Source], Prepared],
    infer: Callable[[list[Pixels]], Outputs],
    workers: int,
) -> Generator[_LookedAt, None, None]:
    """Each image prepared and inferred in one thread."""

    def work(source: Source) -> tuple[Seen, Row] | _Broken:
        prepared = prepare(source)
        try:
            (row,) = infer([prepared.patches]).rows()
        except Exception as error:
            return _Broken(error)
        return prepared.seen(), row

    with closing(in_order(work, sources, workers, workers + 2)) as stream:
        for source, done in stream:
            if isinstance(done, _Broken):
                raise done.error
            yield (source, done, _NO_ROW) if isinstance(done, PscrError) else (source, *done)


def _in_groups(
    sources: Iterable[Source],
    prepare: Callable[[Source], Prepared],
    infer: Callable[[list[Pixels]], Outputs],
    batch: int,
    workers: int,
) -> Generator[_LookedAt, None, None]:
    """`batch` images an inference."""
    with closing(in_order(prepare, sources, workers, 2 * batch + workers)) as stream:
        broken: list[Exception] = []
        while not broken:
            group: list[tuple[Source, Prepared | PscrError]] = []
            try:  # images that failed count: a long row of them must not wait for a good one
                group.extend(islice(stream, batch))
            except Exception as error:  # of the sources, after the last of what they gave
                broken.append(error)
            if not group:
                break
            done = _inferred(group, infer)
            group.clear()
            yield from done
        if broken:
            raise broken.pop()


def _inferred(
    group: list[tuple[Source, Prepared | PscrError]], infer: Callable[[list[Pixels]], Outputs]
) -> list[_LookedAt]:
    """What is left of a group when its patches are not needed any more."""
    rows = iter(infer_all([one.patches for _, one in group if isinstance(one, Prepared)], infer))
    return [
        (source, one.seen(), next(rows)) if isinstance(one, Prepared) else (source, one, _NO_ROW)
        for source, one in group
    ]


def without_votes(scored: Generator[tuple[Result, Floats | None], None, None]) -> Generator[Result, None, None]:
    """Only the results of `score_all`."""
    with closing(scored):
        for result, _ in scored:
            yield result


def finish(
    source: Source | None, seen: Seen, row: Row, head: Head, classifier: Classifier | None = None
) -> Result | PscrError:
    """The Result of one image from what the graph gave; where that is not finite an INTERNAL error, not raised.

    classifier: see `score_all`.
    """
    score, spread = float(row.score), head.spread(row.votes)
    whole = classifier is None or row.terms is None or bool(np.isfinite(row.terms).all())
    if not (math.isfinite(score) and math.isfinite(spread or 0.0) and whole):
        found = f"the model gave a score of {row.score} for this image; expected a finite one; report the image"
        return PscrError(Status.INTERNAL, found)
    interval = head.calibration.interval(score, spread) if head.calibration else None
    diagnosis = None if classifier is None or row.terms is None else classifier.diagnose(row.terms)
    size = seen.width, seen.height
    return Result(score, spread, *size, Status.OK, seen.message, _path(source), interval, diagnosis)


def failed(source: Source | None, error: PscrError) -> Result:
    """The Result of an image without a score."""
    return Result(math.nan, None, 0, 0, error.status, error.message, _path(source))


def infer_all(images: list[Pixels], infer: Callable[[list[Pixels]], Outputs]) -> list[Row]:
    """What `infer` gives each of `images` [P,S,S,3]; those with equally many and large patches go together."""
    found: dict[int, Row] = {}
    for shape in {patches.shape for patches in images}:
        places = [place for place, patches in enumerate(images) if patches.shape == shape]
        outputs = infer([images[place] for place in places])
        found |= zip(places, outputs.rows(), strict=True)
    return [found[place] for place in range(len(images))]


def _path(source: Source | None) -> str | None:
    return os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else None
