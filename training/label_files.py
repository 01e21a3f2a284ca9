"""Reading label files: CSV, Excel and MATLAB, each row checked, so that every complaint names the file and the row."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import PscrError, Status, one_line


@dataclass(frozen=True)
class Item:
    """One labelled image.

    name: the image as the label file names it. group: what must not stand on both sides of a split by prompt.
    groups: what the image can be grouped by, as far as it is known: "prompt", "generator", or a column of a csv file.
    """

    name: str
    path: Path
    score: float
    group: str
    groups: Mapping[str, str] = field(default_factory=dict, compare=False)


class Row(NamedTuple):
    """What a label file says of one image, unchecked; `number` as a spreadsheet or an editor counts."""

    number: int
    name: Any
    score: Any
    groups: Mapping[str, Any] = {}


def items(file: Path, root: Path, rows: Iterable[Row], name_column: str, group_column: str = "") -> tuple[Item, ...]:
    """Check the rows and look for their images below `root`; without a group column an image is its own group.

    group_column: the one of the rows' groups that a split by prompt keeps together.

    Raises:
        PscrError: INVALID_ARGUMENT for a row that cannot be used, FILE_NOT_FOUND for a missing image.
    """
    found: list[Item] = []
    seen: dict[str, int] = {}
    for number, name, score, groups in rows:
        if not name:
            raise bad(file, f"row {number}: the {name_column} is empty")
        if not isinstance(name, str):
            raise bad(file, f"row {number}: the {name_column} is {name!r}; expected the name of a file")
        if name in seen:
            raise bad(file, f"row {number}: {name} stands in row {seen[name]} already")
        empty = next((column for column, value in groups.items() if value in (None, "")), None)
        if empty is not None:
            raise bad(file, f"row {number}: the {empty} is empty")
        seen[name] = number
        path = root / name
        if not path.is_file():
            raise PscrError(Status.FILE_NOT_FOUND, f"{file}: row {number}: no image {path}")
        words = {column: str(value) for column, value in groups.items()}
        group = words[group_column] if group_column else name
        found.append(Item(name, path, number_in(file, number, score), group, words))
    if not found:
        raise bad(file, "has no rows")
    return tuple(found)


def number_in(file: Path, number: int, value: Any, what: str = "score") -> float:
    """The cell of row `number` as a finite number.

    Raises:
        PscrError: INVALID_ARGUMENT where it is none; the message says `what` it is.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        score = float(value)
    except (ValueError, OverflowError):
        raise bad(file, f"row {number}: the {what} {value!r} is not a number") from None
    if not math.isfinite(score):
        raise bad(file, f"row {number}: the {what} is {value}; expected a finite number")
    return score


def columns(file: Path, rows: Iterator[tuple[int, Sequence[Any]]], *wanted: str) -> Iterator[tuple[int, list[Any]]]:
    """The wanted cells of each row that is not blank, with its number; what a short row lacks is None.

    Raises:
        PscrError: INVALID_ARGUMENT for a column that is missing or there twice, and for a row longer than the header.
    """
    header = [str(cell) for cell in next(rows, (1, []))[1]]
    for column in wanted:
        if header.count(column) != 1:
            found = "has no column" if column not in header else "has more than one column"
            raise bad(file, f"{found} {column!r}; it has {', '.join(header) or 'none'}")
    places = [header.index(column) for column in wanted]
    for number, cells in rows:
        if any(cell not in (None, "") for cell in cells[len(header) :]):
            raise bad(file, f"row {number}: has {len(cells)} cells, the header {len(header)}; is a comma not quoted?")
        if cells:
            yield number, [cells[place] if place < len(cells) else None for place in places]


def lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file with their numbers, the header first. Errors as `matrix`."""
    _check_there(file)
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        try:
            for cells in reader:
                yield reader.line_num, cells
        except (UnicodeDecodeError, csv.Error) as error:
            raise bad(file, f"row {reader.line_num + 1}: not CSV in UTF-8 ({one_line(error)})") from error


def sheet(file: Path, name: str) -> Iterator[tuple[int, list[Any]]]:
    """The rows of an Excel workbook's sheet with their numbers, the header first. Errors as `matrix`."""
    import openpyxl  # not at the top: only AGIQA-1K needs it

    _check_there(file)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except Exception as error:  # zipfile, XML parser and openpyxl raise whatever damaged bytes drive them to
        raise bad(file, f"is not an Excel workbook ({one_line(error)})") from error
    try:
        if name not in book.sheetnames:
            raise bad(file, f"has no sheet {name!r}; it has {', '.join(book.sheetnames)}")
        for number, values in enumerate(book[name].iter_rows(values_only=True), 1):
            cells = list(values)
            while cells and cells[-1] is None:
                cells.pop()
            yield number, cells
    finally:
        book.close()


def matrix(file: Path, variable: str, shape: tuple[int, int]) -> list[float]:
    """The real numbers of a MATLAB file's variable, [count,1] or [1,count].

    Raises:
        PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT: no such file or variable, another shape or type.
    """
    values = _variable(file, variable)
    expected = "x".join(map(str, shape))
    if values.shape != shape or values.dtype.kind not in "fiu":
        found = "x".join(map(str, values.shape))
        raise bad(file, f"{variable} is {found} {values.dtype}; expected {expected} numbers")
    return [float(value) for value in values.ravel()]


def cell_of_words(file: Path, variable: str, count: int) -> list[str]:
    """The words of a MATLAB file's cell array [count,1]. Errors as `matrix`."""
    values = _variable(file, variable)
    words = [str(cell[0]) for cell in values.ravel() if isinstance(cell, np.ndarray) and cell.shape == (1,)]
    if values.shape != (count, 1) or len(words) != count or any(cell[0].dtype.kind != "U" for cell in values):
        found = "x".join(map(str, values.shape))
        raise bad(file, f"{variable} is {found} {values.dtype}; expected {count}x1 names in a cell array")
    return words


def bad(file: Path, message: str) -> PscrError:
    """The error of a label file that cannot be used."""
    return PscrError(Status.INVALID_ARGUMENT, f"{file}: {message}")


def _variable(file: Path, variable: str) -> NDArray[Any]:
    from scipy import io  # not at the top: only AIGCIQA2023 and CLIVE need it

    _check_there(file)
    try:
        found = io.loadmat(file)
    except Exception as error:  # scipy raises whatever damaged bytes drive it to
        raise bad(file, f"is not a MATLAB file of version 7 or older ({one_line(error)})") from error
    if variable not in found:
        names = ", ".join(key for key in found if not key.startswith("__"))
        raise bad(file, f"has no variable {variable!r}; it has {names or 'none'}")
    return np.asarray(found[variable])


def _check_there(file: Path) -> None:
    if not file.is_file():
        raise PscrError(Status.FILE_NOT_FOUND, f"{file}: no such label file")
