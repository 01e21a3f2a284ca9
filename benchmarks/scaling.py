"""What a score costs as one thing grows: bank (K), images of a batch (N), threads, cores, processes.

    python benchmarks/scaling.py [--model MODEL] [--threads N] [--seconds 3] [--only bank batch threads cores processes]

bank, batch: inference alone on ready patches, in turns, so that a clock that drifts is every row's. threads: from an
encoded 512x512 JPEG to its score, one after the other. cores: a long list through `score_many` in one process that has
so many cores. processes: the same on all cores in so many processes of one core each. Both in turns. The size of an
image is image_sizes.py's.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from common import examples, finish, opened, parser, where

import pscr
from pscr.bench import plots
from pscr.bench.statistics import repeat
from pscr.runtime.bank import Bank

KEYS = ("axis", "value")
BANKS = (1, 10, 100, 1000, 2385)
BATCHES = (1, 2, 4, 8, 16)
LEAST = 5
TURNS = 3
PROGRAM = """
import os; os.sched_setaffinity(0, {cores!r})
import itertools, json, sys, time, pscr
with pscr.open({model!r}, {device!r}) as scorer:
    list(itertools.islice(scorer.score_many(itertools.cycle({images!r})), 64))
    print("ready", flush=True)
    sys.stdin.readline()
    results = scorer.score_many(itertools.cycle({images!r}))
    next(results)  # from here on: what a long list has, not what it takes to fill the pipeline
    started, done = time.perf_counter(), 0
    for _ in results:
        done, spent = done + 1, time.perf_counter() - started
        if spent >= {seconds} and done >= 4:
            print(json.dumps(done / spent))
            break
"""


def in_turns(works: Sequence[Callable[[int], object]], seconds: float) -> list[float]:
    """Median milliseconds of each, called one after the other for `seconds` altogether, after a turn for warmth."""
    times: list[list[float]] = [[] for _ in works]
    turn, ends = -1, time.perf_counter() + seconds
    while turn < LEAST or time.perf_counter() < ends:
        for work, taken in zip(works, times, strict=True):
            started = time.perf_counter()
            work(turn)
            if turn >= 0:
                taken.append(1000 * (time.perf_counter() - started))
        turn += 1
    return [statistics.median(taken) for taken in times]


def banks(model: str, device: str, threads: int, patches: np.ndarray, seconds: float) -> list[float]:
    """Milliseconds of one image with banks of each size of BANKS; the exemplars are the model's own, over and over."""
    with ExitStack() as stack:
        own = stack.enter_context(pscr.open(model, device, threads)).head.bank
        scorers = []
        for size in BANKS:
            places = np.arange(size) % len(own)
            bank = Bank(own.terms[places], own.scores[places], tuple(map(str, places)), own.scale, own.offset)
            scorers.append(stack.enter_context(pscr.open(model, device, threads, bank=bank)))
        return in_turns([lambda _, s=s: s.infer(patches) for s in scorers], seconds)  # type: ignore[misc]


def together(model: str, device: str, shares: Sequence[Sequence[int]], seconds: float) -> float:
    """Images per second of processes that begin together, one for each of these sets of cores."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(8)]
        for file, data in zip(files, examples(), strict=True):
            file.write_bytes(data)
        given = {"model": model, "device": device, "images": list(map(str, files)), "seconds": seconds}
        programs = [PROGRAM.format(cores=set(share), **given) for share in shares]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        running = [subprocess.Popen([sys.executable, "-c", program], **pipes) for program in programs]  # type: ignore[call-overload]
        for one in running:
            assert one.stdout is not None
            one.stdout.readline()
        for one in running:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        return sum(json.loads(one.communicate()[0]) for one in running)


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, 3.0, "of each row")
    axes = ("bank", "batch", "threads", "cores", "processes")
    options.add_argument("--only", nargs="+", choices=axes, default=axes, metavar="AXIS", help="default: all")
    given = options.parse_args()
    rows: list[dict[str, Any]] = []

    def add(axis: str, value: int, ms: float, base: float, patches: int | str = "") -> None:
        row = {"axis": axis, "value": value, "patches": patches, "ms_an_image": round(ms, 3)}
        rows.append(row | {"images_per_s": round(1000 / ms, 2), "to_first": round(ms / base, 4)})

    with opened(given) as scorer:
        environment = where(given, scorer)
        images, threads = examples(), environment["threads"]
        one = scorer.patches(images[0])
        if "bank" in given.only:
            found = banks(given.model, given.device, threads, one[None], given.seconds * len(BANKS))
            for size, ms in zip(BANKS, found, strict=True):
                add("bank", size, ms, found[0], len(one))
        if "batch" in given.only:
            stacks = [np.stack([one] * size) for size in BATCHES]
            found = in_turns([lambda _, s=s: scorer.infer(s) for s in stacks], given.seconds * len(BATCHES))  # type: ignore[misc]
            for size, ms in zip(BATCHES, found, strict=True):
                add("batch", size, ms / size, found[0], len(one))
    cores = sorted(os.sched_getaffinity(0))
    counts = _powers(len(cores))
    if "threads" in given.only:
        first = 0.0
        for count in counts:
            with pscr.open(given.model, given.device, count) as scorer:
                run = repeat(lambda turn, s=scorer: s.score(images[turn % len(images)]), given.seconds)  # type: ignore[misc]
                ms = statistics.median(run.ms)
            first = first or ms
            add("threads", count, ms, first, len(one))
    shares = {("cores", count): [cores[:count]] for count in counts if "cores" in given.only}
    shares |= {
        ("processes", count): [[core] for core in cores[:count]] for count in counts if "processes" in given.only
    }
    rates: dict[tuple[str, int], list[float]] = {key: [] for key in shares}
    for _ in range(TURNS):
        for key, share in shares.items():
            rates[key].append(together(given.model, given.device, share, given.seconds))
    for (axis, count), found in rates.items():
        add(axis, count, 1000 / statistics.median(found), 1000 / statistics.median(rates[axis, 1]), len(one))
    record, file = finish(given, environment, KEYS, rows)
    panels = []
    for axis in given.only:
        mine = [row for row in rows if row["axis"] == axis]
        line = ("", [row["value"] for row in mine], [row["ms_an_image"] for row in mine])
        panels.append((axis, "ms an image", [line]))
    plots.lines(file, panels, record.name)


def _powers(most: int) -> list[int]:
    """1, 2, 4 ... and `most`."""
    return sorted({most, *(2**power for power in range(most.bit_length()))} & set(range(1, most + 1)))


if __name__ == "__main__":
    main()
