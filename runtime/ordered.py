"""Work of many sources in threads, a bounded number ahead, with its results in order."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

from .errors import PscrError, as_error

_GRACE = 5.0  # seconds that what has begun may still take when nobody waits for it any more

S = TypeVar("S")
T = TypeVar("T")


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
    back what it has brought. What `sources` raises comes after the results of those that it gave.
    """
    threads = _Threads(work, workers)
    waiting: deque[tuple[S, int]] = deque()
    upcoming = iter(sources)
    broken: list[Exception] = []
    try:
        more = True
        while True:
            while more and len(waiting) < ahead:
                try:
                    source = next(upcoming)
                except StopIteration:
                    more = False
                except Exception as error:
                    more = False
                    broken.append(error)
                else:
                    waiting.append((source, threads.submit(source)))
                    if threads.done(waiting[0][1]):
                        break
            if not waiting:
                if broken:
                    raise broken.pop()  # and not [0]: its traceback would keep itself, and what its frames hold
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
