"""The parts of the input through a pool of worker processes, and what becomes of a part whose worker dies."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from ..runtime.errors import PscrError, Status, as_error, one_line
from ..runtime.pipeline import failed
from ..tables.inputs import Item
from .cluster import Pool, gpus_of
from .worker import Row, Settings, Worker, as_row

_log = logging.getLogger(__name__)
BEAT = 2.0  # seconds without a result, after which it is seen whether one can come still
DEATHS = 3  # of workers over one image; and for each place in the pool before any has opened its model


@dataclass(frozen=True)
class Part:
    """Images that are scored together and share an output file.

    first: the place of the first in the input. deaths: how many workers have died of a part of one image.
    """

    first: int
    items: list[Item]
    deaths: int = 0

    def again(self) -> list[Part]:
        """What is to be done after a worker has died of this part: its halves, or a single image once more."""
        half = len(self.items) // 2
        if not half:
            return [replace(self, deaths=self.deaths + 1)]
        return [Part(self.first, self.items[:half]), Part(self.first + half, self.items[half:])]


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


@dataclass
class _Task:
    """What one worker is doing: scoring a part, or, without one, opening its model."""

    worker: Any
    name: str = "a new worker"
    part: Part | None = None


def score(parts: Sequence[Part], settings: Settings, pool: Pool) -> Generator[tuple[int, list[Row]], None, None]:
    """The rows of each part with the place of its first image, as they are ready and each once.

    A worker that dies is replaced, and the halves of its part are parts of their own. So an image that ends every
    worker is soon alone, and costs its own row only.

    Raises:
        PscrError: what a worker could not get past (the model, the device, memory), or no machine is left.
    """
    actor: Any = ray.remote(Worker).options(num_cpus=pool.threads, num_gpus=gpus_of(settings.device))
    waiting = deque(parts)
    left = sum(len(part.items) for part in parts)
    tasks: dict[Any, _Task] = {}  # by what Ray will give for each
    unopened = 0
    while left:
        while len(tasks) < pool.workers and sum(task.part is None for task in tasks.values()) < len(waiting):
            worker = actor.remote(settings)
            tasks[worker.open.remote()] = _Task(worker)
        done = _first(list(tasks))
        task = tasks.pop(done)
        try:
            found = ray.get(done)
        except RayTaskError as problem:
            raise as_error(problem.cause) from problem
        except RayError as problem:  # the worker has died, or its machine has
            _log.debug("%s is lost: %s", task.name, one_line(problem))
            if task.part is None:
                unopened += 1
                if unopened == DEATHS * pool.workers:
                    raise _hopeless(problem) from problem
                continue
            again = task.part.again()
            if again[0].deaths < DEATHS:
                waiting.extendleft(reversed(again))
                continue
            rows = [_deadly(again[0].items[0])]
        else:
            unopened = 0
            name = task.name if task.part else found
            if waiting:  # before its rows are written: it need not wait for that
                part = waiting.popleft()
                tasks[task.worker.score.remote(part.items)] = _Task(task.worker, name, part)
            if task.part is None:
                continue
            rows = found
            _log.debug("%d rows from %s", len(rows), name)
        left -= len(rows)
        yield task.part.first, rows


def _first(waited: list[Any]) -> Any:
    """The first of `waited` that is done.

    Raises:
        PscrError: it will not come, since no machine is left.
    """
    while True:
        done, _ = ray.wait(waited, timeout=BEAT)
        if done:
            return done[0]
        if not any(node["Alive"] for node in ray.nodes()):
            found = "no machine of the Ray cluster is there any more; what was written is kept"
            raise PscrError(Status.DEVICE_UNAVAILABLE, f"{found}, and the same command with --resume goes on")


def _deadly(item: Item) -> Row:
    found = f"{item.path}: a worker process died each time it was given this image; report the image"
    return as_row(failed(item.path, PscrError(Status.INTERNAL, found)))


def _hopeless(problem: RayError) -> PscrError:
    found = f"worker processes die before they score an image ({one_line(problem)})"
    hint = "is there memory for a model each? give fewer by --workers"
    return PscrError(Status.OUT_OF_MEMORY, f"{found}; {hint}")
