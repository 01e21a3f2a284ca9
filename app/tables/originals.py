"""The originals that `pscr score --reference` names: one for all images, or a folder with one for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from ..runtime.errors import PscrError, Status
from ..runtime.image import Source
from ..runtime.image_endings import ENDINGS
from ..runtime.pipeline import failed
from ..runtime.reference import Reference
from ..runtime.scorer import Result, Scorer

Originals: TypeAlias = "Reference | Path | None"  # looked at; the folder that they lie in; none


def originals(scorer: Scorer, named: str | None) -> Originals:
    """What --reference names.

    Raises:
        PscrError: a file that cannot be read; INVALID_ARGUMENT where the model needs a reference and none is named, or
            the other way round.
    """
    scorer.check_scores(named is not None)
    if named is None or Path(named).is_dir():
        return None if named is None else Path(named)
    return scorer.reference(named)


def original_of(path: str, given: Originals) -> str | Reference | None:
    """The original of one image: in a folder the one with its name, else the only one with its stem.

    Raises:
        PscrError: FILE_NOT_FOUND for none in the folder; INVALID_ARGUMENT for several.
    """
    if not isinstance(given, Path):
        return given
    image = Path(path)
    if (given / image.name).is_file():
        return str(given / image.name)
    found = sorted(one for one in given.iterdir() if one.stem == image.stem and one.suffix.lower() in ENDINGS)
    if len(found) == 1:
        return str(found[0])
    if found:
        told = f"{given}: has {', '.join(one.name for one in found)} for {path}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{told}; expected one original; leave one of them")
    told = f"{given}: has no original of {path}"
    raise PscrError(Status.FILE_NOT_FOUND, f"{told}; expected {image.name}, or its stem with another ending")


def score_each(scorer: Scorer, sources: Iterable[Source], folder: Path, diagnose: bool = False) -> Iterator[Result]:
    """Score each image against the original of its own, one after the other; only files have names to find it by."""
    for source in sources:
        try:
            if not isinstance(source, str):
                told = f"{folder}: images of a table have no names by which an original is found"
                raise PscrError(Status.INVALID_ARGUMENT, f"{told}; score files, or name one original for all")
            yield scorer.score(source, reference=original_of(source, folder), diagnose=diagnose)
        except PscrError as error:
            yield failed(source, error)
