"""The parity gate: what ships must score like the network that was trained, and like itself in any batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..runtime.backends.base import Backend
from ..runtime.sampling import Pixels
from ..training.model import PSCR

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

    def __str__(self) -> str:
        verdict = "passed" if self.ok else "FAILED"
        return (
            f"parity {verdict}: torch against onnxruntime on {self.images} images: "
            f"largest difference {self.largest:.2e}, median {self.median:.2e} (allowed {SCORE_TOLERANCE:.0e}); "
            f"one image in batches of {', '.join(map(str, BATCHES))}, every position: "
            f"{self.batch_largest:.2e} (allowed {BATCH_TOLERANCE:.0e})"
        )


def check(
    model: PSCR, backend: Backend, images: Sequence[Pixels], terms: NDArray[np.float32], scores: NDArray[np.float32]
) -> Parity:
    """Compare the trained network with the exported graph on real patches.

    images: at least 8 of [P,S,S,3] uint8 RGB. terms [K,H], scores [K]: the bank that `backend` holds.
    """
    regressor = model.regressor
    with torch.inference_mode():
        features = torch.cat([model.features(torch.from_numpy(patches[None])) for patches in images])
        votes = regressor.differences(regressor.query_part(features), torch.from_numpy(terms))
        expected = (votes + torch.from_numpy(scores)).mean(1).numpy()
    found = np.concatenate([backend.infer(patches[None]).scores for patches in images])
    differences = np.abs(expected - found)
    alone = {i: found[i] for i in range(max(BATCHES))}
    worst = 0.0
    for size in BATCHES:
        batch = np.stack(images[:size])
        for turn in range(size):
            order = [(i + turn) % size for i in range(size)]
            scored = backend.infer(np.ascontiguousarray(batch[order])).scores
            worst = max(worst, *(abs(float(alone[i] - score)) for i, score in zip(order, scored, strict=True)))
    return Parity(len(images), float(differences.max()), float(np.median(differences)), worst)
