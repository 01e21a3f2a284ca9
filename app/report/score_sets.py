"""The two sides of `pscr compare`: results, or images that are scored now, with keys and groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..console import UsageError
from ..progress import Progress
from ..runtime.scorer import Scorer
from ..tables.fields import ResultRow
from ..tables.formats import BY_ENDING, read_table
from ..tables.inputs import expand
from ..tables.scoring import in_order
from .labels import Labels
from .two_sets import Scored

PATH_STEM = "path-stem"


@dataclass(frozen=True)
class Asked:
    """Which columns are asked for, and where they are looked for beside the results.

    key, group: names of columns, or `PATH_STEM`; None for none. file: a csv of further columns.
    """

    key: str | None = None
    group: str | None = None
    file: Path | None = None
    path_column: str = "path"

    @property
    def columns(self) -> list[str]:
        """Those that have to be looked for."""
        return [name for name in dict.fromkeys((self.key, self.group)) if name not in (None, PATH_STEM)]


@dataclass(frozen=True)
class ScoreSet:
    """One side. rows: of all its images, also of those without a score. earlier: whether they were there already."""

    name: str
    rows: Sequence[ResultRow]
    earlier: bool

    @property
    def failed(self) -> int:
        return sum(not row.result.ok for row in self.rows)

    @property
    def promised(self) -> list[tuple[str, float]]:
        """Paths and scores by which the model can be recognised."""
        return [(row.result.path or "", row.result.score) for row in self.rows if self.earlier and row.result.ok]


def read_set(name: str, asked: Asked) -> ScoreSet | None:
    """The results that a path names; None where it names images, of which columns are told by a file alone.

    Raises:
        UsageError, PscrError: as `read_table`, or there is no such file.
    """
    path = Path(name)
    if path.suffix.lower() in BY_ENDING or (path.is_dir() and any(path.glob("*.parquet"))):
        return ScoreSet(name, read_table(path, asked.columns), True)
    for column in asked.columns:
        _labels(name, column, asked)
    return None


def score_set(name: str, scorer: Scorer, quiet: bool) -> ScoreSet:
    """The results of the images that a path stands for.

    Raises:
        UsageError: there are none.
    """
    items = expand([name])
    if all(item.problem for item in items):
        raise UsageError(f"nothing to compare in {name}: {items[0].problem}")
    progress = Progress(len(items), quiet)
    rows = []
    try:
        for result in in_order(scorer, iter(items), None):
            rows.append(ResultRow(result, {}))
            progress.step()
    finally:
        progress.hide()
    return ScoreSet(name, rows, False)


def scored(given: ScoreSet, asked: Asked) -> list[Scored]:
    """The images that have a score, with their keys and groups.

    Raises:
        UsageError: none has one, or a column is not to be found.
    """
    rows = [row for row in given.rows if row.result.ok]
    if not rows:
        why = next((f" ({row.result.message})" for row in given.rows if row.result.message), "")
        raise UsageError(f"nothing to compare in {given.name}: no image has a score{why}")
    keys, groups = (_cells(given.name, rows, column, asked) for column in (asked.key, asked.group))
    return [Scored(row.result.score, *own) for row, *own in zip(rows, keys, groups, strict=True)]


def _cells(name: str, rows: Sequence[ResultRow], column: str | None, asked: Asked) -> list[str]:
    """What a column says of each row; nothing where it is empty or none is asked for."""
    if column is None:
        return [""] * len(rows)
    paths = [row.result.path or "" for row in rows]
    if column == PATH_STEM:
        return [Path(path).stem for path in paths]
    if all(column in row.cells for row in rows):
        return ["" if (cell := row.cells[column]) is None else str(cell) for row in rows]
    labels = _labels(name, column, asked)
    found = [labels.of(path) for path in paths]
    if not any(found):
        raise UsageError(
            f"{asked.file} names none of the images of {name}; expected a row with a {column} for {paths[0]}"
        )
    return found


def _labels(name: str, column: str, asked: Asked) -> Labels:
    """What --columns says of images whose results lack a column.

    Raises:
        UsageError: no file was named, or it cannot be used.
    """
    if asked.file is None:
        raise UsageError(f"{name} has no column {column!r}; --columns FILE.csv can add it to the images by their paths")
    return Labels(asked.file, asked.path_column, column)
