"""Linear regressors on the features of a model of any family, in place of what votes in its graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..calibration import Calibration
from ..regressor import Regressor
from .head import Floats, Head, Outputs, check_probe
from .linear import voted


class RegressedHead(Head):
    """K regressors on the graph's `terms` [C]: `pscr regress` fits them. The graph, and every engine, stays as it is.

    own: the model's own head, whose constants the graph still takes. model: name and version, for messages.
    """

    family = "regressed"
    how = "A score is the mean of linear regressors on the model's features"
    reads_terms = True

    def __init__(self, own: Head, regressor: Regressor, model: str) -> None:
        super().__init__(own.signature, regressor.score, Calibration.stated(regressor.about, "the head"))
        self.regressor, self._model = regressor, model

    def on_terms(self, terms: Floats, reference: Floats | None = None) -> Outputs:
        """See Head."""
        return voted(self.regressor, terms)

    def check(self, terms: Callable[[], Floats]) -> None:
        """See Head: regressors of another model's features, or of another width."""
        found = terms()
        check_probe(self.regressor.probe, found, self.regressor.about, self._model, "head")
        self.regressor.check_width(found.shape[-1], self._model)

    @property
    def has_spread(self) -> bool:
        """See Head."""
        return len(self.regressor) > 1

    def facts(self) -> dict[str, Any]:
        """See Head."""
        return {"bank": None, "regressors": len(self.regressor)}

    def lines(self) -> dict[str, str]:
        """See Head."""
        return {"head": self.regressor.in_words()}
