"""Linear regressors on a model's features: weights, intercepts, and what their scores mean."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import npz_file
from .errors import PscrError, Status, one_line
from .npz_file import NpzFile
from .score_scale import ScoreScale

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Regressor:
    """K regressors of C features: a score is the mean over k of weights[k] . features + intercepts[k].

    weights [K,C], intercepts [K] float32. score: the scale of the scores. about: how they were fitted, plain values.
    probe: terms [C] of the first golden image, by which the model that they belong to is known again; None without.
    """

    weights: Floats
    intercepts: Floats
    score: ScoreScale
    about: dict[str, Any] = field(default_factory=dict)
    probe: Floats | None = None

    def votes(self, features: Floats) -> Floats:
        """What each regressor gives images by their features [N,C]: [N,K] float32."""
        found = features.astype(np.float64) @ self.weights.T.astype(np.float64) + self.intercepts
        return np.asarray(found, np.float32)

    def check_width(self, features: int, model: str) -> None:
        """See that it is for as many features as a model has.

        Raises:
            PscrError: MODEL_INVALID.
        """
        if self.weights.shape[1] != features:
            found = f"the head is for {self.weights.shape[1]} features, and {model} has {features}"
            raise PscrError(Status.MODEL_INVALID, f"{found}; fit one with this model")

    def in_words(self) -> str:
        """How many there are, and on what."""
        what = "1 regressor; no spread" if len(self) == 1 else f"{len(self)} regressors, which vote"
        return f"linear: {what}, on {self.weights.shape[1]} features"

    def __len__(self) -> int:
        return len(self.weights)

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "regressor.npz") -> Regressor:
        """Read a regressor.npz (keys weights, intercepts, score, about).

        Raises:
            PscrError: MODEL_INVALID: not such a file, shapes that do not agree, another type, a number that is not
                finite; the message names `origin`.
        """
        try:
            file = NpzFile(data)
            weights, intercepts = map(file.array, ("weights", "intercepts"))
            score, about = map(file.value, ("score", "about"))
            probe = file.get("probe")
            if weights.dtype != np.float32 or intercepts.dtype != np.float32:
                raise TypeError(f"weights of {weights.dtype}, intercepts of {intercepts.dtype}; not float32")
            if weights.ndim != 2 or not weights.size or intercepts.shape != weights.shape[:1]:
                raise ValueError(f"weights {weights.shape}, intercepts {intercepts.shape}; not [K,C] and [K]")
            if not (np.isfinite(weights).all() and np.isfinite(intercepts).all() and isinstance(about, dict)):
                raise ValueError("numbers that are not finite, or 'about' is no object")
            if probe is not None and (
                probe.dtype != np.float32 or probe.shape != weights.shape[1:] or not np.isfinite(probe).all()
            ):
                raise ValueError(f"a probe {probe.dtype} {probe.shape}; not finite float32 {weights.shape[1:]}")
            return cls(np.ascontiguousarray(weights), intercepts, ScoreScale.from_dict(score), about, probe)
        except Exception as error:  # zipfile, zlib and numpy raise whatever damaged bytes drive them to
            raise PscrError(
                Status.MODEL_INVALID, f"{origin}: is no regressor ({one_line(error)}); fit or fetch it again"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Regressor:
        """Read a regressor's file; see `from_bytes`.

        Raises:
            PscrError: FILE_NOT_FOUND, MODEL_INVALID.
        """
        return cls.from_bytes(npz_file.read(path, "the file of a regressor, a head.npz"), str(path))

    @classmethod
    def given(cls, head: object) -> Regressor:
        """What stands for a head: a Regressor, or the path of its file.

        Raises:
            PscrError: INVALID_ARGUMENT for something else; those of `read`.
        """
        if isinstance(head, Regressor):
            return head
        if not isinstance(head, (str, os.PathLike)):
            found = f"head is a {type(head).__name__}; expected the path of a file of pscr regress, or a Regressor"
            raise PscrError(Status.INVALID_ARGUMENT, found)
        return cls.read(Path(head))

    def write(self, path: Path | IO[bytes]) -> None:
        """Write a regressor.npz that is the same to the byte for the same regressor.

        Raises:
            OSError: it cannot be written.
        """
        entries = {
            "weights": np.asarray(self.weights, np.float32),
            "intercepts": np.asarray(self.intercepts, np.float32),
            "score": self.score.to_dict(),
            "about": self.about,
            "probe": None if self.probe is None else np.asarray(self.probe, np.float32),
        }
        npz_file.write(path, entries)
