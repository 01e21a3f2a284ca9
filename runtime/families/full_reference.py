"""The full-reference family: linear regressors on how far an image's features are from those of its original."""

from __future__ import annotations

import numpy as np

from ..errors import PscrError, Status
from ..model_folder import ModelFolder
from .head import Floats, Outputs
from .linear import REGRESSOR, LinearHead, voted


class FullReferenceHead(LinearHead):
    """K linear regressors on |f_reference - f_image| (CONTRIQUE, demo_score_FR.py); the graph is the linear family's.

    Such features are never negative, so against a reference whose features are all 0 the score is the one that the
    graph itself gives: by it the export, conversions and `pscr verify` compare.
    """

    family = "full-reference"
    how = "A score is the mean of linear regressors on how far an image's features are from those of its original"
    reads_terms = True
    needs_reference = True

    @classmethod
    def read(cls, folder: ModelFolder, bank: object = None, *, head: object = None) -> LinearHead:
        """See LinearHead.

        Raises:
            PscrError: those of LinearHead; MODEL_INVALID where there is no regressor.
        """
        found = super().read(folder, bank, head=head)
        if found.regressor is None:
            told = f"{folder.path}: is a full-reference model without a {REGRESSOR}"
            raise PscrError(Status.MODEL_INVALID, f"{told}; fetch or import the model again")
        return found

    def on_terms(self, terms: Floats, reference: Floats | None = None) -> Outputs:
        """See Head."""
        assert self.regressor is not None  # `read` has seen to it
        assert reference is not None  # and the Scorer to this
        return voted(self.regressor, np.abs(reference - terms))

    def lines(self) -> dict[str, str]:
        """See Head."""
        return super().lines() | {"reference": "needed: the original of each image, of the same size"}
