"""Whether one set of images is better than another: the words and figures of `pscr compare`, from `statistics`.

All figures are the second set minus the first, in score units. Paired, only images whose key stands in both sets count,
and keys are drawn with all their images; else images are drawn by themselves. The intervals hold with 95 % each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .statistics import LEVEL, Interval, compare

_FIRST, _SECOND = "before", "after"


class Verdict(Enum):
    """What the interval of the difference says of the second set."""

    BETTER = "better"
    WORSE = "worse"
    NONE = "no difference"
    TOO_FEW = "too few"


@dataclass(frozen=True)
class Scored:
    """One image with a score. key: by which it is paired; nothing where it has none. group: what it is counted with."""

    score: float
    key: str = ""
    group: str = ""


@dataclass(frozen=True)
class Change:
    """How the second set compares with the first.

    counts: images of each that count. means: of these. difference: second minus first; of paired sets the mean over
    their pairs. beats: the probability that an image drawn from the second is better than one drawn from the first.
    pairs: keys in both; None for sets that are not paired. left_out: images without their counterpart.
    """

    counts: tuple[int, int]
    means: tuple[float, float]
    difference: Interval
    beats: Interval
    verdict: Verdict
    pairs: int | None = None
    left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; None where there is no such number."""
        return {
            **{
                name: {"count": count, "mean": _json(mean)}
                for name, count, mean in zip((_FIRST, _SECOND), self.counts, self.means, strict=True)
            },
            "difference": {name: _json(value) for name, value in self.difference._asdict().items()},
            "probability_better": {name: _json(value) for name, value in self.beats._asdict().items()},
            "level": LEVEL,
            "pairs": self.pairs,
            "left_out": self.left_out,
            "verdict": self.verdict.value,
        }


def change(
    before: Sequence[Scored],
    after: Sequence[Scored],
    *,
    paired: bool = False,
    higher_is_better: bool = True,
    margin: float = 0.0,
) -> Change:
    """Compare two sets.

    paired: by their keys. margin: score units, from 0; the second is worse, or better, where it is by more than that.
    """
    sets = [list(before), list(after)]
    there = len(before) + len(after)
    pairs = None
    if paired:
        shared = {one.key for one in before if one.key} & {one.key for one in after}
        sets = [[one for one in some if one.key in shared] for some in sets]
        pairs = len(shared)
    counts = len(sets[0]), len(sets[1])
    if not all(counts):
        nothing = Interval(math.nan)
        return Change(counts, (math.nan, math.nan), nothing, nothing, Verdict.TOO_FEW, pairs, there - sum(counts))
    images = [one for some in sets for one in some]
    found = compare(
        [one.score for one in images],
        [_FIRST] * counts[0] + [_SECOND] * counts[1],
        [one.key for one in images] if paired else range(len(images)),
        higher_is_better=higher_is_better,
    )
    (duel,) = found.pairs
    difference, beats = duel.paired if paired and duel.shared > 1 else duel.difference, duel.beats
    if duel.first == _FIRST:
        difference = _turned(difference, 0.0)
        beats = _turned(beats, 1.0)
    means = {group.name: group.mean.value for group in found.groups}
    verdict = _verdict(difference if higher_is_better else _turned(difference, 0.0), margin)
    return Change(counts, (means[_FIRST], means[_SECOND]), difference, beats, verdict, pairs, there - sum(counts))


def by_group(before: Sequence[Scored], after: Sequence[Scored], **how: Any) -> dict[str, Change]:
    """`change` for each group of either set, by their names; images without a group are called so."""
    names = sorted({one.group for one in (*before, *after)})
    return {
        name or "(none)": change(*([one for one in some if one.group == name] for some in (before, after)), **how)
        for name in names
    }


def _turned(interval: Interval, total: float) -> Interval:
    """The interval of `total` minus the figure."""
    return Interval(total - interval.value, total - interval.high, total - interval.low)


def _verdict(gain: Interval, margin: float) -> Verdict:
    """gain: the difference, larger where the second set is better."""
    if not math.isfinite(gain.low):
        return Verdict.TOO_FEW
    if gain.high < -margin:
        return Verdict.WORSE
    return Verdict.BETTER if gain.low > margin else Verdict.NONE


def _json(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
