"""Finding a model folder by name or by path."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import PscrError, Status
from .manifest import FILE_NAME

PACKAGED = Path(__file__).parent / "models"


def packaged() -> list[str]:
    """The names of the models that are installed with the package."""
    return sorted(path.parent.name for path in PACKAGED.glob(f"*/{FILE_NAME}"))


def locate(model: str | os.PathLike[str]) -> Path:
    """The folder of a model: the name of a packaged model, or else a folder with a manifest.json.

    A folder that happens to have a packaged model's name is named with a separator in it, such as "./agiqa3k-pair".

    Raises:
        PscrError: MODEL_INVALID, the message lists the names there are; INVALID_ARGUMENT where it is no path.
    """
    try:
        path = Path(model)
    except TypeError as error:
        raise PscrError(
            Status.INVALID_ARGUMENT, f"model is a {type(model).__name__}; expected a name or the path of a model folder"
        ) from error
    if os.fspath(model) in packaged():
        return PACKAGED / path
    try:
        if (path / FILE_NAME).is_file():
            return path
    except OSError as error:  # a name too long for a path, a folder that may not be entered
        raise PscrError(
            Status.MODEL_INVALID, f"{path}: cannot be read ({error.strerror}); pass a model folder"
        ) from error
    known = f"expected a model folder or one of: {', '.join(packaged()) or '(none installed)'}"
    if path.is_dir():
        raise PscrError(Status.MODEL_INVALID, f"{path}: a folder without {FILE_NAME}; {known}")
    raise PscrError(Status.MODEL_INVALID, f"model {str(model)!r} is not known; {known}")
