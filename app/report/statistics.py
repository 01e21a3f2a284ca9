"""Means of groups of scores, how two groups compare, and how sure that is: a bootstrap over what is independent.

Images of one prompt resemble each other, also across generators, so where prompts are known they are drawn, with all
their images, and every group sees the same draw (cluster bootstrap: Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 3.8). Groups that share no prompt are drawn apart. The intervals say how much a figure would
change with other images or prompts of the same kind, not how far the model is from people.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
LEVEL = 0.95
RESAMPLES = 2000
SEED = 0
FEW = 20  # independent images or prompts, below which a percentile interval is clearly too narrow
_CHUNK = 1 << 22  # weights that are held at once
_NOTHING = math.nan
_NORMAL = NormalDist()


class Interval(NamedTuple):
    """A figure with the bounds of its interval; NaN where there is none."""

    value: float
    low: float = _NOTHING
    high: float = _NOTHING


@dataclass(frozen=True)
class Group:
    """The scores of one group, in score units.

    count: images with a score. units: independent prompts or images among them. mean: with its 95 % interval, by
    itself. deviation: sample standard deviation, NaN for one image.
    """

    name: str
    count: int
    units: int
    mean: Interval
    median: float
    deviation: float


@dataclass(frozen=True)
class Pair:
    """Two groups by their names, the one with the better mean first.

    difference: of the means, first minus second. paired: mean difference over the prompts that both have, NaN where
    they share fewer than two. Both intervals hold for all pairs of the comparison together with 95 %.
    beats: the probability that an image drawn from the first scores better than one drawn from the second, a tie
    counting one half: the area under the ROC curve, Mann-Whitney's U / (n m). Its 95 % interval holds by itself.
    shared: prompts in both. won: in how many of them the first has the better mean, a tie counting one half.
    """

    first: str
    second: str
    difference: Interval
    beats: Interval
    shared: int
    won: float
    paired: Interval

    @property
    def clear(self) -> bool:
        """Whether zero lies outside the interval of the paired difference, or where there is none, of the other."""
        best = self.paired if math.isfinite(self.paired.low) else self.difference
        return best.low > 0 or best.high < 0


@dataclass(frozen=True)
class Comparison:
    """All groups, the best mean first, and all pairs of them in that order."""

    groups: list[Group]
    pairs: list[Pair]


def compare(
    scores: Sequence[float],
    groups: Sequence[str],
    units: Sequence[Hashable],
    *,
    higher_is_better: bool = True,
    pairs: bool = True,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare groups of scores.

    scores [N]: finite. groups [N]: the group of each image. units [N]: what is drawn, such as its prompt; images with
    equal ones are drawn together. pairs: False leaves the pairs out.

    Raises:
        ValueError: no scores, rows of different lengths, or a score that is not finite.
    """
    values = np.asarray(scores, np.float64)
    if not len(values) or not len(values) == len(groups) == len(units) or not np.isfinite(values).all():
        raise ValueError(f"found {len(values)} scores, {len(groups)} groups, {len(units)} units; expected as many each")
    sign = 1 if higher_is_better else -1
    by_name: dict[str, list[int]] = {}
    for place, name in enumerate(groups):
        by_name.setdefault(name, []).append(place)
    names = sorted(by_name, key=lambda name: -sign * values[by_name[name]].mean())
    places = [np.array(by_name[name], np.intp) for name in names]
    numbers: dict[Hashable, int] = {}
    unit = np.array([numbers.setdefault(one, len(numbers)) for one in units], np.intp)
    wanted = list(combinations(range(len(names)), 2)) if pairs else []
    duels = [_Duel(sign * values, values, unit, places[i], places[j]) for i, j in wanted]
    means, beats, paired = _replicates(values, unit, places, duels, resamples)
    counts = [len(np.unique(unit[place])) for place in places]
    found = [
        Group(
            name,
            len(place),
            count,
            _percentiles(float(values[place].mean()), means[:, i], count),
            float(np.median(values[place])),
            float(values[place].std(ddof=1)) if len(place) > 1 else _NOTHING,
        )
        for i, (name, place, count) in enumerate(zip(names, places, counts, strict=True))
    ]
    fewest = [min(counts[i], counts[j]) for i, j in wanted]
    apart = np.array([found[i].mean.value - found[j].mean.value for i, j in wanted])
    drawn = np.stack([means[:, i] - means[:, j] for i, j in wanted], 1) if wanted else np.empty((resamples, 0))
    differences = _together(apart, drawn, fewest)
    matched = _together(np.array([duel.paired for duel in duels]), paired, [duel.shared for duel in duels])
    rows = [
        Pair(
            names[i],
            names[j],
            differences[number],
            _probability(duel.beats, beats[:, number], fewest[number]),
            duel.shared,
            duel.won,
            matched[number],
        )
        for number, ((i, j), duel) in enumerate(zip(wanted, duels, strict=True))
    ]
    return Comparison(found, rows)


class _Duel:
    """What of two groups does not change from draw to draw."""

    def __init__(self, better: Floats, values: Floats, unit: Ints, first: Ints, second: Ints) -> None:
        self.first = first
        self.second = second[np.argsort(better[second], kind="stable")]
        ordered = better[self.second]
        self._below = np.searchsorted(ordered, better[first], "left")
        self._upto = np.searchsorted(ordered, better[first], "right")
        self.shared_units = np.intersect1d(unit[first], unit[second])
        ahead, ahead_better = (
            _unit_means(row, unit, first, self.shared_units) - _unit_means(row, unit, second, self.shared_units)
            for row in (values, better)
        )
        self.shared = len(self.shared_units)
        self.by_unit = ahead
        self.paired = float(ahead.mean()) if self.shared > 1 else _NOTHING
        self.won = float((ahead_better > 0).sum() + 0.5 * (ahead_better == 0).sum())
        self.beats = float(self.share(np.ones((1, len(better))))[0])

    def share(self, weights: Floats) -> Floats:
        """The share of pairs that the first wins, for weights [R,N] of all images; NaN where a group has none."""
        mine, others = weights[:, self.first], weights[:, self.second]
        passed = np.concatenate([np.zeros((len(others), 1)), np.cumsum(others, 1)], 1)
        won = np.einsum("rn,rn->r", mine, (passed[:, self._below] + passed[:, self._upto]) / 2)
        with np.errstate(invalid="ignore"):
            share: Floats = won / (mine.sum(1) * passed[:, -1])
        return share


def _replicates(
    values: Floats, unit: Ints, places: list[Ints], duels: list[_Duel], resamples: int
) -> tuple[Floats, Floats, Floats]:
    """Means [R,G], winning shares [R,P] and paired differences [R,P] of the drawn images."""
    means, beats, paired = (np.full((resamples, size), _NOTHING) for size in (len(places), len(duels), len(duels)))
    done = 0
    with np.errstate(invalid="ignore"):
        for counts in _draws(unit, places, resamples):
            weights = counts[:, unit]
            rows = slice(done, done := done + len(counts))
            for i, place in enumerate(places):
                means[rows, i] = weights[:, place] @ values[place] / weights[:, place].sum(1)
            for i, duel in enumerate(duels):
                beats[rows, i] = duel.share(weights)
                if duel.shared > 1:
                    shared = counts[:, duel.shared_units]
                    paired[rows, i] = shared @ duel.by_unit / shared.sum(1)
    return means, beats, paired


def _draws(unit: Ints, places: list[Ints], resamples: int) -> Iterator[Floats]:
    """How often each unit is drawn, [R,U] in parts; groups that are linked by common units are drawn from together."""
    rng = np.random.default_rng(SEED)
    pools: list[set[int]] = []
    for place in places:
        merged = set(unit[place].tolist())
        apart = []
        for pool in pools:
            if pool & merged:
                merged |= pool
            else:
                apart.append(pool)
        pools = [*apart, merged]
    size = int(unit.max()) + 1
    step = max(1, _CHUNK // len(unit))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        counts = np.zeros((rows, size))
        for pool in pools:
            members = np.array(sorted(pool))
            counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), rows)
        yield counts


def _widening(units: int) -> float:
    """By how much an interval of draws from few units has to be wider than the draws say; 1 for many.

    Draws scatter by sqrt((n - 1) / n) too little, and the normal quantile stands for Student's: the expanded percentile
    interval (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 3.2). Student's quantile is
    its expansion in 1 / (n - 1) (Abramowitz and Stegun 26.7.5), good to a hundredth from five units on.
    """
    z, n = _NORMAL.inv_cdf((1 + LEVEL) / 2), units - 1
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    student = sum(term / n**power for power, term in enumerate(terms))
    return math.sqrt(units / n) * student / z


def _percentiles(value: float, drawn: Floats, units: int) -> Interval:
    """The percentile interval of one figure by itself."""
    drawn = drawn[np.isfinite(drawn)]
    if units < 2 or not len(drawn):
        return Interval(value)
    tail = _NORMAL.cdf(-_widening(units) * _NORMAL.inv_cdf((1 + LEVEL) / 2))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def _probability(value: float, drawn: Floats, units: int) -> Interval:
    """As `_percentiles`; where no pair went the other way, no draw can either, and an exact bound takes its place.

    Of `units` pairs that have nothing in common all went one way: the binomial bound for that (Clopper and Pearson).
    """
    found = _percentiles(value, drawn, units)
    if not math.isfinite(found.low) or 0 < value < 1:
        return found
    bound = ((1 - LEVEL) / 2) ** (1 / units)
    return Interval(value, bound, 1.0) if value == 1 else Interval(value, 0.0, 1 - bound)


def _together(figures: Floats, drawn: Floats, units: list[int]) -> list[Interval]:
    """Intervals of several figures [P] that hold together with 95 %: each ± c standard errors, one c for all.

    c is the quantile of the largest studentised deviation over the figures (max-t: Westfall and Young,
    "Resampling-based Multiple Testing", 1993). drawn: [R,P]. A figure of fewer than two units has none.
    """
    found = [Interval(float(figure)) for figure in figures]
    usable = [i for i, figure in enumerate(figures) if units[i] > 1 and np.isfinite(figure)]
    if not usable:
        return found
    part = drawn[:, usable]
    part = part[np.isfinite(part).all(1)]
    if len(part) < 2:
        return found
    error = part.std(0, ddof=1)
    varies = error > 1e-12
    largest = np.abs(part - figures[usable])[:, varies] / error[varies]
    factor = float(np.quantile(largest.max(1), LEVEL)) if varies.any() else 0.0
    for i, one in zip(usable, error, strict=True):
        value, half = float(figures[i]), factor * float(one) * _widening(units[i])
        found[i] = Interval(value, value - half, value + half)
    return found


def _unit_means(values: Floats, unit: Ints, place: Ints, chosen: Ints) -> Floats:
    """The mean of a group's values in each of the chosen units."""
    size = int(unit.max()) + 1
    sums = np.bincount(unit[place], values[place], size)
    counts = np.bincount(unit[place], minlength=size)
    means: Floats = sums[chosen] / counts[chosen]
    return means
