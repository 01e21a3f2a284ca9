"""Databases of images with human opinion scores: AGIQA-1K, AGIQA-3K, AIGCIQA2023 and any CSV file.

Everything is checked while it is read, so that a run never trains on a label that is not what it seems to be: a
missing image, a name that stands twice, a number that is none. Messages name the file and its row.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..runtime.errors import PscrError, Status, one_line

EXPECTED = "agiqa1k:DIR, agiqa3k:DIR, aigciqa2023:DIR or csv:FILE"
MEANINGS = {
    "quality": "mean opinion score of quality",
    "alignment": "mean opinion score of text-to-image alignment",
    "authenticity": "mean opinion score of authenticity",
    "correspondence": "mean opinion score of text-to-image correspondence",
}
AGIQA1K_TWICE = "dreamStudio_8_9_1_1.jpg"
AIGCIQA2023_IMAGES = 2400


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

    name: goes into the manifest. label: the column or file that the scores stand in. scale: the lowest and highest
    possible score. meaning: what people were asked, for the manifest. notes: what was left out, in whole sentences.
    """

    name: str
    label: str
    scale: tuple[float, float]
    items: tuple[Item, ...]
    meaning: str = MEANINGS["quality"]
    notes: tuple[str, ...] = ()


class _Row(NamedTuple):
    """What a label file says of one image, unchecked; `number` as a spreadsheet or an editor counts."""

    number: int
    name: Any
    score: Any
    group: Any


def load(
    spec: str,
    *,
    label: str = "quality",
    path_column: str = "path",
    score_column: str = "score",
    group_column: str = "",
) -> Database:
    """Read the database that `spec` names.

    spec: "agiqa1k:DIR" (AIGC_MOS_Zscore.xlsx and file/), "agiqa3k:DIR" (data.csv and images/), "aigciqa2023:DIR"
        (DATA/MOS/ and Image/allimg/), each as its authors publish it, or "csv:FILE".
    label: what the scores judge. agiqa1k: quality; agiqa3k: quality or alignment; aigciqa2023: quality, authenticity
        or correspondence; csv: any word, which the exported model's manifest then repeats.
    path_column, score_column, group_column: of a `csv:` file. Its paths may be relative to the file's folder;
        without a group column every image is a group of its own.

    Raises:
        PscrError: INVALID_ARGUMENT for a bad spec or label, and for a label file that cannot be used (another sheet,
            column or variable; a duplicate name; a score that is no finite number); FILE_NOT_FOUND for a missing
            label file or image.
    """
    kind, _, location = spec.partition(":")
    if location and kind == "agiqa1k":
        return _agiqa1k(Path(location), label)
    if location and kind == "agiqa3k":
        return _agiqa3k(Path(location), label)
    if location and kind == "aigciqa2023":
        return _aigciqa2023(Path(location), label)
    if location and kind == "csv":
        return _csv(Path(location), label, path_column, score_column, group_column)
    raise PscrError(Status.INVALID_ARGUMENT, f"database {spec!r} is not known; expected {EXPECTED}")


def same_place(one: str, other: str) -> bool:
    """Whether two specs, as `load` takes them, name the same database, one perhaps by a relative path."""
    (kind, _, place), (kind2, _, place2) = one.partition(":"), other.partition(":")
    return kind == kind2 and Path(place).resolve() == Path(place2).resolve()


def read_csv(
    file: Path, root: Path, path_column: str = "path", score_column: str = "score", group_column: str = ""
) -> tuple[Item, ...]:
    """The images of a CSV file, whose paths are relative to `root`; one is enough. Errors as `load`."""
    table = read_columns(file, path_column, score_column, group_column or path_column)
    return _items(file, root, (_Row(number, *cells) for number, cells in table), path_column, group_column)


def read_columns(file: Path, *columns: str) -> Iterator[tuple[int, list[Any]]]:
    """The named cells of each row of a CSV file that is not blank, with its number; what a short row lacks is None.

    Raises:
        PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT where the file is no CSV, or a column is missing or there twice.
    """
    return _columns(file, _lines(file), *columns)


def _agiqa1k(folder: Path, label: str) -> Database:
    """AGIQA-1K (arXiv 2303.12618): 1080 images of two generators, 720 prompts; scores 0 to 5.

    The published file has one name twice, with two different scores: the list of names skips dreamStudio_8_5_0_0.jpg
    and repeats its last entry, dreamStudio_8_9_1_1.jpg. No one can tell which score is that image's, so both rows
    are left out and the note says so: 1078 images remain. Any other name that stands twice is an error.
    """
    _column("agiqa1k", label, {"quality": "MOS"})
    file = folder / "AIGC_MOS_Zscore.xlsx"
    rows = [_Row(number, *cells) for number, cells in _columns(file, _sheet(file, "Sheet1"), "Image", "MOS", "Prompt")]
    twice = [row for row in rows if row.name == AGIQA1K_TWICE]
    notes = []
    if len(twice) == 2:
        rows = [row for row in rows if row.name != AGIQA1K_TWICE]
        numbers = " and ".join(str(row.number) for row in twice)
        notes.append(f"{file}: {AGIQA1K_TWICE} has two scores, in rows {numbers}; both rows are left out")
    items = _items(file, folder / "file", rows, "Image", "Prompt")
    return Database("AGIQA-1K", "MOS", (0.0, 5.0), items, MEANINGS[label], tuple(notes))


def _agiqa3k(folder: Path, label: str) -> Database:
    """AGIQA-3K (arXiv 2306.04717): 2982 images of six generators, 300 prompts; scores 0 to 5."""
    column = _column("agiqa3k", label, {"quality": "mos_quality", "alignment": "mos_align"})
    file = folder / "data.csv"
    rows = [_Row(number, *cells) for number, cells in _columns(file, _lines(file), "name", column, "prompt")]
    items = _items(file, folder / "images", rows, "name", "prompt")
    return Database("AGIQA-3K", column, (0.0, 5.0), items, MEANINGS[label])


def _aigciqa2023(folder: Path, label: str) -> Database:
    """AIGCIQA2023 (arXiv 2307.00211): 2400 images, 100 prompts; z-scores that its authors put on a scale of 0 to 100.

    Row k of a label file, counted from 0, is the score of Image/allimg/k.png. The images are ordered by generator
    (six), then prompt (100), then draw (four), so prompt k % 400 // 4 is the group: three independent public loaders
    that join images and prompts read the order so, the label files themselves do not say it.
    """
    kinds = {"quality": "mosz1", "authenticity": "mosz2", "correspondence": "mosz3"}
    column = _column("aigciqa2023", label, kinds)
    file = folder / "DATA" / "MOS" / f"{column}.mat"
    scores = _matrix(file, "MOSz", AIGCIQA2023_IMAGES)
    rows = [_Row(k + 1, f"{k}.png", score, f"prompt {k % 400 // 4}") for k, score in enumerate(scores)]
    items = _items(file, folder / "Image" / "allimg", rows, "image", "prompt")
    return Database("AIGCIQA2023", column, (0.0, 100.0), items, MEANINGS[label])


def _csv(file: Path, label: str, path_column: str, score_column: str, group_column: str) -> Database:
    if not label.strip() or not label.isprintable():
        raise PscrError(Status.INVALID_ARGUMENT, f"label is {label!r}; expected a word for what the scores judge")
    items = read_csv(file, file.parent, path_column, score_column, group_column)
    scores = [item.score for item in items]
    if min(scores) == max(scores):
        raise _bad(file, f"every {score_column} is {scores[0]:g}; expected images of different quality")
    meaning = MEANINGS.get(label, f"mean opinion score of {label}")
    return Database(file.stem, score_column, (min(scores), max(scores)), items, meaning)


def _column(database: str, label: str, columns: dict[str, str]) -> str:
    if label not in columns:
        found = f"{database} has no label {label!r}; expected {' or '.join(columns)}"
        raise PscrError(Status.INVALID_ARGUMENT, found)
    return columns[label]


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file with their numbers, the header first."""
    _check_there(file)
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.reader(stream)
        try:
            for cells in reader:
                yield reader.line_num, cells
        except (UnicodeDecodeError, csv.Error) as error:
            raise _bad(file, f"row {reader.line_num + 1}: not CSV in UTF-8 ({one_line(error)})") from error


def _sheet(file: Path, name: str) -> Iterator[tuple[int, list[Any]]]:
    """The rows of an Excel workbook's sheet with their numbers, the header first."""
    import openpyxl  # not at the top: only AGIQA-1K needs it

    _check_there(file)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    except Exception as error:  # zipfile, XML parser and openpyxl raise whatever damaged bytes drive them to
        raise _bad(file, f"is not an Excel workbook ({one_line(error)})") from error
    try:
        if name not in book.sheetnames:
            raise _bad(file, f"has no sheet {name!r}; it has {', '.join(book.sheetnames)}")
        for number, values in enumerate(book[name].iter_rows(values_only=True), 1):
            cells = list(values)
            while cells and cells[-1] is None:
                cells.pop()
            yield number, cells
    finally:
        book.close()


def _matrix(file: Path, variable: str, count: int) -> list[float]:
    """A column [count,1] of real numbers from a MATLAB file."""
    from scipy import io  # not at the top: only AIGCIQA2023 needs it

    _check_there(file)
    try:
        found = io.loadmat(file)
    except Exception as error:  # scipy raises whatever damaged bytes drive it to
        raise _bad(file, f"is not a MATLAB file of version 7 or older ({one_line(error)})") from error
    if variable not in found:
        names = ", ".join(key for key in found if not key.startswith("__"))
        raise _bad(file, f"has no variable {variable!r}; it has {names or 'none'}")
    values = np.asarray(found[variable])
    if values.shape != (count, 1) or values.dtype.kind not in "fiu":
        shape = "x".join(map(str, values.shape))
        raise _bad(file, f"{variable} is {shape} {values.dtype}; expected {count}x1 numbers")
    return [float(value) for value in values[:, 0]]


def _columns(file: Path, rows: Iterator[tuple[int, Sequence[Any]]], *wanted: str) -> Iterator[tuple[int, list[Any]]]:
    """The wanted cells of each row that is not blank, with its number; what a short row lacks is None."""
    header = [str(cell) for cell in next(rows, (1, []))[1]]
    for column in wanted:
        if header.count(column) != 1:
            found = "has no column" if column not in header else "has more than one column"
            raise _bad(file, f"{found} {column!r}; it has {', '.join(header) or 'none'}")
    places = [header.index(column) for column in wanted]
    for number, cells in rows:
        if any(cell not in (None, "") for cell in cells[len(header) :]):
            raise _bad(file, f"row {number}: has {len(cells)} cells, the header {len(header)}; is a comma not quoted?")
        if cells:
            yield number, [cells[place] if place < len(cells) else None for place in places]


def _items(file: Path, root: Path, rows: Iterable[_Row], name_column: str, group_column: str) -> tuple[Item, ...]:
    """Check the rows and look for their images below `root`; without a group column an image is its own group."""
    items: list[Item] = []
    seen: dict[str, int] = {}
    for number, name, score, group in rows:
        if not name:
            raise _bad(file, f"row {number}: the {name_column} is empty")
        if not isinstance(name, str):
            raise _bad(file, f"row {number}: the {name_column} is {name!r}; expected the name of a file")
        if name in seen:
            raise _bad(file, f"row {number}: {name} stands in row {seen[name]} already")
        if group_column and not group:
            raise _bad(file, f"row {number}: the {group_column} is empty")
        seen[name] = number
        path = root / name
        if not path.is_file():
            raise PscrError(Status.FILE_NOT_FOUND, f"{file}: row {number}: no image {path}")
        items.append(Item(name, path, _score(file, number, score), str(group) if group_column else name))
    if not items:
        raise _bad(file, "has no rows")
    return tuple(items)


def _score(file: Path, number: int, value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        score = float(value)
    except (ValueError, OverflowError):
        raise _bad(file, f"row {number}: the score {value!r} is not a number") from None
    if not math.isfinite(score):
        raise _bad(file, f"row {number}: the score is {value}; expected a finite number")
    return score


def _check_there(file: Path) -> None:
    if not file.is_file():
        raise PscrError(Status.FILE_NOT_FOUND, f"{file}: no such label file")


def _bad(file: Path, message: str) -> PscrError:
    return PscrError(Status.INVALID_ARGUMENT, f"{file}: {message}")
