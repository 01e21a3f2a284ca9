"""A summary of results by the cells of one column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..console import columns

_MOST = 10_000  # groups that are told apart
_MOST_SHOWN = 50
_LONGEST = 60  # characters of a group's name
_OTHERS = "(others)"
_NONE = "(none)"


@dataclass
class _Group:
    """Count, sum and range of the scores of one group. failed: how many of its images have none."""

    count: int = 0
    failed: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan

    def add(self, score: float) -> None:
        if math.isnan(score):
            self.failed += 1
            return
        self.count += 1
        self.total += score
        self.low, self.high = min(self.low, score), max(self.high, score)


class Groups:
    """Number, mean and range of the scores for each value of a column. sign: 1 where higher is better, else -1."""

    def __init__(self, column: str, sign: int = 1) -> None:
        self._column, self._sign = column, sign
        self._groups: dict[str, _Group] = {}

    def add(self, cell: Any, score: float) -> None:
        """One more result; a score of NaN for an image without one."""
        name = _NONE if cell in (None, "") else str(cell)[:_LONGEST]
        if name not in self._groups and len(self._groups) >= _MOST:
            name = _OTHERS
        self._groups.setdefault(name, _Group()).add(score)

    def lines(self) -> list[str]:
        """A table in words, the best mean first; groups without any score stand last."""
        ordered = sorted(self._groups.items(), key=lambda one: -self._sign * one[1].mean if one[1].count else math.inf)
        rows: list[tuple[str, ...]] = [(f"by {self._column}", "n", "mean", "low", "high", "failed")]
        for name, group in ordered[:_MOST_SHOWN]:
            numbers = (group.mean, group.low, group.high) if group.count else ()
            cells = [f"{number:.3f}" for number in numbers] or ["-"] * 3
            rows.append((name, str(group.count), *cells, str(group.failed)))
        found = columns(rows, frozenset(range(1, 6)))
        if len(ordered) > _MOST_SHOWN:
            found.append(f"and {len(ordered) - _MOST_SHOWN} more groups")
        return found
