"""A model's head: what its graph needs besides pixels, what it gives, and how that becomes a score (DESIGN 3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..calibration import Calibration
from ..errors import PscrError, Status
from ..score_scale import ScoreScale

Floats = NDArray[np.float32]
_SAME_TERMS = 0.3  # relative distance of a probe: fp16 has 0.007, int8 0.1, another training run 1.1


class Row(NamedTuple):
    """What a graph gives for one image: its score, its votes [K] and its terms [C], each as in `Outputs`; float32."""

    score: np.float32
    votes: Floats | None = None
    terms: Floats | None = None


class Outputs(NamedTuple):
    """What a graph gives for N images: scores [N], votes [N,K] where its family votes, terms [N,C] where they were
    asked for; float32.
    """

    scores: Floats
    votes: Floats | None = None
    terms: Floats | None = None

    def rows(self) -> Iterator[Row]:
        """The same image by image."""
        for place, score in enumerate(self.scores):
            yield Row(score, *(None if one is None else one[place] for one in (self.votes, self.terms)))


@dataclass(frozen=True)
class Signature:
    """A graph's inputs besides `patches`, and its outputs: all that a backend knows of a head.

    constants: by input name, float32, the same for every inference. outputs: of `score`, `votes`, `terms`.
    votes: how many votes (K) an image has; 0 where `votes` is no output.
    advice: what to do where the constants do not fit the graph.
    """

    outputs: tuple[str, ...]
    constants: Mapping[str, Floats] = field(default_factory=dict)
    votes: int = 0
    advice: str = "fetch or export the model again"


class Head(ABC):
    """A model's head. One subclass for each family.

    scale: what the scores mean. calibration: what the spread, or a constant width, stands for; None where it was not
    measured.
    """

    family: ClassVar[str]
    reads_terms: ClassVar[bool] = False  # and not the scores that the graph gives
    needs_reference: ClassVar[bool] = False  # the undistorted original of each image
    how: ClassVar[str]  # a score comes about, in words

    def __init__(self, signature: Signature, scale: ScoreScale, calibration: Calibration | None) -> None:
        self.signature, self.scale, self.calibration = signature, scale, calibration

    def on_scale(self, outputs: Outputs) -> Outputs:
        """What the graph gave, in the units of `scale`."""
        return outputs

    def on_terms(self, terms: Floats, reference: Floats | None = None) -> Outputs:
        """The scores of images by the graph's terms [N,C], of a head that reads these.

        reference: the terms [C] of the original, for a head that needs one.
        """
        raise NotImplementedError

    def spread(self, votes: Floats | None) -> float | None:
        """The standard deviation (population) of an image's votes [K]; None where fewer than two vote."""
        if votes is None or len(votes) < 2:
            return None
        with np.errstate(invalid="ignore"):  # NaN for infinite votes: whoever asks sees to it, and NumPy need not warn
            return float(votes.std(dtype=np.float64))

    def check_scores(self) -> None:
        """See that the head gives scores at all.

        Raises:
            PscrError: INVALID_ARGUMENT where something must be given first.
        """
        return

    @abstractmethod
    def check(self, terms: Callable[[], Floats]) -> None:
        """See that the head belongs to the open graph. terms: gives the graph's for the first golden image, [H].

        Raises:
            PscrError: MODEL_INVALID.
        """

    @property
    def has_spread(self) -> bool:
        """Whether scores have a spread."""
        return self.signature.votes > 1

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What `Scorer.info` says of the head beside its scale, as plain values."""

    @abstractmethod
    def lines(self) -> dict[str, str]:
        """The same in words, for `pscr info` and the report."""


def check_probe(probe: Floats | None, found: Floats, about: Mapping[str, Any], model: str, what: str) -> None:
    """See that a file was made with this model: what another network finds has the right width by chance only.

    probe: terms [C] of the first golden image that the file holds, None where it has none; found: the open graph's.
    about: of the file, with the model's name and version. what: the file is, in a word.

    Raises:
        PscrError: MODEL_INVALID.
    """
    if probe is None:
        return
    if probe.shape == found.shape:
        distance = float(np.linalg.norm(found - probe) / max(float(np.linalg.norm(found)), 1e-12))
        if distance <= _SAME_TERMS:
            return
    built = " ".join(str(about.get(key, "?")) for key in ("model", "version"))
    told = f"the {what} was built with another model ({built}; this is {model})"
    raise PscrError(Status.MODEL_INVALID, f"{told}; build it again with this one")
