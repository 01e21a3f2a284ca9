"""What a Ray worker process does: open a Scorer once, and score parts of the input with it."""

from __future__ import annotations

import contextlib
import math
import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from ..runtime.errors import PscrError, Status, one_line
from ..runtime.scorer import Result, Scorer
from ..runtime.scorer import open as open_scorer
from ..tables.formats import record
from ..tables.inputs import Item
from ..tables.parquet import SCHEMA, as_text
from ..tables.scoring import in_order

TO_SCORE = pa.schema([("part", pa.int64()), ("place", pa.int64()), ("path", pa.binary()), ("problem", pa.string())])
_ABOUT = [("part", pa.int64()), ("place", pa.int64()), ("fatal", pa.bool_()), ("worker", pa.string())]
SCORED = pa.schema([*_ABOUT, *SCHEMA])


@dataclass(frozen=True)
class Settings:
    """How every worker opens its Scorer; folder: where the command was typed, which relative paths start from."""

    model: str
    device: str
    threads: int
    bank: str | None
    max_pixels: int
    batch: int | None
    folder: Path


@dataclass(frozen=True)
class Attempt:
    """How a part is to be scored. singly: one image at a time, each announced. given_up: places of images that are
    not scored any more. hopeless: workers die before they come to an image.
    """

    singly: bool
    given_up: frozenset[int]
    hopeless: bool


class Deaths:
    """An actor that outlives the workers and knows what they died of: Ray repeats their work without saying how often.

    retries: deaths over a part, after which its images go one by one; also the deaths before the first image after
    which the part is hopeless. strikes: deaths over one image after which it is given up.
    """

    def __init__(self, retries: int, strikes: int) -> None:
        self._retries, self._strikes = retries, strikes
        self._begun: Counter[int] = Counter()
        self._blind: Counter[int] = Counter()
        self._struck: dict[int, Counter[int]] = {}
        self._now: dict[int, int] = {}

    def begin(self, part: int) -> Attempt:
        """A worker begins a part; whoever began it before has died."""
        before = self._begun[part]
        self._begun[part] += 1
        struck = self._struck.setdefault(part, Counter())
        if before > self._retries:  # the last one scored singly too
            place = self._now.pop(part, None)
            if place is None:
                self._blind[part] += 1
            else:
                struck[place] += 1
        given_up = frozenset(place for place, times in struck.items() if times >= self._strikes)
        return Attempt(before >= self._retries, given_up, self._blind[part] >= self._retries)

    def now(self, part: int, place: int) -> None:
        """The worker that has the part is about to score this image."""
        self._now[part] = place


class Worker:
    """An actor of the pool. A part goes in as a table of `TO_SCORE`, and comes out as one of `SCORED`.

    An image that cannot be scored is a row with its status. Where the model or the device cannot be used, or
    inference itself fails, one row says so that is `fatal`: an exception would lose its status on the way.
    """

    def __init__(self, settings: Settings, deaths: Any) -> None:
        self._settings = settings
        self._deaths = deaths
        self._scorer: Scorer | None = None
        with contextlib.suppress(OSError):  # another machine may not have it; then relative paths are not found
            os.chdir(settings.folder)

    def __call__(self, part: pa.Table) -> pa.Table:
        rows = part.to_pylist()
        try:
            scored = self._score(rows)
        except PscrError as problem:
            return self._fatal(problem.status, problem.message)
        except Exception as problem:  # the process's last word: raised here, Ray would try the part again for ever
            return self._fatal(Status.INTERNAL, f"{type(problem).__name__}: {one_line(problem)}")
        about = {"fatal": False, "worker": self._name()}
        return _table(
            [
                {"part": row["part"], "place": row["place"], **about, **found}
                for row, found in zip(rows, scored, strict=True)
            ]
        )

    def _score(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        number = rows[0]["part"]
        attempt: Attempt = ray.get(self._deaths.begin.remote(number))
        if attempt.hopeless:
            found = "worker processes die before they score an image"
            raise PscrError(Status.OUT_OF_MEMORY, f"{found}; is there memory for a model each? give fewer by --workers")
        scorer = self._opened()
        items = [Item(os.fsdecode(row["path"]), row["problem"]) for row in rows]
        if not attempt.singly:
            results = list(in_order(scorer, iter(items), self._settings.batch))
        else:
            results = []
            for row, item in zip(rows, items, strict=True):
                if row["place"] in attempt.given_up:
                    results.append(_deadly(item))
                    continue
                ray.get(self._deaths.now.remote(number, row["place"]))
                results += in_order(scorer, iter([item]), 1)
        return [
            {**found, "path": as_text(found["path"]), "message": as_text(found["message"])}
            for found in map(record, results)
        ]

    def _opened(self) -> Scorer:
        if self._scorer is None:
            wanted = self._settings
            self._scorer = open_scorer(
                wanted.model, wanted.device, wanted.threads, bank=wanted.bank, max_pixels=wanted.max_pixels
            )
        return self._scorer

    def _fatal(self, status: Status, message: str) -> pa.Table:
        about = {"part": -1, "place": -1, "fatal": True, "worker": self._name()}
        return _table([{**about, "path": "", "status": status.name, "message": as_text(message)}])

    def _name(self) -> str:
        return f"process {os.getpid()} on {platform.node()}"


def _deadly(item: Item) -> Result:
    found = f"{item.path}: a worker process died each time it was given this image; report the image"
    return Result(math.nan, math.nan, 0, 0, Status.INTERNAL, found, item.path)


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCORED)
