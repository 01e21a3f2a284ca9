"""What spread and score differences are worth, measured on images whose opinion scores are known.

The spread of the votes is no error bar by itself: the exemplars share one network and err together. What it stands for
is measured: split conformal prediction (Lei et al., "Distribution-free predictive inference for regression", JASA 2018,
section 2.2) with the absolute error as its score, divided by the spread, or as it is: a constant width. For images of
the same kind the interval then holds an opinion score as often as its level says, whatever the errors' distribution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import PscrError, Status

Floats = NDArray[np.float64]
LEVELS = (0.5, 0.8, 0.9, 0.95)
BY = ("spread", "constant")
FEWEST = 20  # images; 19 are the fewest for which a 95 % interval exists at all
_HALVES = 200
_MOST_PAIRS = 20_000


@dataclass(frozen=True)
class Calibration:
    """One factor for each level, of the spread or of a constant width, and how sure an order of two scores is.

    levels: shares of opinion scores, ascending, in (0, 1).
    factors: score ± factor * spread holds that share; with `by` "constant" score ± factor does.
    coverage: the share that it held where one half of the images set the factor and the other counted; the mean
        over 200 random halves.
    pair_deviation: people order two images as their scores do with probability Phi(|difference| / pair_deviation);
        in score units.
    spread_correlation: rank correlation of spread and absolute error. Near zero, the spread does not tell which image
        is uncertain, and the interval has nearly the same width for all. None where there is no spread.
    images: how many were measured. protocol: which, in words.
    by: "spread" or "constant".
    """

    levels: tuple[float, ...]
    factors: tuple[float, ...]
    coverage: tuple[float, ...]
    pair_deviation: float
    spread_correlation: float | None
    images: int
    protocol: str
    by: str = "spread"

    def factor(self, level: float) -> float:
        """The factor of a level.

        Raises:
            PscrError: INVALID_ARGUMENT for a level that was not measured.
        """
        if level not in self.levels:
            known = ", ".join(map(str, self.levels))
            raise PscrError(Status.INVALID_ARGUMENT, f"level is {level!r}; expected one of {known}")
        return self.factors[self.levels.index(level)]

    def interval(self, score: float, spread: float | None, level: float = 0.9) -> tuple[float, float] | None:
        """Lowest and highest opinion score that people would give, with probability `level`. Errors as `factor`.

        None where the width goes by the spread and this score has none.
        """
        half = self.factor(level)
        if self.by == "spread":
            if spread is None:
                return None
            half *= spread
        return score - half, score + half

    def agreement(self, difference: float) -> float:
        """The probability, 0.5 to 1, that people order two images as their scores do, which differ by `difference`."""
        return _normal(abs(difference) / self.pair_deviation)

    def in_words(self, level: float = 0.9) -> str:
        """Such as `score ± 1.91 x spread holds 90 % of opinion scores (90.1 % measured; 477 images: held out)`."""
        place = self.levels.index(level)
        share = f"{level:.0%} of opinion scores".replace("%", " %")
        measured = f"{100 * self.coverage[place]:.1f} % measured; {self.images} images, {self.protocol}"
        return f"score ± {self.width_in_words(place)} holds {share} ({measured})"

    def width_in_words(self, place: int) -> str:
        """Half the interval of the level at a place of `levels`: `1.91 x spread`, or a constant such as `0.62`."""
        return f"{self.factors[place]:.2f} x spread" if self.by == "spread" else f"{self.factors[place]:.3g}"

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `calibration` entry."""
        entry = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in entry.items() if key != "by" or value != "spread"}

    @classmethod
    def stated(cls, about: Mapping[str, Any], origin: str) -> Calibration | None:
        """Read the same entry of what a bank or a regressor says about itself; None where it says nothing.

        Raises:
            PscrError: as `from_dict`.
        """
        entry = about.get("calibration")
        return None if entry is None else cls.from_dict(entry, origin)

    @classmethod
    def from_dict(cls, entry: Any, origin: str) -> Calibration:
        """Read the manifest's `calibration` entry.

        Raises:
            PscrError: MODEL_INVALID where it is not one; the message names `origin`.
        """
        try:
            levels, factors, coverage = (
                tuple(float(value) for value in entry[key]) for key in ("levels", "factors", "coverage")
            )
            deviation, by = float(entry["pair_deviation"]), entry.get("by", "spread")
            told = entry["spread_correlation"]
            spread_correlation = None if told is None else float(told)
            images, protocol = int(entry["images"]), str(entry["protocol"])
            found = cls(levels, factors, coverage, deviation, spread_correlation, images, protocol, by)
            sizes = {len(levels), len(factors), len(coverage)}
            ascending = list(found.levels) == sorted(set(found.levels))
            shares = all(0 < level < 1 for level in found.levels) and all(0 <= share <= 1 for share in found.coverage)
            positive = all(0 < factor < math.inf for factor in (*found.factors, found.pair_deviation))
            known = spread_correlation is not None or by == "constant"
            sane = images > 0 and by in BY and known and math.isfinite(spread_correlation or 0.0)
            if len(sizes) != 1 or 0.9 not in found.levels or not (ascending and shares and positive and sane):
                raise ValueError("levels, factors and coverage do not go together")
            return found
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise PscrError(
                Status.MODEL_INVALID, f"{origin}: 'calibration' is not usable ({error!r}); calibrate the model again"
            ) from error


def measure(
    scores: ArrayLike,
    spreads: ArrayLike | None,
    opinions: ArrayLike,
    protocol: str,
    seed: int = 0,
    *,
    by: str | None = None,
) -> Calibration:
    """Calibrate on images that did not train the model.

    scores, spreads, opinions: [N] each, in the same units, N at least 20; spreads above 0, or None where there are
        none.
    protocol: which images these are, in words; goes into the result.
    seed: of the halves that coverage is measured with, and of the pairs, where there are more than 20,000.
    by: "spread", intervals as wide as the spread says, or "constant", the same width for all; None for the first where
        there are spreads.

    Raises:
        PscrError: INVALID_ARGUMENT for fewer images, other shapes, or numbers that cannot be used.
    """
    by = by or ("constant" if spreads is None else "spread")
    if by not in BY or (by == "spread" and spreads is None):
        found = "this model has no spread" if spreads is None else f"by is {by!r}"
        raise PscrError(
            Status.INVALID_ARGUMENT, f"{found}; expected calibration by spread, where there is one, or constant"
        )
    score, opinion = (np.asarray(values, np.float64) for values in (scores, opinions))
    spread = np.ones_like(score) if spreads is None else np.asarray(spreads, np.float64)
    if score.ndim != 1 or not score.shape == spread.shape == opinion.shape or len(score) < FEWEST:
        found = f"{score.shape} scores, {spread.shape} spreads and {opinion.shape} opinions"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected three rows of the same length, {FEWEST} or more")
    if not (np.isfinite([score, spread, opinion]).all() and (spread > 0).all() and np.ptp(opinion) > 0):
        found = "scores, spreads and opinions are finite, spreads above 0, opinions not all the same"
        raise PscrError(Status.INVALID_ARGUMENT, f"calibration expects that {found}")
    errors = np.abs(opinion - score)
    width = spread if by == "spread" else np.ones_like(score)
    return Calibration(
        LEVELS,
        tuple(round(_quantile(errors / width, level), 4) for level in LEVELS),
        tuple(round(share, 4) for share in reliability(score, width, opinion, LEVELS, seed)),
        round(_pair_deviation(score, opinion, np.random.default_rng(seed)), 4),
        None if spreads is None else round(correlation(ranks(spread), ranks(errors)), 4),
        len(score),
        protocol,
        by,
    )


def reliability(
    scores: ArrayLike, widths: ArrayLike, opinions: ArrayLike, levels: Sequence[float], seed: int = 0
) -> list[float]:
    """The share of opinions that the interval of each level holds, one half of the images setting it for the other.

    widths: [N], what a factor is multiplied with: the spreads, or ones.
    """
    ratio = np.abs(np.asarray(opinions, np.float64) - np.asarray(scores)) / np.asarray(widths)
    rng = np.random.default_rng(seed)
    held = []
    for _ in range(_HALVES):
        order = rng.permutation(len(ratio))
        first, second = ratio[order[: len(ratio) // 2]], ratio[order[len(ratio) // 2 :]]
        held.append([(second <= _quantile(first, level)).mean() for level in levels])
    return [float(share) for share in np.mean(held, 0)]


def ranks(values: ArrayLike) -> Floats:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts - 1) / 2)[place]
    return shared


def correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's correlation of two rows; 0 where either is constant."""
    a, b = (np.asarray(values, np.float64) for values in (x, y))
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size else 0.0


def _quantile(ratio: Floats, level: float) -> float:
    """The conformal quantile: the ceil((n + 1) * level)-th smallest, or the largest where that is beyond the last."""
    place = min(math.ceil((len(ratio) + 1) * level), len(ratio))
    return float(np.sort(ratio)[place - 1])


def _pair_deviation(score: Floats, opinion: Floats, rng: np.random.Generator) -> float:
    """The deviation under which the pairs' observed orders are likeliest (a probit model), by golden-section search."""
    starts = np.concatenate([[0], np.cumsum(np.arange(len(score) - 1, 0, -1))])  # of each image's pairs with later ones
    count = int(starts[-1])
    chosen = np.arange(count) if count <= _MOST_PAIRS else rng.choice(count, _MOST_PAIRS, replace=False, shuffle=False)
    first = np.searchsorted(starts, chosen, "right") - 1
    second = first + 1 + chosen - starts[first]
    people = np.sign(opinion[first] - opinion[second])
    agreeing = ((score[first] - score[second]) * people)[people != 0]

    def cost(log_deviation: float) -> float:
        deviation = math.exp(log_deviation)
        return -sum(math.log(max(_normal(difference / deviation), 1e-12)) for difference in agreeing.tolist())

    unit = math.log(max(float(np.std(score - opinion)), 1e-9))
    low, high, golden = unit - 4, unit + 4, (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    cost_left, cost_right = cost(left), cost(right)
    while high - low > 1e-3:
        if cost_left < cost_right:
            high, right, cost_right = right, left, cost_left
            left = high - golden * (high - low)
            cost_left = cost(left)
        else:
            low, left, cost_left = left, right, cost_right
            right = low + golden * (high - low)
            cost_right = cost(right)
    return math.exp((low + high) / 2)


def _normal(x: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-x / math.sqrt(2))
