"""A connection to Ray, and how the cores and GPUs of its machines are shared out."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported; nothing is sent

import ray

from ..console import UsageError
from ..runtime import cores, devices
from ..runtime.errors import PscrError, Status, one_line

_log = logging.getLogger(__name__)
CORES = 4  # of a worker, where nothing else is asked for
STORE = 128 << 20  # bytes for what passes between the processes of one machine: rows, not pixels


@dataclass(frozen=True)
class Pool:
    """How many workers, and the CPU threads of each."""

    workers: int
    threads: int


@contextmanager
def connected(address: str | None, workers: int | None, threads: int | None) -> Iterator[Pool]:
    """A connection to a cluster, or to one on this machine that is started here and ends with this process.

    address: as `ray.init` takes it; None for $RAY_ADDRESS, else this machine.

    Raises:
        UsageError: the workers do not fit.
        PscrError: DEVICE_UNAVAILABLE where no cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(address)
    pool: Pool | None = None
    options: dict[str, Any] = {"log_to_driver": _log.isEnabledFor(logging.DEBUG), "logging_level": logging.ERROR}
    if address == "local":
        pool = _on_this_machine(workers, threads)
        options.update(num_cpus=pool.workers * pool.threads, object_store_memory=STORE, include_dashboard=False)
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError) as problem:
        found = f"no Ray cluster can be used at {address}: {one_line(problem)}"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{found}; check --ray-address and RAY_ADDRESS") from problem
    finally:
        signal.signal(signal.SIGTERM, on_term)  # ray.init puts its own in its place
    # Where Ray says that a worker has died.
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, redirect_stdout(nothing):
        try:
            yield pool or _on_cluster(workers, threads)
        finally:
            ray.shutdown()


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


def gpus_of(device: str) -> int:
    """The GPUs that a worker needs: 1 or 0.

    Raises:
        PscrError: there is no such device.
    """
    entry, _ = devices.parse(device)
    return int(entry is not None and entry.on_gpu)


def check_gpus(device: str, pool: Pool) -> None:
    """Refuse what Ray would wait for without end.

    Raises:
        PscrError: there is no such device, or the cluster has too few GPUs.
    """
    there = int(ray.cluster_resources().get("GPU", 0))
    if gpus_of(device) and there < pool.workers:
        found = f"--device {device} needs a GPU for each of {pool.workers} workers; Ray has {there}"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{found}; give fewer --workers, or another --device")
