"""Databases of images with human opinion scores: AGIQA-3K and any CSV file."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import PscrError, Status


@dataclass(frozen=True)
class Item:
    """One labelled image.

    name: the image as the label file names it. group: what must not stand on both sides of a split by prompt.
    """

    name: str
    path: Path
    score: float
    group: str


@dataclass(frozen=True)
class Database:
    """Labelled images in the order of their label file.

    name: goes into the manifest. label: what the score is. scale: its lowest and highest possible value.
    """

    name: str
    label: str
    scale: tuple[float, float]
    items: tuple[Item, ...]


def load(spec: str, *, path_column: str = "path", score_column: str = "score", group_column: str = "") -> Database:
    """Read the database that `spec` names: "agiqa3k:DIR" or "csv:FILE".

    The columns are those of a `csv:` file; its paths may be relative to the file's folder. Without a group column
    every image is a group of its own.

    Raises:
        PscrError: INVALID_ARGUMENT for a bad spec; FILE_NOT_FOUND for a missing label file or image;
            also for a label that cannot be used. Messages name the file and the row.
    """
    kind, _, location = spec.partition(":")
    if kind == "agiqa3k" and location:
        return _agiqa3k(Path(location))
    if kind == "csv" and location:
        return _csv(Path(location), path_column, score_column, group_column)
    raise PscrError(Status.INVALID_ARGUMENT, f"database {spec!r} is not known; expected agiqa3k:DIR or csv:FILE")


def _agiqa3k(folder: Path) -> Database:
    items = _items(folder / "data.csv", folder / "images", "name", "mos_quality", "prompt")
    return Database("AGIQA-3K", "mos_quality", (0.0, 5.0), items)


def _csv(file: Path, path_column: str, score_column: str, group_column: str) -> Database:
    items = _items(file, file.parent, path_column, score_column, group_column)
    scores = [item.score for item in items]
    return Database(file.stem, score_column, (min(scores), max(scores)), items)


def _items(file: Path, root: Path, path_column: str, score_column: str, group_column: str) -> tuple[Item, ...]:
    if not file.is_file():
        raise PscrError(Status.FILE_NOT_FOUND, f"{file}: no such label file")
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = reader.fieldnames or []
        for column in filter(None, (path_column, score_column, group_column)):
            if column not in columns:
                raise _bad(file, f"has no column {column!r}; it has {', '.join(columns) or 'none'}")
        items: list[Item] = []
        seen: dict[str, int] = {}
        for row in reader:
            line, name = reader.line_num, row[path_column]
            if not name:
                raise _bad(file, f"row {line}: the {path_column} is empty")
            if name in seen:
                raise _bad(file, f"row {line}: {name} stands in row {seen[name]} already")
            seen[name] = line
            path = root / name
            if not path.is_file():
                raise PscrError(Status.FILE_NOT_FOUND, f"{file}: row {line}: no image {path}")
            group = row[group_column] if group_column else name
            items.append(Item(name, path, _score(file, line, row[score_column]), group))
    if not items:
        raise _bad(file, "has no rows")
    return tuple(items)


def _score(file: Path, line: int, text: str | None) -> float:
    try:
        score = float(text or "")
    except ValueError:
        raise _bad(file, f"row {line}: the score {text!r} is not a number") from None
    if not math.isfinite(score):
        raise _bad(file, f"row {line}: the score is {text}; expected a finite number")
    return score


def _bad(file: Path, message: str) -> PscrError:
    return PscrError(Status.INVALID_ARGUMENT, f"{file}: {message}")
