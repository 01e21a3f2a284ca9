"""What is said of a row of times: percentiles, whether they had settled, and when a server's queries arrive."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
WINDOWS = 6  # equal parts of a measurement, in order; the last three must agree
WITHIN = 0.10


class Timings(NamedTuple):
    """Milliseconds in the order they were measured; `warm_up` came first and counts in no figure."""

    warm_up: list[float]
    ms: list[float]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` per cent of the values do not exceed (nearest rank): one that occurred.

    Raises:
        ValueError: no values, or a share outside 0 to 100.
    """
    if not values or not 0 < share <= 100:
        raise ValueError(f"found {len(values)} values and share {share}; expected one value or more, and 0 to 100")
    rank = math.ceil(round(share / 100 * len(values), 9))  # 99.9 / 100 * 1000 is a little above 999
    return sorted(values)[max(rank, 1) - 1]


def is_stable(values: Sequence[float]) -> bool:
    """Whether the medians of the last three of six windows lie within 10 % of the smallest of them.

    Fewer than two values a window are too few to say so: False.
    """
    width = len(values) // WINDOWS
    if width < 2:
        return False
    start = len(values) - 3 * width
    medians = [statistics.median(values[start + i * width : start + (i + 1) * width]) for i in range(3)]
    return max(medians) <= (1 + WITHIN) * min(medians)


def summary(timings: Timings) -> dict[str, Any]:
    """The columns of a row of times: count, p50_ms to p99.9_ms, mean_ms, first_ms (the first warm-up), stable."""
    ms = timings.ms
    row: dict[str, Any] = {"count": len(ms)}
    row |= {f"p{share:g}_ms": round(percentile(ms, share), 3) for share in PERCENTILES}
    row["mean_ms"] = round(statistics.fmean(ms), 3)
    row["first_ms"] = round(timings.warm_up[0], 3) if timings.warm_up else ""
    row["stable"] = is_stable(ms)
    return row


def repeat(work: Callable[[int], object], seconds: float, warm_up: int = 3, least: int = 2 * WINDOWS) -> Timings:
    """Time `work`, called with 0, 1, 2 ...: `warm_up` times, then for `seconds` and `least` times or more."""
    first = [timed(work, turn) for turn in range(warm_up)]
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < ends:
        times.append(timed(work, warm_up + len(times)))
    return Timings(first, times)


def timed(work: Callable[[int], object], turn: int) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    work(turn)
    return 1000 * (time.perf_counter() - started)


def arrivals(rate: float, count: int, seed: int = 0) -> list[float]:
    """When `count` queries of a Poisson process arrive, in seconds, rising from 0; `rate` per second on average.

    Raises:
        ValueError: a rate or count that is not above zero.
    """
    if not rate > 0 or count < 1:
        raise ValueError(f"found rate {rate} and {count} queries; expected a rate above 0 and one query or more")
    gaps = np.random.default_rng(seed).exponential(1 / rate, count - 1)
    return [0.0, *np.cumsum(gaps).tolist()]
