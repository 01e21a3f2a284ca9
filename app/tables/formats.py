"""How results are written: one class per format, one row per result, each row flushed as soon as it is known."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..console import UsageError, one_line
from ..runtime.errors import Status
from ..runtime.scorer import Result
from .fields import COLUMNS, record
from .inputs import EXTENSIONS

FIRST_LINE = ",".join(COLUMNS).encode() + b"\n"  # of a csv file
BY_ENDING = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "table"}
_STATUS = max(len(status.name) for status in (Status.INVALID_ARGUMENT, Status.FILE_NOT_FOUND, Status.IMAGE_TOO_LARGE))


class Stream(Protocol):
    """What rows are written to: standard output, or a file."""

    def write(self, data: bytes, /) -> int | None: ...

    def flush(self) -> None: ...


class Writer(Protocol):
    """Writes a header, then rows, then a footer, as UTF-8 bytes."""

    def header(self) -> None: ...

    def row(self, result: Result) -> None: ...

    def footer(self, summary: str) -> None: ...


class CsvWriter:
    """Comma-separated values, RFC 4180 quoting, lines ended by a line feed; what a failed row lacks is left empty."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def header(self) -> None:
        self._write(COLUMNS)

    def row(self, result: Result) -> None:
        self._write(tuple(record(result).values()))

    def footer(self, summary: str) -> None:
        """A csv file has rows only."""

    def _write(self, cells: tuple[object, ...]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)  # a cell that holds either of the two is quoted
        _send(self._stream, line.getvalue()[:-2] + "\n")


class JsonlWriter:
    """One JSON object a line; what a failed row lacks is null. A path that is not UTF-8 keeps its bytes as \\udcXX."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def header(self) -> None:
        """The lines describe themselves."""

    def row(self, result: Result) -> None:
        values = record(result)
        line = json.dumps(values, ensure_ascii=False, allow_nan=False)
        if not _is_text(line):
            line = json.dumps(values, allow_nan=False)
        _send(self._stream, line + "\n")

    def footer(self, summary: str) -> None:
        """The lines describe themselves."""


class TableWriter:
    """Aligned columns for people; the path stands last, so that no path is too long for its column.

    title: what scores, and how to read the scores; left out, like the footer, where it is empty.
    """

    def __init__(self, stream: Stream, title: str) -> None:
        self._stream = stream
        self._title = title

    def header(self) -> None:
        if self._title:
            _send(self._stream, f"{one_line(self._title)}\n\n")
        self._line("score", "spread", "size", "status", "path")

    def row(self, result: Result) -> None:
        values = record(result)
        path, message = str(values["path"]), str(values["message"])
        message = message.removeprefix(f"{path}: ")
        size = f"{result.width}x{result.height}" if values["width"] else "-"
        score, spread = ("-" if values[key] is None else f"{values[key]:.3f}" for key in ("score", "spread"))
        named = one_line(path) + (f"  ({one_line(message)})" if message else "")
        self._line(score, spread, size, str(values["status"]), named)

    def footer(self, summary: str) -> None:
        if self._title:
            _send(self._stream, f"\n{summary}\n")

    def _line(self, score: str, spread: str, size: str, status: str, path: str) -> None:
        _send(self._stream, f"{score:>7}  {spread:>7}  {size:>11}  {status:<{_STATUS}}  {path}\n")


def output_format(asked: str | None, output: str | None) -> str:
    """The format asked for, else the one that the output file's name ends in, else a table."""
    ending = "" if output in (None, "-") else Path(str(output)).suffix.lower()
    if ending in EXTENSIONS:
        raise UsageError(f"-o {output} would write results over an image; expected a name ending in .csv or .jsonl")
    if asked:
        return asked
    if ending and ending not in BY_ENDING:
        raise UsageError(
            f"-o {output}: no format is known by {ending!r}; expected {', '.join(BY_ENDING)}, or --format with any name"
        )
    return BY_ENDING.get(ending, "table")


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


MACHINE_WRITERS: dict[str, Callable[[Stream], Writer]] = {"csv": CsvWriter, "jsonl": JsonlWriter}
