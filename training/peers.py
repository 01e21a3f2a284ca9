"""What other metrics give the images of a database: a table of theirs, read and checked like a label file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import PscrError, Status
from .label_files import Item, bad, columns, lines, number_in

PATH_COLUMN = "path"


@dataclass(frozen=True)
class Peers:
    """The scores of other metrics.

    names: of the metrics, in the order of the file. scores: of each image that the file lists, one for each metric.
    """

    file: Path
    names: tuple[str, ...]
    scores: dict[str, tuple[float, ...]]

    def of(self, items: Sequence[Item]) -> list[tuple[float, ...]]:
        """The scores of each image, in their order; none where the table has none of them: it is of another database.

        Raises:
            PscrError: INVALID_ARGUMENT where it lacks some of them.
        """
        missing = [item.name for item in items if item.name not in self.scores]
        if missing and len(missing) < len(items):
            found = f"lacks {len(missing)} of the {len(items)} images, {missing[0]} is the first"
            raise bad(self.file, f"{found}; expected a row for each, with the path as the label file has it")
        return [] if missing else [self.scores[item.name] for item in items]


def read(file: Path) -> Peers:
    """Read a CSV file with the columns path and one of numbers for each metric.

    A metric's sign is left as it is: one whose lower values are the better ones has negative correlations.

    Raises:
        PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT: no CSV, no path column, no metric, a path that is empty or there
            twice, a score that is no finite number.
    """
    try:
        header = next(lines(file), (1, []))[1]
    except OSError as error:
        raise PscrError(Status.FILE_NOT_FOUND, f"{file}: cannot be read ({error.strerror})") from error
    names = tuple(name for name in header if name != PATH_COLUMN)
    if not names:
        raise bad(
            file, f"has no metric; it has {', '.join(header) or 'none'}, expected path and a column for each metric"
        )
    scores: dict[str, tuple[float, ...]] = {}
    for number, (path, *cells) in columns(file, lines(file), PATH_COLUMN, *names):
        if not path or path in scores:
            raise bad(file, f"row {number}: the path is {'there twice: ' + path if path else 'empty'}")
        found = [number_in(file, number, cell, name) for name, cell in zip(names, cells, strict=True)]
        scores[path] = tuple(found)
    return Peers(file, names, scores)
