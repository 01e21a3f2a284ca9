"""Candidates in order: which image people would prefer, and how sure that is (best of n for one prompt)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import PscrError
from .pipeline import Result, Source, failed, in_order
from .scorer import Scorer

SUPPORT = 1.96  # standard deviations of the paired votes


@dataclass(frozen=True)
class Ranked:
    """A candidate in its place, and how far it is ahead of the next one.

    place: from 1, the best; 0 where there is no score.
    result: score, spread, size, status, as `Scorer.score` gives them.
    ahead: by how much people would prefer it to the next one, in score units, at least 0; NaN for the last.
    supported: whether that exceeds what the exemplars' votes scatter by: 1.96 standard deviations over the exemplars of
        the difference of their two votes. The exemplars share one network, so this says that the difference is not an
        accident of the bank; that people agree is what `confidence` says.
    confidence: the probability, 0.5 to 1, that people put these two in the same order (see calibration.py); NaN for
        the last and where model and bank are not calibrated.
    """

    place: int
    result: Result
    ahead: float = math.nan
    supported: bool = False
    confidence: float = math.nan


def rank(scorer: Scorer, sources: Iterable[Source], *, pixel_format: str | None = None) -> list[Ranked]:
    """Score candidates and put them in order, the best first, equal scores in the order of `sources`.

    sources, pixel_format: as in `Scorer.score_many`. Images that cannot be scored come last, with place 0.

    Raises:
        PscrError: CLOSED, OUT_OF_MEMORY or INTERNAL where inference itself fails.
    """
    good: list[tuple[Result, NDArray[np.float32]]] = []
    bad: list[Ranked] = []
    stream = in_order(lambda source: scorer.prepare(source, pixel_format), sources, workers=2, ahead=4)
    for source, prepared in stream:
        if not isinstance(prepared, PscrError):
            try:
                good.append(scorer.finish(source, prepared))
                continue
            except PscrError as error:
                prepared = error
        bad.append(Ranked(0, failed(source, prepared)))
    sign = 1 if scorer.manifest.score.higher_is_better else -1
    good.sort(key=lambda entry: -sign * entry[0].score)
    ranked = [
        Ranked(place, good[place - 1][0], *compare(scorer, good[place - 1][1], good[place][1]))
        for place in range(1, len(good))
    ]
    if good:
        ranked.append(Ranked(len(good), good[-1][0]))
    return ranked + bad


def compare(scorer: Scorer, better: NDArray[np.float32], worse: NDArray[np.float32]) -> tuple[float, bool, float]:
    """`ahead`, `supported` and `confidence` of two images from their votes [K]; see Ranked."""
    differences = better.astype(np.float64) - worse.astype(np.float64)
    ahead = abs(float(differences.mean()))
    supported = ahead > SUPPORT * float(differences.std())
    confidence = scorer.calibration.agreement(ahead) if scorer.calibration else math.nan
    return ahead, supported, confidence
