"""How far apart scores may lie that should be the same: a share of the score's range, and what float32 can tell.

An opinion score of AGIQA-3K lies between 0 and 5, one of CLIVE between 0 and 100: the same network on other labels
gives twenty times the difference, which means the same. So every tolerance of an export is a share of the range of the
scores in use. Where the scores themselves lie far outside that range, a share of it is finer than float32, in which all
of them are computed; no tolerance is below that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pscr.runtime import verification
from pscr.runtime.errors import PscrError, Status

PARITY = 2e-4  # the exported graph against the trained network, whose weights may lie in half precision on disk
PUBLISHED = 2e-5  # against the published computation; weights then stay in fp32
ENSEMBLE = 2e-5  # against the mean of the members' scores
BATCH = 2e-5  # an image alone and in a batch
GOLDEN = 2e-4  # the same graph on another machine

# By precision, against fp32. A tenth of the standard error of one opinion score of AGIQA-3K is .004 of its range.
CONVERTED = {"fp16": 4e-3, "int8": 3e-2}
INT8_MEDIAN = 6e-3
ENGINE = {"fp32": 2e-4, **CONVERTED}
ENGINE_BATCH = {"fp32": 2e-5, "fp16": 1e-3, "int8": 4e-3}  # kernels, and their order of summation, change with shapes

# Units in the last place of the largest score. A score is a sum over the backbone's channels whose terms may be many
# times as large as it is: two orders of summation differed by up to 71 such units (networks of random weights, scores
# of 5 to 1838). Of scores from 0 to their range's top a share of 2e-5 is 160 units or more: only those outside meet it.
UNITS = 128


@dataclass(frozen=True)
class Allowed:
    """The largest difference that is allowed.

    units: in score units. share: the same as a share of the range. reason: what it follows from, in words.
    """

    units: float
    share: float
    reason: str

    def entry(self, prefix: str = "") -> dict[str, float]:
        """For a manifest: `tolerance` in score units and `tolerance_share` of the range."""
        return {f"{prefix}tolerance": self.units, f"{prefix}tolerance_share": self.share}

    def __str__(self) -> str:
        return f"{self.units:.3g}, {self.reason}"


def allowed(share: float, score_range: Sequence[float], *scores: ArrayLike) -> Allowed:
    """The difference that two forms of a model may have, in the units of their scores.

    share: of the range's width, such as `PARITY`. score_range: the lowest and the highest opinion score of the bank in
    use. scores: [N] each, those that are compared; what is not finite among them says nothing of their size.

    Raises:
        PscrError: MODEL_INVALID for scores so large that float32 cannot tell `verification.MOST` of the range.
    """
    low, high = score_range
    width = high - low
    found = np.concatenate([np.abs(np.asarray(values, np.float64)).ravel() for values in scores] or [np.zeros(0)])
    largest = float(found[np.isfinite(found)].max(initial=0))
    finest = UNITS * float(np.spacing(np.float32(largest)))
    if not finest <= verification.MOST * width:
        raise PscrError(
            Status.MODEL_INVALID,
            f"found scores as large as {largest:.4g} where opinions reach from {low:g} to {high:g}: float32 cannot "
            f"tell {verification.MOST:.0%} of that range there; check the model, its exemplars' scores and their range",
        )
    if finest > share * width:
        reason = f"which float32 needs for scores as large as {largest:.4g}"
        return Allowed(_rounded(finest), _rounded(finest / width), reason)
    return Allowed(_rounded(share * width), share, f"{100 * share:.3g} % of the range {low:g} to {high:g}")


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
