"""How well predicted scores agree with people: the correlations that the field reports."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def agreement(predicted: ArrayLike, opinion: ArrayLike) -> dict[str, float]:
    """SRCC, KRCC (tau-b), PLCC (raw, without a fitted curve) and RMSE of predictions [N] against opinion scores [N].

    The correlations are NaN where all predictions, or all opinions, are equal.
    """
    x, y = np.asarray(predicted, np.float64), np.asarray(opinion, np.float64)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return {"srcc": math.nan, "krcc": math.nan, "plcc": math.nan, "rmse": float(np.sqrt(np.mean((x - y) ** 2)))}
    return {
        "srcc": float(stats.spearmanr(x, y).statistic),
        "krcc": float(stats.kendalltau(x, y).statistic),
        "plcc": float(stats.pearsonr(x, y).statistic),
        "rmse": float(np.sqrt(np.mean((x - y) ** 2))),
    }
