"""How well predicted scores agree with people: the figures that the field reports, and how sure they are."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from ..runtime.errors import PscrError, Status

Floats = NDArray[np.float64]
MEASURES = ("srcc", "krcc", "plcc", "plcc_fitted", "rmse", "rmse_fitted")
_FEWEST_TO_FIT = 5  # four numbers are fitted
_CHUNK = 1 << 22  # numbers that the bootstrap holds at once


@dataclass(frozen=True)
class Logistic:
    """The four-parameter logistic curve y = (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2.

    b1, b2: what it tends to for high and for low x, in opinion-score units. b3, b4: middle and width, in those of x.
    """

    b1: float
    b2: float
    b3: float
    b4: float

    def __call__(self, predicted: ArrayLike) -> Floats:
        """The curve at predictions of any shape."""
        x = np.asarray(predicted, np.float64)
        curve: Floats = (self.b1 - self.b2) * special.expit((x - self.b3) / abs(self.b4)) + self.b2
        return curve


def agreement(predicted: ArrayLike, opinion: ArrayLike) -> dict[str, float]:
    """SRCC, KRCC (tau-b), PLCC (raw, without a fitted curve) and RMSE of predictions [N] against opinion scores [N].

    The correlations are NaN where all predictions, or all opinions, are equal.

    Raises:
        PscrError: INVALID_ARGUMENT for fewer than two, for different numbers of them, or one that is not finite.
    """
    x, y = _pair(predicted, opinion)
    return {name: _ONE[name](x, y) for name in ("srcc", "krcc", "plcc", "rmse")}


def agreement_fitted(predicted: ArrayLike, opinion: ArrayLike) -> dict[str, float]:
    """PLCC and RMSE of predictions [N] that were first put through their own `fit_logistic`: plcc_fitted, rmse_fitted.

    Both are NaN where there is no fit. Raises as `agreement`.
    """
    x, y = _pair(predicted, opinion)
    curve = fit_logistic(x, y)
    if curve is None:
        return {"plcc_fitted": math.nan, "rmse_fitted": math.nan}
    return {"plcc_fitted": _plcc(curve(x), y), "rmse_fitted": _rmse(curve(x), y)}


def fit_logistic(predicted: ArrayLike, opinion: ArrayLike) -> Logistic | None:
    """The logistic curve that leads from predictions [N] to opinion scores [N] with the least squared error.

    None where it cannot be found: fewer than five images, all predictions or all opinions equal, or a search that
    does not converge. Raises as `agreement`.

    Source: VQEG, Final report on the validation of objective models of video quality assessment, phase I (2000), in
    the form with |b4| and from the starting values that image quality papers use (b1, b2 the highest and lowest
    opinion, b3 the mean prediction, b4 a quarter of its standard deviation); a second, wider start is tried too.
    """
    x, y = _pair(predicted, opinion)
    if len(x) < _FEWEST_TO_FIT or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    middle, width = x.mean(), x.std()
    ends = (y.max(), y.min()) if _plcc(x, y) >= 0 else (y.min(), y.max())
    found = [_search((x - middle) / width, y, (*ends, 0.0, start)) for start in (0.25, 1.0)]
    curves = [
        Logistic(float(b1), float(b2), float(middle + width * b3), float(width * abs(b4)))
        for b1, b2, b3, b4 in (one for one in found if one is not None)
    ]
    return min(curves, key=lambda curve: _rmse(curve(x), y), default=None)


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
    """
    x, y = _pair(predicted, opinion)
    if resamples < 1 or not 0 < level < 1 or not set(measures) <= set(MEASURES):
        found = f"{resamples} resamples at level {level} of {', '.join(measures)}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected 1 or more, 0 to 1, {', '.join(MEASURES)}")
    rng = np.random.default_rng(seed)
    curve = fit_logistic(x, y) if {"plcc_fitted", "rmse_fitted"} & set(measures) else None
    drawn: dict[str, list[Floats]] = {name: [] for name in measures}
    for start in range(0, resamples, step := max(1, _CHUNK // len(x))):
        chosen = rng.integers(0, len(x), (min(step, resamples - start), len(x)))
        for name, values in _resampled(x[chosen], y[chosen], curve, measures).items():
            drawn[name].append(values)
    tails = [(1 - level) / 2, (1 + level) / 2]
    result = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts)
        defined = values[np.isfinite(values)]
        low, high = np.quantile(defined, tails) if len(defined) else (math.nan, math.nan)
        result[name] = (float(low), float(high))
    return result


def _resampled(x: Floats, y: Floats, curve: Logistic | None, measures: Sequence[str]) -> dict[str, Floats]:
    """The measures of R resamples: x, y [R,N] to [R] each."""
    found: dict[str, Floats] = {}
    if "srcc" in measures:
        found["srcc"] = _row_plcc(stats.rankdata(x, axis=1), stats.rankdata(y, axis=1))
    if "krcc" in measures:
        found["krcc"] = np.array([_krcc(*pair) for pair in zip(x, y, strict=True)])
    if "plcc" in measures:
        found["plcc"] = _row_plcc(x, y)
    if "rmse" in measures:
        found["rmse"] = np.sqrt(np.mean((x - y) ** 2, axis=1))
    fitted = [name for name in ("plcc_fitted", "rmse_fitted") if name in measures]
    if fitted:
        mapped = np.stack([_refit(curve, *pair) for pair in zip(x, y, strict=True)])
        values = {"plcc_fitted": _row_plcc(mapped, y), "rmse_fitted": np.sqrt(np.mean((mapped - y) ** 2, axis=1))}
        found.update({name: values[name] for name in fitted})
    return found


def _refit(curve: Logistic | None, x: Floats, y: Floats) -> Floats:
    """Predictions through the curve fitted to them, the search begun at `curve`; NaN where there is none."""
    start = (curve.b1, curve.b2, curve.b3, curve.b4) if curve and np.ptp(x) and np.ptp(y) else None
    found = _search(x, y, start) if start else None
    return np.full_like(x, math.nan) if found is None else Logistic(*map(float, found))(x)


def _search(x: Floats, y: Floats, start: tuple[float, float, float, float]) -> Floats | None:
    """Least squares from a starting point; None where the search fails."""

    def curve(x: Floats, b1: float, b2: float, b3: float, b4: float) -> Floats:
        return (b1 - b2) * special.expit((x - b3) / abs(b4)) + b2

    def slopes(x: Floats, b1: float, b2: float, b3: float, b4: float) -> Floats:
        rise = special.expit((x - b3) / abs(b4))
        steep = (b1 - b2) * rise * (1 - rise) / abs(b4)
        return np.stack([rise, 1 - rise, -steep, -steep * (x - b3) / b4], axis=1)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", optimize.OptimizeWarning)  # a covariance that no one asked for
        try:
            found, _ = optimize.curve_fit(curve, x, y, p0=start, jac=slopes, maxfev=2000)
        except (RuntimeError, ValueError, TypeError):  # no convergence; not finite on the way; too few points
            return None
    return found if np.isfinite(found).all() and found[3] else None


def _pair(predicted: ArrayLike, opinion: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(predicted, np.float64), np.asarray(opinion, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        found = f"{x.shape} predictions and {y.shape} opinions"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected two rows of the same length, two or more")
    for what, values in (("prediction", x), ("opinion", y)):
        if not np.isfinite(values).all():
            place = int(np.argmin(np.isfinite(values)))
            raise PscrError(Status.INVALID_ARGUMENT, f"{what} {place} is {values[place]}; expected finite numbers")
    return x, y


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
