"""The parity gate: what ships must score like the network that was trained, and like itself in any batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..runtime.backends.base import Backend
from ..runtime.samplings import Pixels
from ..training.model import PSCR
from . import tolerance
from .difference import BATCHES, in_batches
from .tolerance import Allowed


@dataclass(frozen=True)
class Parity:
    """What the gate found; all differences are of final scores, in opinion-score units.

    against: what onnxruntime was compared with. tolerance, batch_tolerance: the largest differences allowed.
    """

    images: int
    largest: float
    median: float
    batch_largest: float
    against: str
    tolerance: Allowed
    batch_tolerance: Allowed

    @property
    def ok(self) -> bool:
        """Whether the exported graph may be shipped."""
        return self.largest <= self.tolerance.units and self.batch_largest <= self.batch_tolerance.units

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `parity` entry."""
        return {
            "compared": f"{self.against} against onnxruntime, scores of {self.images} images",
            "largest_difference": float(f"{self.largest:.3g}"),
            "median_difference": float(f"{self.median:.3g}"),
            **self.tolerance.entry(),
            "batch_largest_difference": float(f"{self.batch_largest:.3g}"),
            **self.batch_tolerance.entry("batch_"),
        }

    def __str__(self) -> str:
        verdict = "passed" if self.ok else "FAILED"
        return (
            f"parity {verdict}: {self.against} against onnxruntime on {self.images} images: "
            f"largest difference {self.largest:.2e}, median {self.median:.2e} (allowed {self.tolerance}); "
            f"one image in batches of {', '.join(map(str, BATCHES))}, every position: "
            f"{self.batch_largest:.2e} (allowed {self.batch_tolerance})"
        )


def check(
    model: PSCR, backend: Backend, images: Sequence[Pixels], score_range: Sequence[float], mean: float = 0.0
) -> Parity:
    """Compare the trained network with the exported graph on real patches, both with the bank that `backend` holds.

    images: [P,S,S,3] uint8 RGB each; batches are filled up from the start where there are fewer than 8.
    score_range: the lowest and the highest opinion score of that bank's scale, which tolerances are shares of.
    mean: of direct regression, the opinion that its 0 stands for.

    Raises:
        PscrError: MODEL_INVALID for scores that float32 cannot tell apart on that scale.
    """
    regressor = model.regressor
    with torch.inference_mode():
        features = _features(model, images)
        if model.direct:
            expected = (regressor(features, features) + mean).numpy()
        else:
            terms, opinions = (torch.from_numpy(value) for value in backend.signature.constants.values())
            expected = (regressor.differences(regressor.query_part(features), terms) + opinions).mean(1).numpy()
    return compare(expected, backend, images, "torch", tolerance.PARITY, score_range)


def check_published(
    model: PSCR, backend: Backend, images: Sequence[Pixels], exemplars: Iterable[Pixels], score_range: Sequence[float]
) -> Parity:
    """Compare the exported graph with the published computation, which knows neither bank nor folded regressor.

    images, score_range: as in `check`. exemplars: [P,S,S,3] uint8 RGB of each image of the bank that `backend` holds,
    in its order.
    Every image meets every exemplar in the regressor, as their concatenated features, and the votes are averaged.

    Raises:
        PscrError: as `check`.
    """
    scores = torch.from_numpy(backend.signature.constants["bank_scores"])
    with torch.inference_mode():
        others = _features(model, exemplars)
        votes = [model.regressor(query.expand(len(others), -1), others) + scores for query in _features(model, images)]
        expected = torch.stack(votes).mean(1).numpy()
    return compare(expected, backend, images, "the published computation in torch", tolerance.PUBLISHED, score_range)


def _features(model: PSCR, images: Iterable[Pixels]) -> torch.Tensor:
    return torch.cat([model.features(torch.from_numpy(patches[None])) for patches in images])


def compare(
    expected: NDArray[np.float32],
    backend: Backend,
    images: Sequence[Pixels],
    against: str,
    share: float,
    score_range: Sequence[float],
) -> Parity:
    """Compare expected scores [N] with those that `backend` gives `images`, alone and in batches.

    against: where the expected ones come from. share: of the range, that they may be off by.

    Raises:
        PscrError: as `check`.
    """
    found = np.concatenate([backend.infer(patches[None]).scores for patches in images])
    differences = np.abs(expected - found)
    worst = in_batches(backend, images, BATCHES)
    return Parity(
        len(images),
        float(differences.max()),
        float(np.median(differences)),
        worst,
        against,
        tolerance.allowed(share, score_range, expected, found),
        tolerance.allowed(tolerance.BATCH, score_range, found),
    )
