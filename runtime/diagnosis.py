"""What an image looks like: a linear classifier of distortions on the features of a model, which stay as they are.

It is fitted by `pscr.training.diagnose` on images that were distorted on purpose. It says what an image resembles by
what the network sees of it, and never how it was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from . import npz_file
from .errors import PscrError, Status, one_line
from .npz_file import NpzFile

Floats = NDArray[np.float32]
FILE = "diagnosis.npz"
CLEAN = "clean"
LEAST, MOST = 1.0, 5.0  # degrees
_MOST_TYPES = 1000


@dataclass(frozen=True)
class Diagnosis:
    """What one image looks like.

    kind: what it resembles most, a group of distortions such as "blur", or `CLEAN` where nothing stands out.
    probability: of that kind, by the classifier. degree: how much people would be disturbed, 1 (not at all) to 5.
    all: the probability of every kind, which sum to 1; empty where it was read back from a file of results.
    """

    kind: str
    probability: float
    degree: float
    all: Mapping[str, float] = field(default_factory=dict, hash=False)

    def in_words(self) -> str:
        """What stands after "looks like", such as `blur (82 %), degree 3.4 of 5`, or `clean (91 %)`."""
        text = f"{self.kind} ({100 * self.probability:.0f} %)"
        return text if self.kind == CLEAN else f"{text}, degree {self.degree:.1f} of {MOST:.0f}"


@dataclass(frozen=True, eq=False)
class Classifier:
    """Multinomial logistic regression over T types of distortions, and a linear regression of the degree, on C
    features. A kind is a group of types, and its probability the sum of theirs.

    kinds: of each type, T names. weights [T,C], intercepts [T]: a type's logit is weights . features + intercept.
    degree: [C+1], the weights of the degree and, last, its intercept. All of float32.
    probe: features [C] of the first golden image, by which the model that it belongs to is known again.
    about: how it was fitted, and how often it is right, plain values.
    """

    kinds: tuple[str, ...]
    weights: Floats
    intercepts: Floats
    degree: Floats
    probe: Floats
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def groups(self) -> tuple[str, ...]:
        """The different kinds, `CLEAN` the last."""
        return tuple(sorted(dict.fromkeys(self.kinds), key=lambda kind: kind == CLEAN))

    def probabilities(self, features: Floats) -> NDArray[np.float64]:
        """Of each of `groups`, for images by their features [N,C]: [N,G]."""
        logits = features.astype(np.float64) @ self.weights.T.astype(np.float64) + self.intercepts
        shares = np.exp(logits - logits.max(1, keepdims=True))
        member = np.array([[kind == group for group in self.groups] for kind in self.kinds], np.float64)
        found: NDArray[np.float64] = shares @ member / shares.sum(1, keepdims=True)
        return found

    def degrees(self, features: Floats) -> NDArray[np.float64]:
        """Of images by their features [N,C]: [N], 1 to 5."""
        line = self.degree.astype(np.float64)
        return np.clip(features.astype(np.float64) @ line[:-1] + line[-1], LEAST, MOST)

    def diagnose(self, features: Floats) -> Diagnosis:
        """What an image looks like by its features [C]."""
        every = dict(zip(self.groups, self.probabilities(features[None])[0].tolist(), strict=True))
        kind = max(every, key=every.__getitem__)
        return Diagnosis(kind, every[kind], float(self.degrees(features[None])[0]), every)

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = FILE) -> Classifier:
        """Read a diagnosis.npz (keys kinds, weights, intercepts, degree, probe, about).

        Raises:
            PscrError: MODEL_INVALID: not such a file, shapes that do not agree, another type, a number that is not
                finite; the message names `origin`.
        """
        try:
            file = NpzFile(data)
            weights, intercepts, degree, probe = map(file.array, ("weights", "intercepts", "degree", "probe"))
            kinds, about = map(file.value, ("kinds", "about"))
            types, features = weights.shape
            if not 2 <= types <= _MOST_TYPES or not features:
                raise ValueError(f"weights {weights.shape}; expected two types or more, up to {_MOST_TYPES}")
            for array, shape in (
                (weights, (types, features)),
                (intercepts, (types,)),
                (degree, (features + 1,)),
                (probe, (features,)),
            ):
                if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                    raise ValueError(f"{array.dtype} {array.shape}; expected finite float32 {shape}")
            if not isinstance(about, dict) or not isinstance(kinds, list) or len(kinds) != types:
                raise ValueError(f"'about' is no object, or 'kinds' not {types} names")
            if not all(isinstance(kind, str) and kind.isprintable() and 0 < len(kind) <= 40 for kind in kinds):
                raise ValueError("'kinds' are not names of 40 characters at most")
            if CLEAN not in kinds:
                raise ValueError(f"no kind is {CLEAN!r}")
            return cls(tuple(kinds), weights, intercepts, degree, probe, about)
        except Exception as error:  # zipfile, zlib and numpy raise whatever damaged bytes drive them to
            raise PscrError(
                Status.MODEL_INVALID, f"{origin}: is no diagnosis ({one_line(error)}); fit or fetch it again"
            ) from error

    def write(self, path: Path | IO[bytes]) -> None:
        """Write a diagnosis.npz that is the same to the byte for the same classifier.

        Raises:
            OSError: it cannot be written.
        """
        entries = {key: np.asarray(getattr(self, key), np.float32) for key in ("weights", "intercepts", "degree")}
        entries |= {"probe": np.asarray(self.probe, np.float32)}
        npz_file.write(path, {**entries, "kinds": list(self.kinds), "about": self.about})
