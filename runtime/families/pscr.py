"""The PSCR family: exemplars of known score vote, each by the difference that the network sees to the image."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..bank import Bank
from ..calibration import Calibration
from ..errors import PscrError, Status
from ..model_folder import ModelFolder
from ..score_scale import ScoreScale
from .head import Floats, Head, Outputs, Signature, check_probe

OUTPUTS = ("score", "votes", "terms")
CONSTANTS = ("bank_terms", "bank_scores")
BANK = "bank.npz"


def signature(bank: Bank) -> Signature:
    """What a PSCR graph takes of this bank: its exemplars' terms [K,H] and scores [K], in the model's units."""
    units = bank.in_model_units()
    constants = dict(zip(CONSTANTS, (units.terms, units.scores), strict=True))
    return Signature(OUTPUTS, constants, len(bank), "use a bank that was built with this model")


def exemplars(head: Head) -> tuple[str, ...]:
    """The names of a head's exemplars; none where it has no bank."""
    return head.bank.names if isinstance(head, PscrHead) else ()


class PscrHead(Head):
    """A bank of exemplars: the model's own, or another in its place, which brings its own scale and calibration.

    model: name and version of the model, for the message where a bank is another's. chosen: where the bank is from.
    """

    family = "pscr"
    how = "A score is the mean over the exemplars of (exemplar's opinion score + predicted difference)"

    def __init__(
        self,
        bank: Bank,
        scale: ScoreScale,
        calibration: Calibration | None = None,
        *,
        model: str = "",
        chosen: str = "",
    ) -> None:
        super().__init__(signature(bank), scale, calibration)
        self.bank, self._model, self._chosen = bank, model, chosen

    @classmethod
    def read(cls, folder: ModelFolder, bank: object = None) -> PscrHead:
        """The head of a model folder, with its own bank or another.

        Raises:
            PscrError: MODEL_INVALID for a bank that cannot be used, that runs against the model's scores, or a
                calibration that is none; FILE_NOT_FOUND, INVALID_ARGUMENT for `bank`.
        """
        manifest = folder.manifest
        model = f"{manifest.name} {manifest.version}"
        if bank is None:
            own = Bank.from_bytes(folder.verified(BANK), str(folder.path / BANK))
            chosen = str(manifest.bank.get("selection") or "")
            return cls(own, manifest.score, folder.calibration(), model=model, chosen=chosen)
        found, origin = _given(bank)
        calibration = Calibration.stated(found.about, "the bank")
        return cls(found, scale_of(found, manifest.score), calibration, model=model, chosen=origin)

    def on_scale(self, outputs: Outputs) -> Outputs:
        """See Head."""
        slope, votes = self.bank.scale, outputs.votes
        if slope == 1:
            return outputs
        return outputs._replace(scores=slope * outputs.scores, votes=None if votes is None else slope * votes)

    def check(self, terms: Callable[[], Floats]) -> None:
        """See Head: a bank whose terms another network computed has the right width by chance only."""
        if self.bank.probe is not None:
            check_probe(self.bank.probe, terms(), self.bank.about, self._model, "bank")

    def facts(self) -> dict[str, Any]:
        """See Head."""
        return {"bank": len(self.bank)}

    def lines(self) -> dict[str, str]:
        """See Head."""
        return {"bank": f"{len(self.bank)} exemplars" + f" ({self._chosen})" * bool(self._chosen)}


def scale_of(bank: Bank, model: ScoreScale) -> ScoreScale:
    """The scale of a bank that stands in place of a model's own: as it was built, else as its labels lie.

    Raises:
        PscrError: MODEL_INVALID for a bank whose better end is not where its labels have it.
    """
    higher = model.higher_is_better == (bank.scale > 0)
    if bank.score is None:
        low, high = float(bank.scores.min()), float(bank.scores.max())
        return ScoreScale("opinion score", "the bank", (low, high if high > low else low + 1), higher)
    if bank.score.higher_is_better != higher:
        words = [f"{'higher' if one else 'lower'} is better" for one in (bank.score.higher_is_better, higher)]
        found = f"the bank says that {words[0]}, and its labels run with this model's scores as if {words[1]}"
        raise PscrError(Status.MODEL_INVALID, f"{found}; build it again with this model")
    return bank.score


def _given(bank: Any) -> tuple[Bank, str]:
    """The bank, and where it comes from in words."""
    if isinstance(bank, Bank):
        return bank, "given by the program"
    try:
        return Bank.read(Path(bank)), os.fspath(bank)
    except TypeError as error:
        found = f"bank is a {type(bank).__name__}; expected the path of a bank.npz, or a Bank"
        raise PscrError(Status.INVALID_ARGUMENT, found) from error
