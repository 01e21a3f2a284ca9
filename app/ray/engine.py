"""`pscr score --engine ray`: the images in parts, through a pool of worker processes, into a folder of Parquet files.

This process makes the parts, and writes each one's file when its rows have come; workers only read images. So every
row is written once, whatever became of the worker that scored it, and only this machine needs the output folder.
"""

from __future__ import annotations

import argparse
import gc
import io
import logging
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # both are read when ray is imported; nothing is sent
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # and the driver's standard error is for our own lines

import pyarrow as pa
import ray
import ray.data
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..console import INTERRUPTED, UsageError, err, interruptible
from ..progress import Progress
from ..runtime import cores, devices
from ..runtime.errors import PscrError, Status, one_line
from ..runtime.scorer import open as open_scorer
from ..tables.inputs import Item, expand, items_of
from ..tables.parquet import ResultsFolder, as_text, is_table, read_paths
from ..tables.results_file import Earlier, Tally
from ..tables.scoring import check_same_model, summarised
from .worker import TO_SCORE, Deaths, Settings, Worker

_log = logging.getLogger(__name__)
CORES = 4  # of a worker, where nothing else is asked for
PART = 256  # images at most: what is scored again where a worker dies
RETRIES = 3  # workers that may die of a part before its images are scored one by one
STRIKES = 2  # workers that may then die of one image
PATIENCE = 10  # seconds for Ray's own threads to end
AGAIN = "what was written is kept, and the same command with --resume goes on"
STORE = 128 << 20  # bytes for what passes between the processes of one machine: rows, not pixels

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Images that are scored together and share an output file. first: the place of the first in the input."""

    first: int
    items: list[Item]


def run(options: argparse.Namespace) -> int:
    """Score what the command line names; returns the exit code.

    Raises:
        UsageError: nothing to score, the output cannot be used, or more workers than the cluster has cores for.
        PscrError: the model, the device or the cluster cannot be used.
    """
    column = options.path_column or "path"
    items, _ = items_of(options.paths, options.null, lambda paths: _expand(paths, column))
    listed = list(enumerate(items))
    with interruptible(), ExitStack() as stack:
        output = stack.enter_context(ResultsFolder(Path(options.output), options.resume))
        earlier = output.earlier()
        # A model that cannot be used is told before any worker is started; here it always runs on the CPU.
        with open_scorer(options.model, "cpu", options.threads, bank=options.bank) as scorer:
            check_same_model(scorer, earlier.promised, f"--resume: {options.output}", ", or start anew")
        left = not_done(listed, earlier)
        if not left:
            return _end(earlier.tally, Progress(0, options.quiet), earlier.tally.count, options)
        pool = stack.enter_context(connected(options.ray_address, options.workers, options.threads))
        _check_gpus(options.device, pool)
        settings = Settings(
            options.model,
            "cpu" if options.device == "auto" else options.device,  # every worker the same, whatever its machine has
            pool.threads,
            options.bank and str(options.bank),
            options.max_pixels,
            options.batch,
            Path.cwd(),
        )
        parts = split(left, options.part or min(PART, math.ceil(len(left) / (4 * pool.workers))))
        return _write_all(score(parts, settings, pool), output, earlier, Progress(len(left), options.quiet), options)


def _write_all(
    scored: Generator[tuple[int, list[Row]], None, None],
    output: ResultsFolder,
    earlier: Earlier,
    progress: Progress,
    options: argparse.Namespace,
) -> int:
    tally = earlier.tally
    before = tally.count
    try:
        with closing(scored):
            for first, rows in scored:
                output.write(first, rows)
                for row in rows:
                    progress.step()
                    tally.add(row["score"])
                if options.fail_fast and any(row["status"] != Status.OK.name for row in rows):
                    break
    except KeyboardInterrupt as stop:
        progress.hide()
        written = f"{tally.count - before} results written to {options.output}"
        err(f"pscr: interrupted: {written}; the same command with --resume goes on")
        return int(getattr(stop, "code", INTERRUPTED))
    finally:
        progress.hide()
    return _end(tally, progress, before, options)


def _end(tally: Tally, progress: Progress, before: int, options: argparse.Namespace) -> int:
    if not options.quiet:
        err(f"pscr: {summarised(tally, progress, before if options.resume else None)} to {options.output}")
    return 1 if tally.failed else 0


def _expand(paths: Iterable[str], column: str) -> list[Item]:
    return [item for path in paths for item in (read_paths(path, column) if is_table(path) else expand([path]))]


def not_done(listed: Iterable[tuple[int, Item]], earlier: Earlier) -> list[tuple[int, Item]]:
    """The items, with their places, without the rows that are there already, each as often as it stands there."""
    done = earlier.done.copy()
    left = []
    for place, item in listed:
        if done[as_text(item.path)] > 0:
            done[as_text(item.path)] -= 1
        else:
            left.append((place, item))
    return left


def split(listed: Iterable[tuple[int, Item]], size: int) -> list[Part]:
    """Parts of at most `size` items whose places follow one another, so that files by name keep the input's order."""
    parts: list[Part] = []
    for place, item in listed:
        last = parts[-1] if parts else None
        if last and len(last.items) < size and place == last.first + len(last.items):
            last.items.append(item)
        else:
            parts.append(Part(place, [item]))
    return parts


# --- the pool ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """How many workers, and the CPU threads of each."""

    workers: int
    threads: int


@contextmanager
def connected(address: str | None, workers: int | None, threads: int | None) -> Iterator[Pool]:
    """A connection to a cluster, or to one on this machine that is started here and ends with this process.

    address: as `ray.init` takes it; None for $RAY_ADDRESS, else this machine. A program that is connected already
    stays so.

    Raises:
        UsageError: the workers do not fit.
        PscrError: DEVICE_UNAVAILABLE where no cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if ray.is_initialized():
        yield _on_cluster(workers, threads)
        return
    _check_answers(address)
    pool: Pool | None = None
    on_term = signal.getsignal(signal.SIGTERM)
    options: dict[str, Any] = {"log_to_driver": _log.isEnabledFor(logging.DEBUG), "logging_level": logging.ERROR}
    if address == "local":
        pool = _on_this_machine(workers, threads)
        options.update(num_cpus=pool.workers * pool.threads, object_store_memory=STORE, include_dashboard=False)
    try:
        with _no_noise(), _command_line_as_text():
            ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError) as problem:
        found = f"no Ray cluster can be used at {address}: {one_line(problem)}"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{found}; check --ray-address and RAY_ADDRESS") from problem
    finally:
        signal.signal(signal.SIGTERM, on_term)  # ray.init puts its own in its place
    with redirect_stdout(_ToLog()):
        try:
            with _threads_ended():
                yield pool or _on_cluster(workers, threads)
        finally:
            ray.shutdown()


@contextmanager
def _threads_ended() -> Iterator[None]:
    """At the end, wait for the threads that began meanwhile, which are Ray Data's.

    A finished iteration leaves them to clean up by themselves. One that lets go of an object while `ray.shutdown` runs
    ends the process: exit code 1, and not a word.
    """
    before = set(threading.enumerate())
    try:
        yield
    finally:
        deadline = time.monotonic() + PATIENCE
        for thread in threading.enumerate():
            if thread not in before and thread.name != "Prefetcher":  # asleep for good, and it holds nothing
                thread.join(max(deadline - time.monotonic(), 0))
                _log.debug("thread %s %s", thread.name, "still runs" if thread.is_alive() else "has ended")
        gc.collect()  # and none of what is left may be let go of just then


class _ToLog(io.TextIOBase):
    """What Ray prints on standard output (that a worker has died, and its task goes to another) goes to the log."""

    def write(self, text: str) -> int:
        for line in filter(None, text.splitlines()):
            _log.debug("%s", line)
        return len(text)


def _check_answers(address: str) -> None:
    """Find out soon that nobody is there: Ray itself waits for minutes."""
    place = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:([0-9]+)", address)
    if not place:
        return
    try:
        socket.create_connection((place[1], int(place[2])), timeout=10).close()
    except (OSError, OverflowError) as problem:
        found = f"no Ray cluster answers at {address} ({one_line(problem)})"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{found}; check --ray-address and RAY_ADDRESS") from problem


@contextmanager
def _no_noise() -> Iterator[None]:
    """Keep what Ray's C++ parts write while they start off standard error; what goes wrong is raised all the same."""
    if _log.isEnabledFor(logging.DEBUG):
        yield
        return
    sys.stderr.flush()
    before = os.dup(2)
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@contextmanager
def _command_line_as_text() -> Iterator[None]:
    """Let Ray tell its cluster a command line whose paths are not UTF-8 (it can send text only, and has no option)."""
    module = sys.modules.get("ray._private.utils")
    name = getattr(module, "get_entrypoint_name", None)
    if module is None or name is None:
        yield
        return
    module.get_entrypoint_name = lambda: as_text(name())  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.get_entrypoint_name = name  # type: ignore[attr-defined]


def _on_this_machine(workers: int | None, threads: int | None) -> Pool:
    usable = cores.usable()
    workers = workers or max(1, usable // (threads or CORES))
    return Pool(workers, threads or max(1, usable // workers))


def _on_cluster(workers: int | None, threads: int | None) -> Pool:
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return share(nodes, workers, threads)


def share(nodes: Sequence[int], workers: int | None, threads: int | None) -> Pool:
    """The pool for machines with these numbers of cores; a worker's threads are on one machine.

    Raises:
        UsageError: the workers that are asked for do not fit.
    """

    def fitting(each: int) -> int:
        return sum(cores // each for cores in nodes)

    most = max(nodes, default=0)
    if workers is None:
        each = threads or min(CORES, max(most, 1))
        workers = fitting(each) or 1
    else:
        each = threads or next((each for each in range(most, 1, -1) if fitting(each) >= workers), 1)
    if fitting(each) < workers:
        found = f"{workers} workers of {each} threads do not fit on the cluster's nodes of {list(nodes)} cores"
        raise UsageError(f"{found}; give fewer by --workers or --threads, or wait until there are more nodes")
    return Pool(workers, each)


def _on_gpu(device: str) -> bool:
    entry, _ = devices.parse(device)
    return entry is not None and entry.on_gpu


def _check_gpus(device: str, pool: Pool) -> None:
    """Refuse what Ray would wait for without end."""
    there = int(ray.cluster_resources().get("GPU", 0))
    if _on_gpu(device) and there < pool.workers:
        found = f"--device {device} needs a GPU for each of {pool.workers} workers; Ray has {there}"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{found}; give fewer --workers, or another --device")


# --- scoring ----------------------------------------------------------------------------------------------------------


def score(parts: Sequence[Part], settings: Settings, pool: Pool) -> Generator[tuple[int, list[Row]], None, None]:
    """The rows of each part, as dicts by `COLUMNS` with the place of its first, as they are ready and each once.

    A part whose worker dies is given to another one, by Ray; from what `Deaths` remembers the workers find an image
    that ends every worker, and it costs its own row only.

    Raises:
        PscrError: what a worker could not get past (the model, the device, memory), or the cluster's end.
    """
    waiting = {part.first: part for part in parts}
    found: dict[int, dict[int, Row]] = {part.first: {} for part in parts}
    for row in _rows(parts, settings, pool):
        first = row.pop("part")
        if first not in waiting:
            continue
        found[first][row.pop("place")] = row
        if len(found[first]) == len(waiting[first].items):
            rows = found.pop(first)
            del waiting[first]
            yield first, [rows[place] for place in sorted(rows)]
    if waiting:
        raise PscrError(Status.INTERNAL, f"Ray ended without the rows of {len(waiting)} parts; {AGAIN}")


def _rows(parts: Sequence[Part], settings: Settings, pool: Pool) -> Iterator[Row]:
    """The rows that come back, part by part, in any order of the parts."""
    # On this machine: it must outlive all others.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    lasting = {"num_cpus": 0, "scheduling_strategy": here, "max_restarts": -1, "max_task_retries": -1}
    deaths = ray.remote(Deaths).options(**lasting).remote(RETRIES, STRIKES)
    dataset = ray.data.from_arrow([_table(part) for part in parts])  # a block for each
    dataset.context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.INFO if _log.isEnabledFor(logging.DEBUG) else logging.CRITICAL)
    scored = dataset.map_batches(
        Worker,
        batch_size=None,  # a call for each block
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=pool.workers, max_tasks_in_flight_per_actor=2),
        fn_constructor_args=(settings, deaths),
        num_cpus=pool.threads,
        num_gpus=int(_on_gpu(settings.device)),
    )
    try:
        blocks: Iterable[Any] = scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for block in blocks:
            workers = block["worker"].unique().to_pylist()
            _log.debug("%d rows from %s", block.num_rows, ", ".join(workers))
            for row in block.drop_columns(["worker"]).to_pylist():
                if row.pop("fatal"):
                    raise PscrError(Status[row["status"]], f"{workers[0]}: {row['message']}")
                yield row
    except ray.exceptions.RayError as problem:
        raise PscrError(
            Status.DEVICE_UNAVAILABLE, f"the Ray cluster gave up: {one_line(problem)}; {AGAIN}"
        ) from problem


def _table(part: Part) -> pa.Table:
    rows = [
        {"part": part.first, "place": place, "path": os.fsencode(item.path), "problem": as_text(item.problem)}
        for place, item in enumerate(part.items, part.first)
    ]
    return pa.Table.from_pylist(rows, TO_SCORE)
