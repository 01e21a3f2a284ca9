"""The patch samplings, one small class each. To add one: a subclass of Sampling in a file, and its entry here."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..errors import PscrError, Status
from .base import VIEW, WINDOWS, Pixels, Plan, Sampling, pad_to
from .dense import Dense
from .grid import Nops, Ops
from .resize import Resize
from .rps import Rps
from .whole import Whole

__all__ = [
    "SAMPLINGS",
    "VIEW",
    "WINDOWS",
    "Dense",
    "Nops",
    "Ops",
    "Pixels",
    "Plan",
    "Resize",
    "Rps",
    "Sampling",
    "Whole",
    "pad_to",
    "read",
]

SAMPLINGS: dict[str, type[Sampling]] = {one.method: one for one in (Ops, Nops, Rps, Dense, Resize, Whole)}


def read(entry: dict[str, Any]) -> Sampling:
    """Read the manifest's `sampling` entry.

    Raises:
        PscrError: MODEL_INVALID where the method is not known, a key is missing, of the wrong type, or does not fit.
    """
    try:
        method = str(entry["method"])
        if method not in SAMPLINGS:
            found = f"sampling method {method!r} is not known; expected one of {', '.join(SAMPLINGS)}"
            raise PscrError(Status.MODEL_INVALID, found)
        taken = _keys(SAMPLINGS[method])
        others = set().union(*map(_keys, SAMPLINGS.values())) - taken
        alien = sorted(key for key in others if entry.get(key))
        if alien:
            raise PscrError(
                Status.MODEL_INVALID, f"sampling does not fit: method {method!r} takes no {', '.join(alien)}"
            )
        return SAMPLINGS[method].from_entry(entry)
    except (KeyError, TypeError, ValueError) as error:
        raise PscrError(
            Status.MODEL_INVALID,
            f"manifest 'sampling' is not usable ({error!r}); expected method, patch, starts, reference_side",
        ) from error


def _keys(kind: type[Sampling]) -> set[str]:
    return {one.name for one in fields(kind)}
