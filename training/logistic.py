"""The four-parameter logistic curve that image quality papers lay through scores before they measure the error."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from ..runtime.errors import PscrError, Status

Floats = NDArray[np.float64]
_FEWEST_TO_FIT = 5  # four numbers are fitted
_STEPS = 60  # of a refit; most end within ten


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


def fit_logistic(predicted: ArrayLike, opinion: ArrayLike) -> Logistic | None:
    """The logistic curve that leads from predictions [N] to opinion scores [N] with the least squared error.

    None where it cannot be found: fewer than five images, all predictions or all opinions equal, or a search that
    does not converge.

    Raises:
        PscrError: INVALID_ARGUMENT for fewer than two, for different numbers of them, or one that is not finite.
    Source: VQEG, Final report on the validation of objective models of video quality assessment, phase I (2000), in
    the form with |b4| and from the starting values that image quality papers use (b1, b2 the highest and lowest
    opinion, b3 the mean prediction, b4 a quarter of its standard deviation); a second, wider start is tried too.
    """
    x, y = pair(predicted, opinion)
    if len(x) < _FEWEST_TO_FIT or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    middle, width = x.mean(), x.std()
    ends = (y.max(), y.min()) if np.sum((x - middle) * (y - y.mean())) >= 0 else (y.min(), y.max())
    found = [_search((x - middle) / width, y, (*ends, 0.0, start)) for start in (0.25, 1.0)]
    curves = [
        Logistic(float(b1), float(b2), float(middle + width * b3), float(width * abs(b4)))
        for b1, b2, b3, b4 in (one for one in found if one is not None)
    ]
    return min(curves, key=lambda curve: float(np.mean((curve(x) - y) ** 2)), default=None)


def refit(start: Logistic, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """PLCC and RMSE [R] of rows x, y [R,N] after the curve that fits each row best, the searches begun at `start`.

    NaN where a row's x or y are all equal. All rows are searched at once, each on its own: none depends on another.

    For a given middle and width the curve is linear in its two ends, so only middle and width are searched, by
    Levenberg's and Marquardt's steps on what the ends leave over (variable projection; Golub and Pereyra 1973, with
    Kaufman's shorter derivative, 1975).
    """
    varies = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    least = np.full(len(x), np.nan)
    left = np.flatnonzero(varies)
    x, y = x[left], y[left] - y[left].mean(axis=1, keepdims=True)
    total = (y**2).sum(axis=1)
    places = np.tile([start.b3, np.log(abs(start.b4))], (len(left), 1))
    damping = np.full(len(left), 1e-3)
    now = _left_over(places, x, y)
    squares = total.copy()  # of all rows; `total` shrinks to those that are still searched
    for _ in range(_STEPS):
        if not len(left):
            break
        rest, cost, one, other = now
        a, b, c = (one * one).sum(axis=1), (one * other).sum(axis=1), (other * other).sum(axis=1)
        p, q = (one * rest).sum(axis=1), (other * rest).sum(axis=1)
        a, c = a * (1 + damping) + 1e-300, c * (1 + damping) + 1e-300
        with np.errstate(all="ignore"):
            step = np.stack([c * p - b * q, a * q - b * p], axis=1) / (a * c - b * b)[:, None]
            step = np.where(np.isfinite(step), step, 0.0)
            longest = np.concatenate([np.exp(np.clip(places[:, 1:], -300, 300)), np.full((len(left), 1), 0.5)], axis=1)
            tried = places + np.clip(step, -longest, longest)  # a leap to where the curve is straight would stay there
            new = _left_over(tried, x, y)
        better = new.squares < cost
        with np.errstate(invalid="ignore"):  # no end is known where a start is flat
            gained = np.where(better, cost - new.squares, 0.0)
        places = np.where(better[:, None], tried, places)
        damping = np.where(better, damping * 0.1, damping * 10)
        now = _Rest(
            *(
                np.where(better if was.ndim == 1 else better[:, None], is_, was)
                for was, is_ in zip(now, new, strict=True)
            )
        )
        ended = (better & (gained <= 1e-10 * total)) | (damping > 1e6)
        least[left] = now.squares
        if ended.any():
            keep = ~ended
            left, x, y, total, places, damping = (part[keep] for part in (left, x, y, total, places, damping))
            now = _Rest(*(part[keep] for part in now))
    least[np.isinf(least)] = np.nan
    all_squares = np.full(len(varies), np.nan)
    all_squares[varies] = squares
    with np.errstate(invalid="ignore", divide="ignore"):
        plcc = np.sqrt(np.clip(1 - least / all_squares, 0, 1))
    return plcc, np.sqrt(least / x.shape[1])


class _Rest(NamedTuple):
    rest: Floats
    squares: Floats
    along_middle: Floats
    along_width: Floats


def _left_over(places: Floats, x: Floats, y: Floats) -> _Rest:
    """What the best ends leave of centred y [R,N] at middles and log widths [R,2], its squares [R], and its slopes.

    The slopes [R,N] are those of the curve along middle and log width, without what the ends make up for.
    """
    width = np.exp(np.clip(places[:, 1:], -300, 300))
    at = (x - places[:, :1]) / width
    rise = special.expit(at)
    steep = rise * (1 - rise)
    rise = rise - rise.mean(axis=1, keepdims=True)
    size = (rise**2).sum(axis=1, keepdims=True)
    flat = size <= 1e-28 * x.shape[1]  # saturated: every image at one end
    size = np.where(flat, 1.0, size)
    height = (rise * y).sum(axis=1, keepdims=True) / size
    rest = y - height * rise
    slopes = []
    for slope in (-steep / width, -steep * at):
        slope = slope - slope.mean(axis=1, keepdims=True)
        slopes.append(height * (slope - (slope * rise).sum(axis=1, keepdims=True) / size * rise))
    return _Rest(rest, np.where(flat[:, 0], np.inf, (rest**2).sum(axis=1)), slopes[0], slopes[1])


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


def pair(predicted: ArrayLike, opinion: ArrayLike) -> tuple[Floats, Floats]:
    """Predictions and opinions as two arrays [N] of finite numbers, N of 2 or more.

    Raises:
        PscrError: INVALID_ARGUMENT where they are not.
    """
    x, y = np.asarray(predicted, np.float64), np.asarray(opinion, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        found = f"{x.shape} predictions and {y.shape} opinions"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected two rows of the same length, two or more")
    for what, values in (("prediction", x), ("opinion", y)):
        if not np.isfinite(values).all():
            place = int(np.argmin(np.isfinite(values)))
            raise PscrError(Status.INVALID_ARGUMENT, f"{what} {place} is {values[place]}; expected finite numbers")
    return x, y
