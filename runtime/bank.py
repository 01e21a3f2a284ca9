"""The exemplar bank: precomputed terms and opinion scores of images that people have judged."""

from __future__ import annotations

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
_ARRAYS = ("terms", "scores", "names")


@dataclass(frozen=True)
class Bank:
    """K exemplars: terms [K,H] float32 (We e + b of the regressor), scores [K] float32, names [K].

    scale, offset: units of `scores` per unit of the model's own opinion scores, and what is added; 1 and 0 for the
        model's own bank. A vote is score + offset + scale * predicted difference.
    probe: terms [H] of the first golden image (see golden.py), by which the model that the terms belong to is known
        again; None where the bank comes with its model.
    about: how the bank was made and how good it is (`pscr bank show`), as plain values.
    score: what the bank's scores mean; None where it votes on its model's own scale, or does not say.
    """

    terms: Floats
    scores: Floats
    names: tuple[str, ...]
    scale: float = 1.0
    offset: float = 0.0
    probe: Floats | None = None
    about: dict[str, Any] = field(default_factory=dict)
    score: ScoreScale | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def in_model_units(self) -> Bank:
        """The bank as the graph takes it, whose votes are this bank's divided by `scale`."""
        if self.scale == 1 and self.offset == 0:
            return self
        return Bank(self.terms, ((self.scores + self.offset) / self.scale).astype(np.float32), self.names)

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "bank.npz") -> Bank:
        """Read a bank.npz (keys terms, scores, names, and of a bank that was built: line, probe, about, score).

        No more is allocated than the file itself says, than 100 times its size (or 1 MiB), and than 1 GiB.

        Raises:
            PscrError: MODEL_INVALID: not such a file, shapes that do not agree, another type, a number that is not
                finite; the message names `origin` and the exemplar.
        """
        try:
            file = NpzFile(data)
            terms, scores, names = map(file.array, _ARRAYS)
            line = file.array("line") if "line" in file else np.array([1.0, 0.0])
            probe = file.get("probe")
            about = file.value("about") if "about" in file else {}
            entry = file.value("score") if "score" in file else None
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
        if line.dtype != np.float64 or line.shape != (2,) or not np.isfinite(line).all() or not abs(line[0]) > 1e-9:
            raise _invalid(origin, f"has line {line!r}; expected scale (not 0) and offset, float64; build it again")
        if probe is not None and (
            probe.dtype != np.float32 or probe.shape != terms.shape[1:] or not np.isfinite(probe).all()
        ):
            raise _invalid(
                origin, f"has a probe {probe.dtype} {probe.shape}; expected finite float32 {terms.shape[1:]}"
            )
        if not isinstance(about, dict):
            raise _invalid(origin, f"has a JSON {type(about).__name__} in 'about'; expected an object; build it again")
        try:
            scale = None if entry is None else ScoreScale.from_dict(entry)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _invalid(origin, f"does not say what its scores mean ({error!r}); build the bank again") from error
        terms, scores = np.ascontiguousarray(terms), np.ascontiguousarray(scores)
        return cls(terms, scores, listed, float(line[0]), float(line[1]), probe, about, scale)

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
        return cls.from_bytes(npz_file.read(path, "a bank.npz"), str(path))

    def write(self, path: Path | IO[bytes]) -> None:
        """Write a bank.npz, to a file or a stream, that is the same to the byte for the same bank.

        Raises:
            OSError: it cannot be written.
        """
        fitted = (self.scale, self.offset) != (1, 0)
        entries = {
            "terms": np.asarray(self.terms, np.float32),
            "scores": np.asarray(self.scores, np.float32),
            "names": np.asarray(self.names, dtype=str),
            "line": np.asarray([self.scale, self.offset], np.float64) if fitted else None,
            "probe": None if self.probe is None else np.asarray(self.probe, np.float32),
            "about": self.about or None,
            "score": self.score and self.score.to_dict(),
        }
        npz_file.write(path, entries)


def _invalid(origin: str, message: str) -> PscrError:
    return PscrError(Status.MODEL_INVALID, f"{origin}: {message}")
