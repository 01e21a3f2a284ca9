"""What a Ray worker process does: open a Scorer once, and score parts of the input with it."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.errors import PscrError, as_error
from ..runtime.scorer import Result, Scorer
from ..runtime.scorer import open as open_scorer
from ..tables.fields import record
from ..tables.inputs import Item
from ..tables.parquet import as_text
from ..tables.scoring import in_order
from ..voting import Votes

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How every worker opens its Scorer; folder: where the command was typed, which relative paths start from.

    diagnose: whether rows have a diagnosis.
    """

    model: str
    device: str
    threads: int
    votes: Votes
    max_pixels: int
    batch: int | None
    folder: Path
    diagnose: bool = False


class Worker:
    """An actor of the pool. What it raises is a PscrError that names its process."""

    _scorer: Scorer

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = f"process {os.getpid()} on {platform.node()}"

    def open(self) -> str:
        """Open the model, once and before all else; returns the name of this process.

        Raises:
            PscrError: the model or the device cannot be used.
        """
        wanted = self._settings
        with contextlib.suppress(OSError):  # another machine may not have it; then relative paths are not found
            os.chdir(wanted.folder)
        with self._named():
            self._scorer = open_scorer(
                wanted.model, wanted.device, wanted.threads, **wanted.votes, max_pixels=wanted.max_pixels
            )
        return self._name

    def score(self, items: Sequence[Item]) -> list[Row]:
        """A row for each image, in order; one that cannot be scored is a row with its status.

        Raises:
            PscrError: inference itself fails.
        """
        with self._named():
            wanted = self._settings
            results = in_order(self._scorer, iter(items), wanted.batch, wanted.diagnose)
            return [as_row(result, wanted.diagnose) for result in results]

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Exception as problem:
            error = as_error(problem)
            raise PscrError(error.status, f"{self._name}: {error.message}") from problem


def as_row(result: Result, diagnosed: bool = False) -> Row:
    """A result under the names of `fields.columns`, as Parquet can hold it."""
    row = record(result, diagnosed)
    return {**row, "path": as_text(row["path"]), "message": as_text(row["message"])}
