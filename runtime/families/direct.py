"""The direct family: the graph gives the score itself; nobody votes (NR, the baseline of the PSCR paper)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..calibration import Calibration
from ..errors import PscrError, Status
from ..model_folder import ModelFolder
from ..score_scale import ScoreScale
from .head import Floats, Head, Signature

OUTPUTS = ("score", "terms")


class DirectHead(Head):
    """No constants, no votes, so no spread; `terms` are the features that the last layer sees."""

    family = "direct"
    how = "A score is what the network gives, without exemplars"

    def __init__(self, scale: ScoreScale, calibration: Calibration | None = None) -> None:
        super().__init__(Signature(OUTPUTS), scale, calibration)

    @classmethod
    def read(cls, folder: ModelFolder, bank: object = None) -> DirectHead:
        """The head of a model folder.

        Raises:
            PscrError: MODEL_INVALID (calibration); INVALID_ARGUMENT for a bank, which has nothing to do here.
        """
        if bank is not None:
            found = f"{folder.manifest.name} scores directly, without exemplars, so it takes no bank"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; use a model of the family pscr")
        return cls(folder.manifest.score, folder.calibration())

    def check(self, terms: Callable[[], Floats]) -> None:
        """See Head: nothing here belongs to another model."""

    def facts(self) -> dict[str, Any]:
        """See Head."""
        return {"bank": None}

    def lines(self) -> dict[str, str]:
        """See Head."""
        return {"head": "direct: the network gives the score itself; no exemplars, no spread"}
