"""Folders of images without labels, of which self-supervised training and the classifier of distortions are made."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..runtime.errors import PscrError, Status
from ..runtime.image_endings import advice, readable


def images_below(folders: Sequence[str | Path]) -> list[Path]:
    """The image files in folders, to any depth, hidden ones and linked folders left out; each path once, in order.

    Raises:
        PscrError: FILE_NOT_FOUND: a folder that is not there; INVALID_ARGUMENT: one in which no image is.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise PscrError(Status.FILE_NOT_FOUND, f"{folder}: no such folder; expected a folder of images")
        inside = sorted(_below(folder))
        if not inside:
            expected = f"expected files ending in {' '.join(sorted(readable()))}"
            raise PscrError(Status.INVALID_ARGUMENT, f"{folder}: no images in this folder; {expected}{advice()}")
        found.update(dict.fromkeys(inside))
    return list(found)


def _below(folder: str | Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(parent, name)
            if not name.startswith(".") and file.suffix.lower() in readable() and file.is_file():
                yield file
