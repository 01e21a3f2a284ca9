"""The four scenarios, named and defined as MLPerf Inference names them, through the public interface of a Scorer.

Single-stream: one image, the next when its score is there. Multi-stream: queries of several images, one query after the
other. Server: single images that arrive as a Poisson process. Offline: all images are there from the start.
Source: MLPerf Inference Benchmark (Reddi et al., arXiv 1911.02549), section III.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..runtime.scorer import Scorer
from .statistics import WINDOWS, Timings, arrivals, repeat, summary

SAMPLES = 8  # of a multi-stream query, as in MLPerf
LOADS = (0.5, 0.7, 0.9)  # of the offline rate, at which the server scenario runs
NAMES = ("single-stream", "multi-stream", "offline", "server")
KEYS = ("scenario", "setting")
LEAST = 2 * WINDOWS


def run(scorer: Scorer, images: Sequence[bytes], seconds: float, names: Sequence[str] = NAMES) -> list[dict[str, Any]]:
    """A row for each scenario: its name and setting, images_per_s, and `statistics.summary` of the latencies.

    images: encoded ones, taken in turns. seconds: of each row. The server's rates are parts of what the offline
    scenario reaches, which is therefore measured where the server is asked for.
    """
    rows = []
    if "single-stream" in names:
        rows.append(_row("single-stream", "1 image", single_stream(scorer, images, seconds)))
    if "multi-stream" in names:
        rows.append(_row("multi-stream", f"{SAMPLES} images", multi_stream(scorer, images, seconds), SAMPLES))
    if "offline" in names or "server" in names:
        timings, rate = offline(scorer, images, seconds)
        if "offline" in names:
            rows.append(_row("offline", "all images", timings) | {"images_per_s": round(rate, 2)})
        for load in LOADS if "server" in names else ():
            timings, reached = server(scorer, images, load * rate, seconds)
            row = _row("server", f"{load:.0%} of offline", timings)
            rows.append(row | {"offered_per_s": round(load * rate, 2), "images_per_s": round(reached, 2)})
    return rows


def single_stream(scorer: Scorer, images: Sequence[bytes], seconds: float) -> Timings:
    """Latency of one image at a time."""
    return repeat(lambda turn: scorer.score(images[turn % len(images)]), seconds)


def multi_stream(scorer: Scorer, images: Sequence[bytes], seconds: float, samples: int = SAMPLES) -> Timings:
    """Latency of queries of `samples` images each, from the query to its last score."""

    def query(turn: int) -> None:
        for result in scorer.score_many([images[(samples * turn + i) % len(images)] for i in range(samples)]):
            _check(result.ok, result.message)

    return repeat(query, seconds, warm_up=2)


def offline(scorer: Scorer, images: Sequence[bytes], seconds: float) -> tuple[Timings, float]:
    """Milliseconds from one result to the next, and images per second, of one endless list of images."""
    ends = started = 0.0
    gaps: list[float] = []
    warm_up: list[float] = []
    results = scorer.score_many(itertools.cycle(images))
    last = time.perf_counter()
    for result in results:
        _check(result.ok, result.message)
        now = time.perf_counter()
        if len(warm_up) < LEAST:
            warm_up.append(1000 * (now - last))
            started, ends = now, now + seconds
        else:
            gaps.append(1000 * (now - last))
            if now >= ends and len(gaps) >= LEAST:
                break
        last = now
    return Timings(warm_up, gaps), len(gaps) / (now - started)


def server(
    scorer: Scorer, images: Sequence[bytes], rate: float, seconds: float, seed: int = 0
) -> tuple[Timings, float]:
    """Latency of images that arrive at `rate` per second on average, and the images per second that were scored.

    A latency counts from when the image was due, not from when a thread took it, so that a queue shows.
    """
    due = arrivals(rate, max(int(rate * seconds), LEAST), seed)
    scorer.score(images[0])
    latencies: list[Future[float]] = []
    with ThreadPoolExecutor(max(2, scorer.info["threads"]), thread_name_prefix="pscr-bench") as pool:
        started = time.perf_counter()

        def query(turn: int, at: float) -> float:
            scorer.score(images[turn % len(images)])
            return 1000 * (time.perf_counter() - started - at)

        for turn, at in enumerate(due):
            time.sleep(max(0.0, started + at - time.perf_counter()))
            latencies.append(pool.submit(query, turn, at))
        ms = [latency.result() for latency in latencies]
        took = max(at + latency / 1000 for at, latency in zip(due, ms, strict=True))
    return Timings([], ms), len(ms) / took


def _row(scenario: str, setting: str, timings: Timings, images: int = 1) -> dict[str, Any]:
    figures = summary(timings)
    row = {"scenario": scenario, "setting": setting, "offered_per_s": ""}
    row |= {"images_per_s": round(1000 * images / figures["mean_ms"], 2), **figures}
    return row | {"samples_ms": [round(value, 3) for value in timings.ms]}


def _check(good: bool, message: str) -> None:
    if not good:
        raise ValueError(f"an image of the benchmark has no score: {message}")
