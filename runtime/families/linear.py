"""The linear family: encoders describe an image at two scales, and linear regressors vote on what they found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..calibration import Calibration
from ..errors import PscrError, Status
from ..model_folder import ModelFolder
from ..regressor import Regressor
from ..score_scale import ScoreScale
from .head import Floats, Head, Outputs, Signature, check_probe

OUTPUTS = ("score", "votes", "terms")
CONSTANTS = ("weights", "intercepts")
REGRESSOR = "regressor.npz"
_MOST = 1 << 20  # features


def signature(weights: Floats, intercepts: Floats) -> Signature:
    """What a linear graph takes of regressors: their weights [K,C] and intercepts [K]."""
    constants = dict(zip(CONSTANTS, (weights, intercepts), strict=True))
    return Signature(OUTPUTS, constants, len(weights), "use a regressor that was fitted on this model's features")


def voted(regressor: Regressor, features: Floats) -> Outputs:
    """The scores and votes that regressors give images by their features [N,C]."""
    votes = regressor.votes(features)
    return Outputs(votes.mean(1, dtype=np.float64).astype(np.float32), votes)


class LinearHead(Head):
    """K linear regressors on the graph's features: the model's own, or others in their place.

    regressor: None for a model that was published without one; its features can be asked for, and its scores not.
    features: C, how many numbers the encoders give. model: its name and version.
    """

    family = "linear"
    how = "A score is the mean of linear regressors on what the encoders find at two scales"

    def __init__(
        self,
        regressor: Regressor | None,
        scale: ScoreScale,
        calibration: Calibration | None = None,
        *,
        features: int = 1,
        model: str = "",
    ) -> None:
        none = np.zeros((1, features), np.float32), np.zeros(1, np.float32)
        weights, intercepts = none if regressor is None else (regressor.weights, regressor.intercepts)
        super().__init__(signature(weights, intercepts), scale, calibration)
        self.regressor, self._model = regressor, model

    @classmethod
    def read(cls, folder: ModelFolder, bank: object = None, *, head: object = None) -> LinearHead:
        """The head of a model folder, with its own regressors or others.

        Raises:
            PscrError: MODEL_INVALID for regressors that cannot be used, or a calibration that is none; FILE_NOT_FOUND,
                INVALID_ARGUMENT for `head`, and for a bank, which has nothing to do here.
        """
        if bank is not None:
            found = f"{folder.manifest.name} has regressors and no exemplars, so it takes no bank"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; give a head (pscr regress)")
        manifest, features = folder.manifest, folder.manifest.bank.get("features")
        model = f"{manifest.name} {manifest.version}"
        if head is not None:
            given = Regressor.given(head)
            return cls(given, given.score, Calibration.stated(given.about, "the head"), model=model)
        if REGRESSOR in manifest.files:
            own = Regressor.from_bytes(folder.verified(REGRESSOR), str(folder.path / REGRESSOR))
            return cls(own, manifest.score, folder.calibration(), model=model)
        if isinstance(features, bool) or not isinstance(features, int) or not 1 <= features <= _MOST:
            found = f"{folder.path}: has neither a {REGRESSOR} nor a number of features"
            raise PscrError(Status.MODEL_INVALID, f"{found}; fetch or import the model again")
        return cls(None, manifest.score, features=features, model=model)

    def on_scale(self, outputs: Outputs) -> Outputs:
        """See Head. Errors as `check_scores`."""
        self.check_scores()
        return outputs

    def check_scores(self) -> None:
        """See Head: a model that was published without a regressor has none before one is given."""
        if self.regressor is None:
            found = f"{self._model} was published without a regressor, so it has no scores of its own"
            raise PscrError(
                Status.INVALID_ARGUMENT, f"{found}; fit one with pscr regress, and name it with --head REGRESSOR"
            )

    def check(self, terms: Callable[[], Floats]) -> None:
        """See Head: a regressor of another width does not fit the graph."""
        if self.regressor is not None and self.regressor.probe is not None:
            check_probe(self.regressor.probe, terms(), self.regressor.about, self._model, "head")

    def facts(self) -> dict[str, Any]:
        """See Head."""
        return {"bank": None, "regressors": self._count}

    def lines(self) -> dict[str, str]:
        """See Head."""
        features = self.signature.constants["weights"].shape[1]
        if self.regressor is None:
            return {"head": f"linear: no regressor yet, for {features} features; pscr regress fits one"}
        return {"head": self.regressor.in_words()}

    @property
    def _count(self) -> int:
        return 0 if self.regressor is None else len(self.regressor.weights)
