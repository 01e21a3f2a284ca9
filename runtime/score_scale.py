"""What a score means: the scale of what votes, which rank, report, map, serve and info follow."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ScoreScale:
    """Opinion scores of `database` within `range` (lowest, highest), and which end of it is good.

    meaning: what people judged, in words, such as "mean opinion score (quality)".
    """

    meaning: str
    database: str
    range: tuple[float, float]
    higher_is_better: bool = True

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1: `sign * score` is larger for the better image."""
        return 1 if self.higher_is_better else -1

    @property
    def length(self) -> float:
        """Of the range, in score units."""
        return self.range[1] - self.range[0]

    def stars(self, score: float) -> int:
        """A score in five equal parts of the range, from 1 for the worst to 5 for the best; beyond it, the nearest."""
        low, high = self.range
        good = (score - low if self.higher_is_better else high - score) / (high - low)
        return min(max(1 + math.floor(5 * good), 1), 5)

    def __str__(self) -> str:
        """How to read a score, such as `agiqa3k, 0 to 4.5, higher is better`."""
        low, high = self.range
        return f"{self.database}, {low:g} to {high:g}, {'higher' if self.higher_is_better else 'lower'} is better"

    def to_dict(self) -> dict[str, Any]:
        """The `score` entry of a manifest or of a bank."""
        return {**asdict(self), "range": list(self.range)}

    @classmethod
    def from_dict(cls, entry: Any) -> ScoreScale:
        """Read the `score` entry.

        Raises:
            ValueError, TypeError, KeyError, OverflowError: it is not one; a bound or what lies between them is not
                finite, or they do not rise.
        """
        low, high = (float(bound + 0) for bound in entry["range"])
        if not (low < high and math.isfinite(high - low)):
            raise ValueError(f"range {low} to {high}")
        words, higher = (entry["meaning"], entry["database"]), entry["higher_is_better"]
        if not (isinstance(words[0], str) and isinstance(words[1], str) and isinstance(higher, bool)):
            raise TypeError("meaning and database are text, higher_is_better is true or false")
        return cls(*words, (low, high), higher)
