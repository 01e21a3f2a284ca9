"""How well a finished model agrees with people on images that did not train it, for its manifest."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..runtime.backends.base import Backend
from ..runtime.image import load
from ..runtime.ordered import results
from ..runtime.samplings import Sampling
from ..training.label_files import Item
from ..training.metrics import agreement, agreement_fitted, intervals
from ..training.progress_bar import progress_bar

Measured = dict[str, float | list[float]]
_log = logging.getLogger(__name__)


def measure(backend: Backend, sampling: Sampling, items: Sequence[Item]) -> Measured:
    """Agreement of the graph's scores with opinion scores; empty for fewer than two images.

    srcc, krcc, plcc, plcc_fitted, rmse, and srcc_95 and plcc_95: [lowest, highest] of the 95 % bootstrap interval.
    Figures that are not defined (constant scores, a curve that cannot be fitted) are left out.
    """
    if len(items) < 2:
        return {}
    patches = results(lambda item: sampling.cut(load(item.path)), items)
    scores = [float(backend.infer(found[None]).scores[0]) for found in progress_bar(patches, len(items), "held out")]
    opinion = [item.score for item in items]
    plain, fitted = agreement(scores, opinion), agreement_fitted(scores, opinion)
    bounds = intervals(scores, opinion, measures=("srcc", "plcc"))
    figures: Measured = {key: plain[key] for key in ("srcc", "krcc", "plcc")}
    figures |= {"plcc_fitted": fitted["plcc_fitted"], "rmse": plain["rmse"]}
    figures |= {f"{key}_95": list(bound) for key, bound in bounds.items()}
    measured = {key: value for key, value in figures.items() if np.isfinite(value).all()}
    if "plcc_fitted" not in measured:
        _log.info("the four-parameter logistic could not be fitted; there is no PLCC after it")
    _log.info("on %d held-out images, through onnxruntime: %s", len(items), _line(measured))
    return measured


def entry(measured: Measured, images: str) -> dict[str, Any]:
    """The manifest's `training.metrics`. images: which they are, as "held-out: ..."."""
    return {
        **{key: np.round(value, 4).tolist() for key, value in measured.items()},
        "protocol": f"{images}; scored through onnxruntime with the model's own bank",
        "date": datetime.date.today().isoformat(),
    }


def _line(measured: Measured) -> str:
    """The figures on one line, each with its interval where there is one."""
    parts = []
    for key, value in measured.items():
        if isinstance(value, float):
            low_high = measured.get(f"{key}_95")
            interval = f" ({low_high[0]:.4f} to {low_high[1]:.4f})" if isinstance(low_high, list) else ""
            parts.append(f"{key.upper()} {value:.4f}{interval}")
    return ", ".join(parts)
