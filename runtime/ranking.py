"""Candidates in order: which image people would prefer, and how sure that is (best of n for one prompt)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .families.head import Floats, Head
from .pipeline import Result, Source
from .score_scale import ScoreScale
from .scorer import Scorer

SUPPORT = 1.96  # standard deviations of the paired votes
Scored = tuple[Result, Floats | None]


@dataclass(frozen=True)
class Ranked:
    """A candidate in its place, and how far it is ahead of the next one.

    place: from 1, the best; 0 where there is no score.
    result: score, spread, size, status, as `Scorer.score` gives them.
    ahead: by how much people would prefer it to the next one, in score units, at least 0; None for the last.
    supported: whether that exceeds what the exemplars' votes scatter by: 1.96 standard deviations over the exemplars of
        the difference of their two votes. The exemplars share one network, so this says that the difference is not an
        accident of the bank; that people agree is what `confidence` says. None for the last, and where fewer than two
        vote.
    confidence: the probability, 0.5 to 1, that people put these two in the same order (see calibration.py); None for
        the last and where model and bank are not calibrated.
    """

    place: int
    result: Result
    ahead: float | None = None
    supported: bool | None = None
    confidence: float | None = None


def rank(scorer: Scorer, sources: Iterable[Source], *, pixel_format: str | None = None) -> list[Ranked]:
    """Score candidates and put them in order, the best first, equal scores in the order of `sources`.

    Which end of the scale is the best is the scale's own (`Scorer.scale`).
    sources, pixel_format: as in `Scorer.score_many`. Images that cannot be scored come last, with place 0.

    Raises:
        PscrError: as `Scorer.score_many`: INVALID_ARGUMENT for `sources` that are one image or a whole table; CLOSED,
            OUT_OF_MEMORY or INTERNAL where inference itself fails.
    """
    scored = list(scorer.score_with_votes(sources, pixel_format=pixel_format))
    good = [scored[place] for place in best_first(scorer.scale, [result for result, _ in scored])]
    ranked = [
        Ranked(place, result, *compare(scorer.head, (result, votes), good[place]))
        for place, (result, votes) in enumerate(good[:-1], 1)
    ]
    if good:
        ranked.append(Ranked(len(good), good[-1][0]))
    return ranked + [Ranked(0, result) for result, _ in scored if not result.ok]


def best_first(scale: ScoreScale, results: Sequence[Result]) -> list[int]:
    """The places (from 0) of those results that have a score, the best first, equal scores in their order."""
    scored = (place for place, result in enumerate(results) if result.ok)
    return sorted(scored, key=lambda place: -scale.sign * results[place].score)


def compare(head: Head, better: Scored, worse: Scored) -> tuple[float, bool | None, float | None]:
    """`ahead`, `supported` and `confidence` of two images from their results and votes [K]; see Ranked."""
    (first, votes), (second, others) = better, worse
    ahead, supported = abs(first.score - second.score), None
    if head.has_spread and votes is not None and others is not None:
        differences = votes.astype(np.float64) - others.astype(np.float64)
        ahead = abs(float(differences.mean()))
        supported = ahead > SUPPORT * float(differences.std())
    return ahead, supported, head.calibration.agreement(ahead) if head.calibration else None
