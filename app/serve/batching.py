"""Images of many requests to scores: a bounded queue, threads that decode, and threads that run batches."""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial

from ..runtime.errors import PscrError, Status, as_error
from ..runtime.pipeline import Prepared, Result, failed, finish, infer_all
from ..runtime.scorer import Scorer
from .metrics import Metrics

_log = logging.getLogger(__name__)
_LONGEST_RETRY = 60


class Full(Exception):  # noqa: N818  # no fault: the caller comes again later
    """The queue has no place left; `retry_after` is the time in seconds after which it may have, by its own pace."""

    def __init__(self, waiting: int, places: int, retry_after: int) -> None:
        super().__init__(f"{waiting} images wait for their scores, of {places}; try again in {retry_after} s")
        self.retry_after = retry_after


class Job:
    """One image on its way; `future` gets its Result, of any status."""

    def __init__(self, data: bytes, diagnose: bool) -> None:
        self.data, self.diagnose = data, diagnose
        self.prepared: Prepared | None = None
        self.future: Future[Result] = Future()
        self.since = time.perf_counter()
        self.abandoned = False

    def abandon(self) -> None:
        """Nobody waits for it any more: its place is free at once where no thread has begun with it."""
        self.abandoned = True
        if self.future.cancel():
            self.data = b""  # the queue may keep the job itself a while longer

    def lap(self) -> float:
        """Seconds since the last lap, or since it was made."""
        now = time.perf_counter()
        seconds, self.since = now - self.since, now
        return seconds


class Batcher:
    """Scores images that come from any thread, with one Scorer."""

    def __init__(
        self,
        scorer: Scorer,
        metrics: Metrics,
        *,
        check: Callable[[bytes], None],
        batch: int,
        wait: float,
        places: int,
        workers: int,
    ) -> None:
        """Start the threads.

        check: is given each image's bytes before they are decoded; raises a PscrError for those that shall not be.
        batch: most images of one inference. wait: seconds that the first image of a batch waits for others.
        places: images that may be under way at once. workers: threads that decode. Batches run in as many threads as
            the scorer has streams.
        """
        self._scorer, self._metrics, self._check = scorer, metrics, check
        self._batch, self._wait, self.places = batch, wait, places
        self._lock = threading.Lock()
        self._under_way = 0
        self._closed = False
        self._pace = 0.1  # seconds an image, of late
        self._encoded: queue.SimpleQueue[Job | None] = queue.SimpleQueue()  # bounded by places
        self._ready: queue.Queue[Job | None] = queue.Queue(batch * scorer.streams)  # pixels are large: no more
        self._decoders = [self._thread(f"pscr-decode-{number}", self._decode_all) for number in range(workers)]
        self._runners = [self._thread(f"pscr-infer-{number}", self._infer_all) for number in range(scorer.streams)]

    @property
    def under_way(self) -> int:
        """Images that were admitted and have no result yet."""
        return self._under_way

    @property
    def alive(self) -> bool:
        """Whether every thread still runs."""
        return all(thread.is_alive() for thread in (*self._decoders, *self._runners))

    def check(self, count: int = 1) -> None:
        """See whether so many images would be admitted now.

        Raises:
            Full: they would not. PscrError: CLOSED.
        """
        if self._closed:
            raise PscrError(Status.CLOSED, "the service is stopping; send the request to another one")
        if self._under_way + count > self.places:
            seconds = math.ceil(self._under_way * self._pace)
            raise Full(self._under_way, self.places, min(max(seconds, 1), _LONGEST_RETRY))

    def admit(self, images: Sequence[bytes], diagnose: bool = False) -> list[Job]:
        """Take all of `images`, or none of them; their futures get results, with or without diagnoses, in any order.

        Raises:
            Full: there are not enough places. PscrError: CLOSED.
        """
        with self._lock:
            self.check(len(images))
            self._under_way += len(images)
            jobs = [Job(data, diagnose) for data in images]
            for job in jobs:
                job.future.add_done_callback(self._leave)
                self._encoded.put(job)
        return jobs

    def close(self, seconds: float) -> bool:
        """Admit nothing more, finish what is under way, and end the threads; returns whether they ended in time."""
        ends = time.monotonic() + seconds
        with self._lock:  # whatever was admitted stands in the queue before the ends of it
            self._closed = True
            for _ in self._decoders:
                self._encoded.put(None)
        for thread in self._decoders:
            thread.join(max(ends - time.monotonic(), 0))
        if not any(thread.is_alive() for thread in self._decoders):
            for _ in self._runners:
                with contextlib.suppress(queue.Full):  # a run that hangs takes nothing more
                    self._ready.put(None, timeout=max(ends - time.monotonic(), 0))
        for thread in self._runners:
            thread.join(max(ends - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._runners)

    def _thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        # A daemon: a thread that hangs in a C library must not keep a process from ending that was told to.
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def _leave(self, future: Future[Result]) -> None:
        with self._lock:
            self._under_way -= 1
        if not future.cancelled() and future.exception() is None:
            self._metrics.image(future.result().status)

    def _decode_all(self) -> None:
        while (job := self._encoded.get()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            self._metrics.stage("queue", job.lap())
            error = None
            try:
                self._check(job.data)
                job.prepared = self._scorer.prepare(job.data)
            except Exception as found:  # the next image must not suffer for a fault that this one has shown
                if not isinstance(found, PscrError):
                    _log.exception("an image could not be prepared")
                error = as_error(found)
            job.data = b""
            self._metrics.stage("decode", job.lap())
            if error is None:
                self._ready.put(job)
            else:
                job.future.set_result(failed(b"", error))

    def _infer_all(self) -> None:
        more = True
        while more and (first := self._ready.get()) is not None:
            group = [first]
            ends = time.perf_counter() + self._wait
            while len(group) < self._batch:
                try:
                    job = self._ready.get(timeout=max(ends - time.perf_counter(), 0))
                except queue.Empty:
                    break
                if job is None:
                    more = False
                    break
                group.append(job)
            self._score(group)

    def _score(self, group: list[Job]) -> None:
        kept = []
        for job in group:
            self._metrics.stage("gather", job.lap())
            if job.abandoned:
                job.future.set_exception(CancelledError())
            else:
                kept.append(job)
        if kept:
            self._run(kept)

    def _run(self, group: list[Job]) -> None:
        started = time.perf_counter()
        results = self._results(group)
        seconds = time.perf_counter() - started
        self._pace += 0.1 * (seconds / len(group) / len(self._runners) - self._pace)
        self._metrics.stage("infer", seconds)
        self._metrics.batch(len(group))
        for job, result in zip(group, results, strict=True):
            job.prepared = None
            job.future.set_result(result)

    def _results(self, group: list[Job]) -> list[Result]:
        """A Result for each; where a batch fails, each image is tried by itself."""
        prepared = [job.prepared for job in group if job.prepared is not None]
        classifier = self._scorer.classifier() if any(job.diagnose for job in group) else None
        try:
            rows = infer_all([one.patches for one in prepared], partial(self._scorer.infer, terms=bool(classifier)))
        except Exception as found:
            if len(group) > 1:
                return [result for job in group for result in self._results([job])]
            if not isinstance(found, PscrError):
                _log.exception("a batch could not be run")
            return [failed(b"", as_error(found))]
        head = self._scorer.head
        outcomes = [
            finish(b"", one, row, head, classifier if job.diagnose else None)
            for job, one, row in zip(group, prepared, rows, strict=True)
        ]
        return [failed(b"", one) if isinstance(one, PscrError) else one for one in outcomes]
