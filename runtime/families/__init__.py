"""The families of models: what votes, and on which scale. To add one: a subclass of Head with `read`, and its entry.

A family's graph takes `patches` and its head's constants, and gives `score`, with `votes` where several vote.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..bank import Bank
from ..errors import PscrError, Status
from ..manifest import FILE_NAME
from ..model_folder import ModelFolder
from ..regressor import Regressor
from .direct import DirectHead
from .full_reference import FullReferenceHead
from .head import Head
from .linear import LinearHead
from .pscr import PscrHead
from .regressed import RegressedHead

FAMILIES: dict[str, Callable[[ModelFolder, Any], Head]] = {
    one.family: one.read for one in (PscrHead, DirectHead, LinearHead, FullReferenceHead)
}


def read_head(
    folder: ModelFolder,
    bank: str | os.PathLike[str] | Bank | None = None,
    head: str | os.PathLike[str] | Regressor | None = None,
) -> Head:
    """The head of a model folder.

    bank: exemplars in place of its own. head: regressors in place of what votes, for any family.

    Raises:
        PscrError: MODEL_INVALID for a family that this version does not know, or files that cannot be used;
            INVALID_ARGUMENT for both at once; those of the family's `read`.
    """
    if bank is not None and head is not None:
        raise PscrError(Status.INVALID_ARGUMENT, "a bank and a head both vote; expected one of the two, or neither")
    family = folder.manifest.family
    if family not in FAMILIES:
        known = ", ".join(map(repr, FAMILIES))
        found = f"{folder.path / FILE_NAME}: 'family' is {family[:40]!r}; this pscr reads {known}"
        raise PscrError(Status.MODEL_INVALID, f"{found}; it needs a newer pscr, or is another program's")
    if head is None:
        return FAMILIES[family](folder, bank)
    if family == LinearHead.family:
        return LinearHead.read(folder, head=head)
    model = f"{folder.manifest.name} {folder.manifest.version}"
    return RegressedHead(FAMILIES[family](folder, None), Regressor.given(head), model)
