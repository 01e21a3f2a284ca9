"""The parity gate: what ships must score like the network that was trained, and like itself in any batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..runtime.backends.base import Backend
from ..runtime.sampling import Pixels
from ..training.model import PSCR
from .difference import in_batches

SCORE_TOLERANCE = 1e-3  # opinion-score units
BATCH_TOLERANCE = 1e-4
BATCHES = (1, 3, 8)


@dataclass(frozen=True)
class Parity:
    """What the gate found; all differences are of final scores, in opinion-score units."""

    images: int
    largest: float
    median: float
    batch_largest: float

    @property
    def ok(self) -> bool:
        """Whether the exported graph may be shipped."""
        return self.largest <= SCORE_TOLERANCE and self.batch_largest <= BATCH_TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """The manifest's `parity` entry."""
        return {
            "compared": f"torch against onnxruntime, scores of {self.images} images",
            "largest_difference": float(f"{self.largest:.3g}"),
            "median_difference": float(f"{self.median:.3g}"),
            "tolerance": SCORE_TOLERANCE,
            "batch_largest_difference": float(f"{self.batch_largest:.3g}"),
            "batch_tolerance": BATCH_TOLERANCE,
        }

    def __str__(self) -> str:
        verdict = "passed" if self.ok else "FAILED"
        return (
            f"parity {verdict}: torch against onnxruntime on {self.images} images: "
            f"largest difference {self.largest:.2e}, median {self.median:.2e} (allowed {SCORE_TOLERANCE:.0e}); "
            f"one image in batches of {', '.join(map(str, BATCHES))}, every position: "
            f"{self.batch_largest:.2e} (allowed {BATCH_TOLERANCE:.0e})"
        )


def check(model: PSCR, backend: Backend, images: Sequence[Pixels]) -> Parity:
    """Compare the trained network with the exported graph on real patches, both with the bank that `backend` holds.

    images: [P,S,S,3] uint8 RGB each; batches are filled up from the start where there are fewer than 8.
    """
    regressor = model.regressor
    with torch.inference_mode():
        features = torch.cat([model.features(torch.from_numpy(patches[None])) for patches in images])
        votes = regressor.differences(regressor.query_part(features), torch.from_numpy(backend.bank.terms))
        expected = (votes + torch.from_numpy(backend.bank.scores)).mean(1).numpy()
    found = np.concatenate([backend.infer(patches[None]).scores for patches in images])
    differences = np.abs(expected - found)
    worst = in_batches(backend, images, BATCHES)
    return Parity(len(images), float(differences.max()), float(np.median(differences)), worst)
