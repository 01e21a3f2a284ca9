"""The fields of a result, written down once: the columns of csv and Parquet, the keys of jsonl and of the service."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from ..runtime.diagnosis import Diagnosis
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
DIAGNOSIS = (
    Field("kind", str, "what the image looks like: a group of distortions, or clean", lambda result: _seen(result)[0]),
    Field("degree", float, "how much people would be disturbed, 1 to 5", lambda result: _seen(result)[1]),
    Field("probability", float, "of the kind, by the classifier", lambda result: _seen(result)[2]),
)
COLUMNS = tuple(field.name for field in FIELDS)
DIAGNOSED_COLUMNS = (*COLUMNS, *(field.name for field in DIAGNOSIS))


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

    beside: names of the former in their order, each with its Arrow type, or None for text. diagnosed: whether the
    results have a diagnosis.
    """

    beside: Mapping[str, Any] = field(default_factory=dict)
    diagnosed: bool = False

    @cached_property
    def own(self) -> dict[str, str]:
        """What each of `fields` is called: its name, with `pscr_` before it where the table has a column of that."""
        return free_names(columns(self.diagnosed), self.beside, "pscr_")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the output."""
        return (*self.beside, *self.own.values())

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Columns:
        """Those of an output, by the names of all its columns.

        Raises:
            ValueError: it is none of `pscr score`.
        """
        for diagnosed in (True, False):
            found = cls(dict.fromkeys(names[: -len(columns(diagnosed))]), diagnosed)
            if found.names == tuple(names):
                return found
        raise ValueError(f"columns {', '.join(names)}")

    def results(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What a row of the output says of its result, under the names of `fields`.

        Raises:
            KeyError: it has not the columns.
        """
        return {name: row[called] for name, called in self.own.items()}

    def record(self, result: Result, cells: Mapping[str, Any]) -> dict[str, Any]:
        """One row of the output; what the row's `cells` lack is None."""
        values = record(result, self.diagnosed)
        return {name: cells.get(name) for name in self.beside} | {
            self.own[name]: value for name, value in values.items()
        }


PLAIN = Columns()
NO_CELLS: Mapping[str, Any] = MappingProxyType({})


def fields(diagnosed: bool) -> tuple[Field, ...]:
    """The fields of every result, and where images are diagnosed those of the diagnosis."""
    return (*FIELDS, *DIAGNOSIS) if diagnosed else FIELDS


def columns(diagnosed: bool) -> tuple[str, ...]:
    """Their names."""
    return DIAGNOSED_COLUMNS if diagnosed else COLUMNS


def record(result: Result, diagnosed: bool = False) -> dict[str, Any]:
    """A result under the names of `columns`; None where there is no such number."""
    return {field.name: field.of(result) for field in fields(diagnosed)}


def result_of(entry: Mapping[str, Any]) -> Result:
    """The result of a record, or of the cells of a row: to the six decimals that are written, and of a diagnosis its
    kind alone, with degree and probability.

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
    score = math.nan if score is None else score
    return Result(score, spread, width, height, status, *text, interval, _diagnosis_of(entry))


class ResultRow(NamedTuple):
    """A row that was read back: its result, and the cells that were asked for, by column."""

    result: Result
    cells: Mapping[str, Any]

    @classmethod
    def of(cls, entry: Mapping[str, Any], row: Mapping[str, Any], wanted: Collection[str]) -> ResultRow:
        """entry: as `result_of` has it, which see for the errors. row: all cells under the names of the file."""
        return cls(result_of(entry), {name: row[name] for name in wanted if name in row})


def _bound(result: Result, end: int) -> float | None:
    return None if result.interval is None else _number(result.interval[end])


def _seen(result: Result) -> tuple[str, float | None, float | None]:
    found = result.diagnosis
    return ("", None, None) if found is None else (found.kind, _number(found.degree), _number(found.probability))


def _diagnosis_of(entry: Mapping[str, Any]) -> Diagnosis | None:
    if not entry.get("kind"):
        return None
    degree, probability = _read(entry["degree"]), _read(entry["probability"])
    if degree is None or probability is None:
        raise ValueError("a row with a kind has a degree and a probability")
    return Diagnosis(str(entry["kind"]), probability, degree)


def _read(value: Any) -> float | None:
    number = None if value in (None, "") else float(value)
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{value} is no number")
    return number
