"""Choosing the exemplars that ship with a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..runtime.errors import PscrError, Status


def choose(scores: Sequence[float], selection: str, seed: int = 1) -> list[int]:
    """Which images become exemplars.

    scores: opinion scores of the candidates.
    selection: "all"; "spread:K", K images evenly spaced in the order of their scores, so that every quality is
        represented as often as in the candidates; or "random:K", K drawn with `seed` (the paper draws 10).

    Returns ascending indices into `scores`.
    Raises:
        PscrError: INVALID_ARGUMENT for another selection or more exemplars than candidates.
    """
    if selection == "all":
        return list(range(len(scores)))
    how, _, number = selection.partition(":")
    if how not in ("spread", "random") or not number.isdecimal() or not 1 <= int(number) <= len(scores):
        raise PscrError(
            Status.INVALID_ARGUMENT,
            f"bank {selection!r} cannot be chosen from {len(scores)} images; expected all, spread:K or random:K",
        )
    count = int(number)
    if how == "random":
        return sorted(np.random.default_rng(seed).permutation(len(scores))[:count].tolist())
    order = np.argsort(np.asarray(scores), kind="stable")
    return sorted(order[((np.arange(count) + 0.5) * len(scores) / count).astype(int)].tolist())
