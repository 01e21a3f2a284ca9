"""How well predicted scores agree with people: the figures that the field reports, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ..runtime.errors import PscrError, Status
from .logistic import Floats, Logistic, fit_logistic, pair, refit

__all__ = [
    "MEASURES",
    "Difference",
    "Logistic",
    "Within",
    "agreement",
    "agreement_fitted",
    "fit_logistic",
    "intervals",
    "paired",
    "within_groups",
]

MEASURES = ("srcc", "krcc", "plcc", "plcc_fitted", "rmse", "rmse_fitted")
MANY_GROUPS = 20  # from here on whole groups are drawn, not images within them
_FITTED = ("plcc_fitted", "rmse_fitted")
_CHUNK = 1 << 20  # numbers that the bootstrap holds at once, a dozen times


@dataclass(frozen=True)
class Difference:
    """By how much a measure is larger for one than for the other, and the interval of that."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Within:
    """A mean of rank correlations within groups, its interval, and how many groups and images it is of."""

    value: float
    low: float
    high: float
    groups: int
    images: int


def agreement(predicted: ArrayLike, opinion: ArrayLike) -> dict[str, float]:
    """SRCC, KRCC (tau-b), PLCC (raw, without a fitted curve) and RMSE of predictions [N] against opinion scores [N].

    The correlations are NaN where all predictions, or all opinions, are equal.

    Raises:
        PscrError: INVALID_ARGUMENT for fewer than two, for different numbers of them, or one that is not finite.
    """
    x, y = pair(predicted, opinion)
    return {name: _ONE[name](x, y) for name in ("srcc", "krcc", "plcc", "rmse")}


def agreement_fitted(predicted: ArrayLike, opinion: ArrayLike) -> dict[str, float]:
    """PLCC and RMSE of predictions [N] that were first put through their own `fit_logistic`: plcc_fitted, rmse_fitted.

    Both are NaN where there is no fit. Raises as `agreement`.
    """
    x, y = pair(predicted, opinion)
    curve = fit_logistic(x, y)
    if curve is None:
        return {"plcc_fitted": math.nan, "rmse_fitted": math.nan}
    return {"plcc_fitted": _plcc(curve(x), y), "rmse_fitted": _rmse(curve(x), y)}


def intervals(
    predicted: ArrayLike,
    opinion: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    measures: Sequence[str] = MEASURES,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap intervals of `measures`, (lowest, highest) each: images are drawn with replacement.

    They say how much a figure would change with other images of the same kind. Images count as independent; where
    several show the same prompt the true uncertainty is larger. The curve is fitted anew for every resample, from
    the fit to all images. A resample in which a measure is not defined is left out of it; (NaN, NaN) where none is.

    Raises:
        PscrError: INVALID_ARGUMENT as `agreement`; also for another measure, level or number of resamples.
    Source: Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 13.
    """
    x, y = pair(predicted, opinion)
    _check(resamples, level, measures)
    drawn = _drawn(x, y, resamples, np.random.default_rng(seed), measures)
    return {name: _bounds(values, level) for name, values in drawn.items()}


def paired(
    first: ArrayLike,
    second: ArrayLike,
    opinion: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    measures: Sequence[str] = ("srcc", "krcc", "plcc"),
) -> dict[str, Difference]:
    """By how much `measures` of one set of predictions exceed those of another on the same images.

    first, second, opinion: [N], in the same order of images. Every resample draws images, and measures both on them:
        what makes both better or worse cancels out, so the interval is narrower than two of `intervals` suggest.
        The measures of `first` and `second` are subtracted as they are, signs included; a difference has their units.
    resamples, seed, level, measures: as `intervals`.

    Raises:
        PscrError: INVALID_ARGUMENT as `intervals`, for either.
    Source: Efron and Tibshirani, An introduction to the bootstrap (1993), chapter 13, on pairs of measurements.
    """
    (x, y), (other, _) = pair(first, opinion), pair(second, opinion)
    _check(resamples, level, measures)
    result = {}
    values = [{**agreement(one, y), **agreement_fitted(one, y)} for one in (x, other)]
    # Which images are drawn depends on the seed and their number alone: both see the same.
    drawn = [_drawn(one, y, resamples, np.random.default_rng(seed), measures) for one in (x, other)]
    for name in measures:
        low, high = _bounds(drawn[0][name] - drawn[1][name], level)
        result[name] = Difference(values[0][name] - values[1][name], low, high)
    return result


def within_groups(
    predicted: ArrayLike,
    opinion: ArrayLike,
    groups: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fewest: int = 3,
    minus: ArrayLike | None = None,
) -> Within:
    """The mean over groups of the SRCC within each, weighted by their numbers of images, with a bootstrap interval.

    predicted, opinion: [N]. groups: the group of each image [N], a generator or a prompt. What tells groups apart does
        not count here, only the order inside them.
    fewest: images that a group must have to count; groups in which all predictions or opinions are equal do not.
    minus: other predictions [N] of the same images, whose mean is taken away: value and interval are then of the
        difference, paired as in `paired`.
    resamples, seed, level: as `intervals`. Fewer than 20 groups are taken as given, and images are drawn within each.
        Of 20 or more whole groups are drawn: their few images, drawn with repeats, would seem to agree too well.

    Returns NaN for value and bounds where no group counts.
    Raises:
        PscrError: INVALID_ARGUMENT as `intervals`; for another number of groups; for `fewest` below 2.
    """
    x, y = pair(predicted, opinion)
    others = [] if minus is None else [pair(minus, opinion)[0]]
    _check(resamples, level, ("srcc",))
    if len(groups) != len(x) or fewest < 2:
        found = f"{len(groups)} groups of {len(x)} images, of {fewest} or more each"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected a group for each image, and 2 or more")
    places: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    members = [
        chosen
        for chosen in map(np.array, places.values())
        if len(chosen) >= fewest and not any(_constant(one[chosen], y[chosen]) for one in (x, *others))
    ]
    value, drawn = _within(x, y, members, resamples, np.random.default_rng(seed))
    for other in others:
        taken, taken_drawn = _within(other, y, members, resamples, np.random.default_rng(seed))  # the same draws
        value, drawn = value - taken, drawn - taken_drawn
    return Within(value, *_bounds(drawn, level), len(members), sum(map(len, members)))


def _within(
    x: Floats, y: Floats, members: Sequence[np.ndarray], resamples: int, rng: np.random.Generator
) -> tuple[float, Floats]:
    """The weighted mean of the SRCC of each group of places, and that of resamples [R]."""
    if not members:
        return math.nan, np.full(resamples, math.nan)
    sizes = np.array([len(chosen) for chosen in members], np.float64)
    each = np.array([_srcc(x[chosen], y[chosen]) for chosen in members])
    if len(members) >= MANY_GROUPS:
        drawn = rng.integers(0, len(members), (resamples, len(members)))
        means = (sizes * each)[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    else:
        values = [_drawn(x[chosen], y[chosen], resamples, rng, ("srcc",))["srcc"] for chosen in members]
        table = np.stack(values, axis=1)
        weights = np.where(np.isfinite(table), sizes, 0.0)
        with np.errstate(invalid="ignore"):
            means = (np.nan_to_num(table) * weights).sum(axis=1) / weights.sum(axis=1)
    return float((sizes * each).sum() / sizes.sum()), means


def _drawn(
    x: Floats, y: Floats, resamples: int, rng: np.random.Generator, measures: Sequence[str]
) -> dict[str, Floats]:
    """The measures [R] of resamples; which images are drawn depends on `rng` and on N alone."""
    curve = fit_logistic(x, y) if set(_FITTED) & set(measures) else None
    drawn: dict[str, list[Floats]] = {name: [] for name in measures}
    for start in range(0, resamples, step := max(1, _CHUNK // len(x))):
        chosen = rng.integers(0, len(x), (min(step, resamples - start), len(x)))
        for name, values in _resampled(x[chosen], y[chosen], curve, measures).items():
            drawn[name].append(values)
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def _resampled(x: Floats, y: Floats, curve: Logistic | None, measures: Sequence[str]) -> dict[str, Floats]:
    """The measures of R resamples: x, y [R,N] to [R] each."""
    found: dict[str, Floats] = {}
    if "srcc" in measures:
        found["srcc"] = _row_plcc(stats.rankdata(x, axis=1), stats.rankdata(y, axis=1))
    if "krcc" in measures:
        found["krcc"] = np.array([_krcc(*one) for one in zip(x, y, strict=True)])
    if "plcc" in measures:
        found["plcc"] = _row_plcc(x, y)
    if "rmse" in measures:
        found["rmse"] = np.sqrt(np.mean((x - y) ** 2, axis=1))
    if set(_FITTED) & set(measures):
        nothing = np.full(len(x), math.nan)
        values = dict(zip(_FITTED, refit(curve, x, y) if curve else (nothing, nothing), strict=True))
        found.update({name: values[name] for name in _FITTED if name in measures})
    return found


def _bounds(values: Floats, level: float) -> tuple[float, float]:
    """The quantiles between which `level` of the values lie that are defined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(resamples: int, level: float, measures: Sequence[str]) -> None:
    if resamples < 1 or not 0 < level < 1 or not set(measures) <= set(MEASURES):
        found = f"{resamples} resamples at level {level} of {', '.join(measures)}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected 1 or more, 0 to 1, {', '.join(MEASURES)}")


def _constant(x: Floats, y: Floats) -> bool:
    return bool(np.ptp(x) == 0 or np.ptp(y) == 0)


def _srcc(x: Floats, y: Floats) -> float:
    return math.nan if _constant(x, y) else float(stats.spearmanr(x, y).statistic)


def _krcc(x: Floats, y: Floats) -> float:
    method = "exact" if len(x) == 2 else "asymptotic"  # of the p-value; for two the latter divides by zero
    return math.nan if _constant(x, y) else float(stats.kendalltau(x, y, method=method).statistic)


def _plcc(x: Floats, y: Floats) -> float:
    return math.nan if _constant(x, y) else float(stats.pearsonr(x, y).statistic)


def _rmse(x: Floats, y: Floats) -> float:
    return float(np.sqrt(np.mean((x - y) ** 2)))


def _row_plcc(x: Floats, y: Floats) -> Floats:
    """Pearson's correlation of each row of [R,N] with the same row of another; NaN where either is constant."""
    constant = (np.ptp(x, axis=1) == 0) | (np.ptp(y, axis=1) == 0)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.where(constant, math.nan, np.clip(found, -1, 1))


_ONE: dict[str, Callable[[Floats, Floats], float]] = {"srcc": _srcc, "krcc": _krcc, "plcc": _plcc, "rmse": _rmse}
