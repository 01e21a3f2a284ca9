"""From sources to results: a bounded, ordered pipeline that decodes in threads beside inference."""

from __future__ import annotations

import html
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

import numpy as np

from .diagnosis import Classifier, Diagnosis
from .errors import PscrError, Status, as_error
from .families.head import Floats, Head, Outputs, Row
from .image import Source
from .samplings import Pixels

_GRACE = 5.0  # seconds that what has begun may still take when nobody waits for it any more

S = TypeVar("S")
T = TypeVar("T")


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


class _Threads(Generic[S, T]):
    """Threads that apply `work`, and that an interrupt of the consumer's thread cannot lock up.

    Ctrl-C may strike between any two instructions. In a Future or an Executor that can be just after a lock was taken
    and before anyone is bound to release it; the thread that delivers the result then waits for ever, and so does who
    joins it. Here the consumer touches nothing but SimpleQueues, which take and release their locks in C.
    """

    def __init__(self, work: Callable[[S], T], most: int) -> None:
        self._work, self._most = work, most
        self._tasks: SimpleQueue[tuple[int, S] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, T | None, BaseException | None] | None] = SimpleQueue()
        self._ready: dict[int, tuple[T | None, BaseException | None]] = {}
        self._started = self._count = 0
        self._stopping = False

    def submit(self, source: S) -> int:
        """Give a source to a thread, a new one while there are fewer than `most`. Returns the result's number."""
        if self._started < self._most:
            threading.Thread(target=self._run, name=f"pscr-decode_{self._started}", daemon=True).start()
            self._started += 1
        self._count += 1
        self._tasks.put((self._count, source))
        return self._count

    def done(self, number: int) -> bool:
        """Whether a result is there."""
        while number not in self._ready and not self._done.empty():
            self._receive()
        return number in self._ready

    def result(self, number: int) -> T:
        """Wait for a result; raises what `work` raised."""
        while number not in self._ready:
            self._receive()
        value, error = self._ready.pop(number)
        if error is None:
            return cast(T, value)
        try:
            raise error
        finally:
            del error  # its traceback has this frame: a cycle that would keep the image

    def close(self) -> None:
        """Drop what has not begun, and wait for what has; not for ever, as where a mount does not answer."""
        self._stopping = True
        for _ in range(self._most):  # one that was interrupted while it started is not counted, and ends as well
            self._tasks.put(None)
        latest = time.monotonic() + _GRACE
        while self._started and not sys.is_finalizing():  # a program that ends has stopped its threads already
            try:
                self._started -= self._done.get(timeout=max(latest - time.monotonic(), 0)) is None
            except Empty:
                return

    def _receive(self) -> None:
        found = self._done.get()
        if found is not None:
            self._ready[found[0]] = found[1:]

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not self._stopping:
                self._done.put(self._applied(*task))
            del task
        self._done.put(None)

    def _applied(self, number: int, source: S) -> tuple[int, T | None, BaseException | None]:
        try:
            return number, self._work(source), None
        except BaseException as error:
            return number, None, error


def in_order(
    work: Callable[[S], T], sources: Iterable[S], workers: int, ahead: int
) -> Generator[tuple[S, T | PscrError], None, None]:
    """Apply `work` to each source in `workers` threads, at most `ahead` sources before the consumer.

    Gives (source, result) in order; where `work` fails its PscrError is given in place of the result, for any other
    exception the one that `as_error` makes of it. Closing the generator drops what has not begun. `sources` is read in
    the consumer's thread; a result that is ready waits for one more source at most, so that a slow source does not hold
    back what it has brought.
    """
    threads = _Threads(work, workers)
    waiting: deque[tuple[S, int]] = deque()
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
                    waiting.append((source, threads.submit(source)))
                    if threads.done(waiting[0][1]):
                        break
            if not waiting:
                return
            source, number = waiting.popleft()
            try:
                result: T | PscrError = threads.result(number)
            except Exception as error:
                result = as_error(error)
            yield source, result
    finally:
        threads.close()


def results(work: Callable[[S], T], sources: Iterable[S], workers: int = 1, ahead: int = 4) -> Generator[T, None, None]:
    """`in_order` for sources that must all be good: only the results; the first PscrError ends it and is raised."""
    with closing(in_order(work, sources, workers, ahead)) as found:
        for _, result in found:
            if isinstance(result, PscrError):
                raise result
            yield result


def score_all(
    sources: Iterable[Source],
    prepare: Callable[[Source], Prepared],
    infer: Callable[[list[Pixels]], Outputs],
    *,
    head: Head,
    batch: int,
    workers: int,
    raising: bool = False,
    classifier: Classifier | None = None,
) -> Generator[tuple[Result, Floats | None], None, None]:
    """A Result for each source and its votes [K], in order; `prepare` runs in `workers` threads, `infer` in the
    consumer's.

    What fails in `prepare` is that image's; what `infer` raises is the device's, and ends it.
    raising: whether an image without a score raises its error, after the results before it, or gives a Result.
    classifier: what makes a diagnosis of the terms that `infer` gives; None for none.
    """
    stream = in_order(prepare, sources, workers, 2 * batch + workers)
    with closing(stream):
        group: list[tuple[Source, Prepared | PscrError]] = []
        for item in stream:
            group.append(item)
            if len(group) == batch:  # failed ones count: a long row of them must not wait for a good one
                yield from _score_group(group, infer, head, raising, classifier)
                group = []
        yield from _score_group(group, infer, head, raising, classifier)


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


def _score_group(
    group: list[tuple[Source, Prepared | PscrError]],
    infer: Callable[[list[Pixels]], Outputs],
    head: Head,
    raising: bool,
    classifier: Classifier | None,
) -> Iterator[tuple[Result, Floats | None]]:
    rows = iter(infer_all([prepared.patches for _, prepared in group if isinstance(prepared, Prepared)], infer))
    for source, prepared in group:
        row = Row(np.float32(math.nan)) if isinstance(prepared, PscrError) else next(rows)
        # An error is only raised to the caller: raised here, its traceback would keep this group's patches in a circle.
        outcome = prepared if isinstance(prepared, PscrError) else finish(source, prepared, row, head, classifier)
        if isinstance(outcome, PscrError):
            if raising:
                raise outcome
            outcome = failed(source, outcome)
        yield outcome, row.votes


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
