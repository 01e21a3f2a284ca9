"""The parity gate: what ships must score like the network that was trained, and like itself in any batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..runtime.backends.base import Backend
from ..runtime.sampling import Pixels
from ..training.model import PSCR
from .difference import in_batches

SCORE_TOLERANCE = 1e-3  # opinion-score units
PUBLISHED_TOLERANCE = 1e-4  # against the published computation; weights then stay in fp32
BATCH_TOLERANCE = 1e-4
BATCHES = (1, 3, 8)


@dataclass(frozen=True)
class Parity:
    """What the gate found; all differences are of final scores, in opinion-score units.

    against: what onnxruntime was compared with. tolerance: the largest difference allowed.
    """

    images: int
    largest: float
    median: float
    batch_largest: float
    against: str
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether the exported graph may be shipped."""
        return self.largest <= self.tolerance and self.batch_largest <= BATCH_TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `parity` entry."""
        return {
            "compared": f"{self.against} against onnxruntime, scores of {self.images} images",
            "largest_difference": float(f"{self.largest:.3g}"),
            "median_difference": float(f"{self.median:.3g}"),
            "tolerance": self.tolerance,
            "batch_largest_difference": float(f"{self.batch_largest:.3g}"),
            "batch_tolerance": BATCH_TOLERANCE,
        }

    def __str__(self) -> str:
        verdict = "passed" if self.ok else "FAILED"
        return (
            f"parity {verdict}: {self.against} against onnxruntime on {self.images} images: "
            f"largest difference {self.largest:.2e}, median {self.median:.2e} (allowed {self.tolerance:.0e}); "
            f"one image in batches of {', '.join(map(str, BATCHES))}, every position: "
            f"{self.batch_largest:.2e} (allowed {BATCH_TOLERANCE:.0e})"
        )


def check(model: PSCR, backend: Backend, images: Sequence[Pixels]) -> Parity:
    """Compare the trained network with the exported graph on real patches, both with the bank that `backend` holds.

    images: [P,S,S,3] uint8 RGB each; batches are filled up from the start where there are fewer than 8.
    """
    regressor = model.regressor
    with torch.inference_mode():
        features = _features(model, images)
        votes = regressor.differences(regressor.query_part(features), torch.from_numpy(backend.bank.terms))
        expected = (votes + torch.from_numpy(backend.bank.scores)).mean(1).numpy()
    return _compare(expected, backend, images, "torch", SCORE_TOLERANCE)


def check_published(model: PSCR, backend: Backend, images: Sequence[Pixels], exemplars: Iterable[Pixels]) -> Parity:
    """Compare the exported graph with the published computation, which knows neither bank nor folded regressor.

    images: as in `check`. exemplars: [P,S,S,3] uint8 RGB of each image of the bank that `backend` holds, in its order.
    Every image meets every exemplar in the regressor, as their concatenated features, and the votes are averaged.
    """
    scores = torch.from_numpy(backend.bank.scores)
    with torch.inference_mode():
        others = _features(model, exemplars)
        votes = [model.regressor(query.expand(len(others), -1), others) + scores for query in _features(model, images)]
        expected = torch.stack(votes).mean(1).numpy()
    return _compare(expected, backend, images, "the published computation in torch", PUBLISHED_TOLERANCE)


def _features(model: PSCR, images: Iterable[Pixels]) -> torch.Tensor:
    return torch.cat([model.features(torch.from_numpy(patches[None])) for patches in images])


def _compare(
    expected: NDArray[np.float32], backend: Backend, images: Sequence[Pixels], against: str, tolerance: float
) -> Parity:
    found = np.concatenate([backend.infer(patches[None]).scores for patches in images])
    differences = np.abs(expected - found)
    worst = in_batches(backend, images, BATCHES)
    return Parity(len(images), float(differences.max()), float(np.median(differences)), worst, against, tolerance)
