"""The fields of a result, written down once: the columns of csv and Parquet, the keys of jsonl and of the service."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from ..runtime.errors import Status
from ..runtime.scorer import Result


@dataclass(frozen=True)
class Field:
    """One field. kind: str, float or int; a number is None where there is none. of: takes it from a result."""

    name: str
    kind: type
    about: str
    of: Callable[[Result], Any]


def _number(value: float | None) -> float | None:
    """Six decimals: below float32's own steps for any opinion scale, so nothing is lost and files compare."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


FIELDS = (
    Field("path", str, "the image", lambda result: "" if result.path is None else str(result.path)),
    Field("score", float, "opinion score; none where the image has none", lambda result: _number(result.score)),
    Field("spread", float, "standard deviation of the votes", lambda result: _number(result.spread)),
    Field("width", int, "pixels, of the upright image", lambda result: result.width or None),
    Field("height", int, "pixels, of the upright image", lambda result: result.height or None),
    Field("status", str, "OK, or the name of a Status", lambda result: Status(result.status).name),
    Field("message", str, "why there is no score, or a remark", lambda result: result.message or ""),
    Field("low", float, "holds 90 % of opinion scores, from", lambda result: _bound(result, 0)),
    Field("high", float, "holds 90 % of opinion scores, to", lambda result: _bound(result, 1)),
)
COLUMNS = tuple(field.name for field in FIELDS)


def free_names(names: Iterable[str], taken: Container[str], prefix: str) -> dict[str, str]:
    """What each name is called where some are taken: itself, or itself behind as many prefixes as it needs."""
    found: dict[str, str] = {}
    for one in names:
        name = one
        while name in taken or name in found.values():
            name = prefix + name
        found[one] = name
    return found


@dataclass(frozen=True)
class Columns:
    """The columns of an output: those of a table that stand beside the results, then the results' own.

    beside: names of the former in their order, each with its Arrow type, or None for text.
    """

    beside: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def own(self) -> dict[str, str]:
        """What each of `FIELDS` is called: its name, with `pscr_` before it where the table has a column of that."""
        return free_names(COLUMNS, self.beside, "pscr_")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the output."""
        return (*self.beside, *self.own.values())

    def record(self, result: Result, cells: Mapping[str, Any]) -> dict[str, Any]:
        """One row of the output; what the row's `cells` lack is None."""
        values = record(result)
        return {name: cells.get(name) for name in self.beside} | {self.own[name]: values[name] for name in COLUMNS}

    def results(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What a row of the output says of its result, under the names of `FIELDS`.

        Raises:
            KeyError: it has not the columns.
        """
        return {name: row[called] for name, called in self.own.items()}


PLAIN = Columns()
NO_CELLS: Mapping[str, Any] = MappingProxyType({})


def record(result: Result) -> dict[str, Any]:
    """A result under the names of `COLUMNS`; None where there is no such number."""
    return {field.name: field.of(result) for field in FIELDS}


def result_of(entry: Mapping[str, Any]) -> Result:
    """The result of a record, or of the cells of a row: to the six decimals that are written.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    score, spread, low, high = (_read(entry[key]) for key in ("score", "spread", "low", "high"))
    width, height = (int(entry[key] or 0) for key in ("width", "height"))
    status = Status[entry["status"]]
    if (status is Status.OK) != (score is not None) or (low is None) != (high is None):
        raise ValueError("a row has a score where its status is OK, and both ends of an interval or none")
    interval = None if low is None or high is None else (low, high)
    text = str(entry["message"]), str(entry["path"])
    return Result(math.nan if score is None else score, spread, width, height, status, *text, interval)


def _bound(result: Result, end: int) -> float | None:
    return None if result.interval is None else _number(result.interval[end])


def _read(value: Any) -> float | None:
    number = None if value in (None, "") else float(value)
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{value} is no number")
    return number
