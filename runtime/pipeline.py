"""A bounded, ordered pipeline: work in threads, results in the order of the inputs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import PscrError

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8]
S = TypeVar("S")
T = TypeVar("T")


def in_order(
    work: Callable[[S], T], sources: Iterable[S], workers: int, ahead: int
) -> Generator[tuple[S, T | PscrError], None, None]:
    """Apply `work` to each source in `workers` threads, at most `ahead` sources before the consumer.

    Gives (source, result) in order; a PscrError of `work` is given in place of the result, any other exception
    propagates. Closing the generator drops what has not begun. `sources` is read in the consumer's thread.
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
