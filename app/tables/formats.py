"""The formats of results: what each is called, by which endings it is known, how it is written and read back.

Whoever adds one adds an entry to `FORMATS`: the command line, its help, --resume and `pscr report --scores` ask there.
A row is written, and flushed, as soon as its result is known.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..console import UsageError, needing, one_line
from ..runtime.errors import Status
from ..runtime.scorer import Result
from .fields import NO_CELLS, PLAIN, Columns, ResultRow, record
from .inputs import EXTENSIONS, is_folder
from .results_file import Rows, Stream, read_rows

_STATUS = max(len(status.name) for status in (Status.INVALID_ARGUMENT, Status.FILE_NOT_FOUND, Status.IMAGE_TOO_LARGE))

_SEEN = len("sharpness and contrast (100 %), degree 5.0 of 5")


class Writer(Protocol):
    """Writes a header, then rows, then a footer, as UTF-8 bytes."""

    def header(self, title: str) -> None:
        """title: what scores, and how to read the scores; empty where that, and the footer, are to be left out."""
        ...

    def row(self, result: Result, cells: Mapping[str, Any] = NO_CELLS) -> None:
        """cells: what stands beside the result, by column."""
        ...

    def footer(self, summary: str) -> None: ...

    def close(self) -> None:
        """Write what has not been written yet; called however the run ends."""
        ...


class CsvWriter:
    """Comma-separated values, RFC 4180 quoting, lines ended by a line feed; what a failed row lacks is left empty.

    A cell of a table that holds a list or a struct is JSON.
    """

    def __init__(self, stream: Stream, columns: Columns = PLAIN) -> None:
        self._stream, self._columns = stream, columns

    def header(self, title: str) -> None:
        self._write(self._columns.names)

    def row(self, result: Result, cells: Mapping[str, Any] = NO_CELLS) -> None:
        values = map(_plain, self._columns.record(result, cells).values())
        self._write(tuple(_json(value) if isinstance(value, (dict, list)) else value for value in values))

    def footer(self, summary: str) -> None:
        """A csv file has rows only."""

    def close(self) -> None:
        """All is written."""

    def _write(self, cells: tuple[object, ...]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)  # a cell that holds either of the two is quoted
        _send(self._stream, line.getvalue()[:-2] + "\n")


class JsonlWriter:
    """One JSON object a line; what a failed row lacks is null. A path that is not UTF-8 keeps its bytes as \\udcXX."""

    def __init__(self, stream: Stream, columns: Columns = PLAIN) -> None:
        self._stream, self._columns = stream, columns

    def header(self, title: str) -> None:
        """The lines describe themselves."""

    def row(self, result: Result, cells: Mapping[str, Any] = NO_CELLS) -> None:
        _send(self._stream, _json(_plain(self._columns.record(result, cells))) + "\n")

    def footer(self, summary: str) -> None:
        """The lines describe themselves."""

    def close(self) -> None:
        """All is written."""


class TableWriter:
    """Aligned columns for people; the path stands last, so that no path is too long for its column.

    What stands beside the results is for programs, and left out.
    """

    def __init__(self, stream: Stream, columns: Columns = PLAIN) -> None:
        self._stream, self._diagnosed = stream, columns.diagnosed
        self._title = ""

    def header(self, title: str) -> None:
        self._title = title
        if self._title:
            _send(self._stream, f"{one_line(self._title)}\n\n")
        self._line("score", "spread", "size", "status", "looks like", "path")

    def row(self, result: Result, cells: Mapping[str, Any] = NO_CELLS) -> None:
        values = record(result)
        path, message = str(values["path"]), str(values["message"])
        message = message.removeprefix(f"{path}: ")
        size = f"{result.width}x{result.height}" if values["width"] else "-"
        score, spread = ("-" if values[key] is None else f"{values[key]:.3f}" for key in ("score", "spread"))
        named = one_line(path) + (f"  ({one_line(message)})" if message else "")
        seen = result.diagnosis.in_words() if result.diagnosis else "-"
        self._line(score, spread, size, str(values["status"]), seen, named)

    def footer(self, summary: str) -> None:
        if self._title:
            _send(self._stream, f"\n{one_line(summary)}\n")

    def close(self) -> None:
        """All is written."""

    def _line(self, score: str, spread: str, size: str, status: str, seen: str, path: str) -> None:
        seen = f"{seen:<{_SEEN}}  " if self._diagnosed else ""
        _send(self._stream, f"{score:>7}  {spread:>7}  {size:>11}  {status:<{_STATUS}}  {seen}{path}\n")


# --- reading them back ------------------------------------------------------------------------------------------------


class CsvRows:
    """The rows of a csv file of `CsvWriter`; a quoted cell may hold line ends of its own."""

    header = True

    def columns(self, first: bytes) -> Columns:
        return Columns.of_names(self._cells(first))

    def whole(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        pending, quotes = b"", 0
        for line in lines:
            pending += line
            quotes += line.count(b'"')
            if line.endswith(b"\n") and quotes % 2 == 0:
                yield pending
                pending = b""

    def entry(self, row: bytes, columns: Columns) -> dict[str, Any]:
        return dict(zip(columns.names, self._cells(row), strict=True))

    def _cells(self, row: bytes) -> list[str]:
        (cells,) = csv.reader(io.StringIO(_text(row), newline=""))
        return cells


class JsonlRows:
    """The lines of a file of `JsonlWriter`."""

    header = False

    def columns(self, first: bytes) -> Columns:
        return Columns.of_names(list(json.loads(_text(first))))

    def whole(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        return (line for line in lines if line.endswith(b"\n"))

    def entry(self, row: bytes, columns: Columns) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(_text(row))
        return entry


def _parquet_writer(stream: Stream, columns: Columns) -> Writer:
    with needing("tables", "writing Parquet"):
        from .parquet_output import ParquetWriter  # pyarrow, which nothing else here needs
    return ParquetWriter(stream, columns)


# --- the formats ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """One format of results.

    endings: of the names of its files. writer: of what `pscr score` writes. rows: how a file is read back, where it can
    be. for_people: title and summary are a part of it.
    """

    name: str
    endings: tuple[str, ...]
    writer: Callable[[Stream, Columns], Writer] | None = None
    rows: Rows | None = None
    for_people: bool = False


FORMATS = {
    one.name: one
    for one in (
        Format("csv", (".csv",), CsvWriter, CsvRows()),
        Format("jsonl", (".jsonl", ".ndjson"), JsonlWriter, JsonlRows()),
        Format("table", (".txt",), TableWriter, for_people=True),
        Format("parquet", (".parquet",), _parquet_writer),  # and a folder of files, which the Ray engine writes
    )
}
BY_ENDING = {ending: one for one in FORMATS.values() for ending in one.endings}
WRITTEN = tuple(name for name, one in FORMATS.items() if one.writer)
RESUMABLE = tuple(name for name, one in FORMATS.items() if one.rows)
READABLE = ", ".join((*RESUMABLE, "parquet"))  # by `read_results`


def output_format(asked: str | None, output: str | None) -> Format:
    """The format asked for, else the one that the output file's name ends in, else a table."""
    path = Path(output or "-")
    ending = path.suffix.lower()
    if ending in EXTENSIONS:
        raise UsageError(f"-o {output} would write results over an image; expected a name ending in .csv or .jsonl")
    if asked:
        return FORMATS[asked]
    if ending and ending not in BY_ENDING:
        raise UsageError(
            f"-o {output}: no format is known by {ending!r}; expected {', '.join(BY_ENDING)}, or --format with any name"
        )
    return BY_ENDING.get(ending, FORMATS["table"])


def read_results(path: Path) -> list[Result]:
    """The results alone of `read_table`, which see for the errors."""
    return [row.result for row in read_table(path)]


def read_table(path: Path, wanted: Collection[str] = ()) -> list[ResultRow]:
    """The rows of what `pscr score` has written: a file, or the Ray engine's folder of Parquet files.

    Half a row at a file's end does not count. wanted: the columns whose cells are kept, where the file has them.

    Raises:
        UsageError: it cannot be read, or is not what `pscr score` writes in the format that its name says.
        PscrError: pyarrow, which reads Parquet, is not installed.
    """
    form = BY_ENDING.get(path.suffix.lower())
    if is_folder(str(path)) or form is FORMATS["parquet"]:
        with needing("tables", f"reading {path}"):
            from .parquet import read_parquet  # pyarrow, which nothing else here needs
        return read_parquet(path, wanted)
    if form is None or form.rows is None:
        expected = " or ".join(RESUMABLE)
        raise UsageError(
            f"{path}: expected the {expected} file, or the file or folder of Parquet, that pscr score writes"
        )
    found = read_rows(path, form.rows, lambda result, row: ResultRow.of(result, row, wanted))
    return [row for _, row in found if row is not None]


def _json(value: Any) -> str:
    """As it is, or in ASCII where a path that is not UTF-8 is in it."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return line if _is_text(line) else json.dumps(value, allow_nan=False)


def _plain(value: Any) -> Any:
    """A cell as JSON can hold it: what is no finite number is None, and a date or a decimal is its text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _text(row: bytes) -> str:
    return row[:-1].decode("utf-8", "surrogateescape")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _send(stream: Stream, text: str) -> None:
    """Paths keep their bytes, UTF-8 or not."""
    stream.write(text.encode("utf-8", "surrogateescape"))
    stream.flush()
