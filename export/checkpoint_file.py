"""Reading a torch checkpoint without executing anything in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..runtime.errors import PscrError, Status, one_line


def read_checkpoint(file: Path, expected: str, allowed: Sequence[Any] = ()) -> Any:
    """What a checkpoint holds. expected: what it should be, for messages. allowed: see torch's `safe_globals`.

    Raises:
        PscrError: FILE_NOT_FOUND; MODEL_INVALID for what torch does not read with `weights_only`.
    """
    if not file.is_file():
        raise PscrError(Status.FILE_NOT_FOUND, f"{file}: no such checkpoint; expected {expected}")
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zipfile and torch raise whatever damaged bytes drive them to
        raise PscrError(Status.MODEL_INVALID, f"{file}: not a readable torch checkpoint ({one_line(error)})") from error
