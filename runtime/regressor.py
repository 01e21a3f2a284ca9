"""A stand-in for the file of the branch regress."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .score_scale import ScoreScale


@dataclass(frozen=True, eq=False)
class Regressor:
    """weights [K,C] and intercepts [K] float32; the scale of the scores."""

    weights: NDArray[np.float32]
    intercepts: NDArray[np.float32]
    score: ScoreScale
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes, origin: str) -> Regressor:
        """Read."""
        found = np.load(io.BytesIO(data), allow_pickle=False)
        texts = [json.loads(str(found[key][()])) for key in ("score", "about")]
        return cls(found["weights"], found["intercepts"], ScoreScale.from_dict(texts[0]), texts[1])

    @classmethod
    def read(cls, path: Path) -> Regressor:
        """Read."""
        return cls.from_bytes(path.read_bytes(), str(path))

    def write(self, path: Path) -> None:
        """Write."""
        texts = {"score": json.dumps(self.score.to_dict()), "about": json.dumps(self.about)}
        np.savez_compressed(path, weights=self.weights, intercepts=self.intercepts, **texts)
