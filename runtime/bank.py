"""The exemplar bank: precomputed terms and opinion scores of images that people have judged."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import PscrError, Status, one_line

Floats = NDArray[np.float32]
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bank:
    """K exemplars: terms [K,H] float32 (We e + b of the regressor), scores [K] float32, names [K]."""

    terms: Floats
    scores: Floats
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "bank.npz") -> Bank:
        """Read a bank.npz (keys terms, scores, names; no pickle).

        Raises:
            PscrError: MODEL_INVALID: not such a file, shapes that do not agree, another type, a number that is not
                finite; the message names `origin` and the exemplar.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                terms, scores, names = (np.asarray(archive[key]) for key in ("terms", "scores", "names"))
                listed = tuple(names.tolist())
        except Exception as error:  # zipfile, zlib and numpy raise whatever damaged bytes drive them to
            raise _invalid(
                origin, f"is not a bank ({one_line(error)}); expected an .npz of terms, scores, names"
            ) from error
        if terms.dtype != np.float32 or scores.dtype != np.float32 or names.dtype.kind != "U":
            found = f"{terms.dtype}, {scores.dtype}, {names.dtype}"
            raise _invalid(origin, f"has types {found}; expected float32 terms, float32 scores, text names")
        if terms.ndim != 2 or not len(terms) or scores.shape != (len(terms),) or names.shape != (len(terms),):
            found = f"terms {terms.shape}, scores {scores.shape}, names {names.shape}"
            raise _invalid(origin, f"has {found}; expected [K,H], [K], [K] with K of 1 or more")
        finite = np.isfinite(terms).all(axis=1) & np.isfinite(scores)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise _invalid(origin, f"exemplar {bad} ({listed[bad]!r}) is not finite; build the bank again")
        return cls(np.ascontiguousarray(terms), np.ascontiguousarray(scores), listed)

    @classmethod
    def placeholder(cls, width: int) -> Bank:
        """One exemplar of zeros, for a graph that is only asked for terms of H = `width`."""
        return cls(np.zeros((1, width), np.float32), np.zeros(1, np.float32), ("none",))

    @classmethod
    def read(cls, path: Path) -> Bank:
        """Read a bank file; see `from_bytes`.

        Raises:
            PscrError: FILE_NOT_FOUND, MODEL_INVALID.
        """
        try:
            return cls.from_bytes(path.read_bytes(), str(path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else one_line(error)
            raise PscrError(Status.FILE_NOT_FOUND, f"{path}: cannot be read ({reason}); expected a bank.npz") from error

    def write(self, path: Path) -> None:
        """Write a bank.npz that is the same to the byte for the same bank."""
        arrays: dict[str, NDArray[Any]] = {
            "terms": np.asarray(self.terms, np.float32),
            "scores": np.asarray(self.scores, np.float32),
            "names": np.asarray(self.names, dtype=str),
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for key, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{key}.npy", _EPOCH), "w") as stream:
                    np.lib.format.write_array(stream, array, allow_pickle=False)


def _invalid(origin: str, message: str) -> PscrError:
    return PscrError(Status.MODEL_INVALID, f"{origin}: {message}")
