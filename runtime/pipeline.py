"""From sources to results: a bounded, ordered pipeline that decodes in threads beside inference."""

from __future__ import annotations

import html
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .backends.base import Floats, Outputs
from .calibration import Calibration
from .errors import PscrError, Status
from .image import Source
from .sampling import Pixels

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """The score of one image.

    score: mean vote of the exemplars, in opinion-score units of the model's database; not clipped to its range.
    spread: standard deviation of the votes (population), same units.
    width, height: of the decoded image, in pixels, after EXIF orientation.
    status, message: OK and empty, or why there is no score. An image that had to be padded, or on which its decoder had
        a warning, is OK with a message.
    path: the input, where it was a path.
    interval: the lowest and highest opinion score that people would give with 90 % probability, where model and bank
        are calibrated (see calibration.py); else None. `Scorer.interval` has other levels.
    Where status is not OK, score and spread are NaN, and width and height 0.
    """

    score: float
    spread: float
    width: int
    height: int
    status: Status = Status.OK
    message: str = ""
    path: str | None = None
    interval: tuple[float, float] | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a score."""
        return self.status is Status.OK

    def _repr_html_(self) -> str:
        """The table that Jupyter shows; what comes from outside is escaped."""
        cells = [("image", self.path)] if self.path else []
        if self.ok:
            cells += [("score", f"{self.score:.3f}"), ("spread of the votes", f"{self.spread:.3f}")]
            if self.interval:
                cells.append(("90 % of opinion scores", "{:.3f} to {:.3f}".format(*self.interval)))
            cells.append(("size", f"{self.width} × {self.height}"))
        cells.append(("status", Status(self.status).name))
        if self.message:
            cells.append(("message", self.message))
        rows = "".join(f'<tr><th scope="row">{name}</th><td>{html.escape(text)}</td></tr>' for name, text in cells)
        table = f"<table><tbody>{rows}</tbody></table>"
        return table.encode("utf-8", "backslashreplace").decode()  # a path may have bytes that are not UTF-8


@dataclass(frozen=True)
class Prepared:
    """An image that is ready for the network: its patches [P,S,S,3], its size, and what was done to it."""

    patches: Pixels
    width: int
    height: int
    message: str


def in_order(
    work: Callable[[S], T], sources: Iterable[S], workers: int, ahead: int
) -> Generator[tuple[S, T | PscrError], None, None]:
    """Apply `work` to each source in `workers` threads, at most `ahead` sources before the consumer.

    Gives (source, result) in order; a PscrError of `work` is given in place of the result, any other exception
    propagates. Closing the generator drops what has not begun. `sources` is read in the consumer's thread; a result
    that is ready waits for one more source at most, so that a slow source does not hold back what it has brought.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pscr-decode")
    waiting: deque[tuple[S, Future[T]]] = deque()
    upcoming = iter(sources)
    try:
        more = True
        while True:
            while more and len(waiting) < ahead:
                try:
                    source = next(upcoming)
                except StopIteration:
                    more = False
                else:
                    waiting.append((source, pool.submit(work, source)))
                    if waiting[0][1].done():
                        break
            if not waiting:
                return
            source, future = waiting.popleft()
            try:
                result: T | PscrError = future.result()
            except PscrError as error:
                result = error
            del future
            yield source, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def score_all(
    sources: Iterable[Source],
    prepare: Callable[[Source], Prepared],
    infer: Callable[[Pixels], Outputs],
    *,
    calibration: Calibration | None,
    batch: int,
    workers: int,
    raising: bool,
) -> Iterator[Result]:
    """A Result for each source, in order; `prepare` runs in `workers` threads, `infer` in the consumer's.

    calibration: gives the results their intervals.
    raising: whether an image without a score raises its error, after the results before it, or gives a Result.
    """
    stream = in_order(prepare, sources, workers, 2 * batch + workers)
    with closing(stream):
        group: list[tuple[Source, Prepared | PscrError]] = []
        for item in stream:
            group.append(item)
            if len(group) == batch:  # failed ones count: a long row of them must not wait for a good one
                yield from _score_group(group, infer, calibration, raising)
                group = []
        yield from _score_group(group, infer, calibration, raising)


def finish(
    source: Source, prepared: Prepared, score: np.float32, votes: Floats, calibration: Calibration | None
) -> Result | PscrError:
    """The Result of one image from its score and votes [K]; where they are not finite an INTERNAL error, not raised."""
    spread = float(votes.std(dtype=np.float64))
    if not (math.isfinite(score) and math.isfinite(spread)):
        found = f"the model gave a score of {score} for this image; expected a finite one; report the image"
        return PscrError(Status.INTERNAL, found)
    interval = calibration.interval(float(score), spread) if calibration else None
    size = prepared.width, prepared.height
    return Result(float(score), spread, *size, Status.OK, prepared.message, _path(source), interval)


def failed(source: Source, error: PscrError) -> Result:
    """The Result of an image without a score."""
    return Result(math.nan, math.nan, 0, 0, error.status, error.message, _path(source))


def _score_group(
    group: list[tuple[Source, Prepared | PscrError]],
    infer: Callable[[Pixels], Outputs],
    calibration: Calibration | None,
    raising: bool,
) -> Iterator[Result]:
    rows = iter(infer_all([prepared.patches for _, prepared in group if isinstance(prepared, Prepared)], infer))
    for source, prepared in group:
        # An error is only raised to the caller: raised here, its traceback would keep this group's patches in a circle.
        outcome = prepared if isinstance(prepared, PscrError) else finish(source, prepared, *next(rows), calibration)
        if isinstance(outcome, PscrError):
            if raising:
                raise outcome
            outcome = failed(source, outcome)
        yield outcome


def infer_all(images: list[Pixels], infer: Callable[[Pixels], Outputs]) -> list[tuple[np.float32, Floats]]:
    """Score and votes [K] of each of `images` [P,S,S,3]; those with equally many patches go through together."""
    found: dict[int, tuple[np.float32, Floats]] = {}
    for count in {len(patches) for patches in images}:
        places = [place for place, patches in enumerate(images) if len(patches) == count]
        outputs = infer(np.stack([images[place] for place in places]))
        found |= zip(places, zip(outputs.scores, outputs.votes, strict=True), strict=True)
    return [found[place] for place in range(len(images))]


def _path(source: Source) -> str | None:
    return os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else None
