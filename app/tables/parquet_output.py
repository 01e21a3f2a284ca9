"""Results as one Parquet file, with the columns of the table that the images came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ..runtime.scorer import Result
from .fields import NO_CELLS, Columns, fields
from .parquet import as_text, schema_of
from .results_file import Stream

_ROWS = 1024  # of a row group


class _Sink:
    """A stream as pyarrow wants it: it tells how much was written."""

    closed = False

    def __init__(self, stream: Stream) -> None:
        self._stream, self._place = stream, 0

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._stream.write(part)
        self._place += len(part)
        return len(part)

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """The stream is its owner's to close."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class ParquetWriter:
    """A Parquet file, which can be read when `close` has written its end: rows go out 1024 at a time."""

    def __init__(self, stream: Stream, columns: Columns) -> None:
        self._columns = columns
        own = [(columns.own[field.name], field.type) for field in schema_of(fields(columns.diagnosed))]
        beside = [(name, kind or pa.string()) for name, kind in columns.beside.items()]
        self._schema = pa.schema([*beside, *own])
        self._rows: list[dict[str, Any]] = []
        self._file = pyarrow.parquet.ParquetWriter(pa.PythonFile(_Sink(stream), "w"), self._schema)

    def header(self, title: str) -> None:
        """The columns' names are in the file's end."""

    def row(self, result: Result, cells: Mapping[str, Any] = NO_CELLS) -> None:
        row = self._columns.record(result, cells)
        self._rows.append({name: as_text(value) if isinstance(value, str) else value for name, value in row.items()})
        if len(self._rows) == _ROWS:
            self._write()

    def footer(self, summary: str) -> None:
        """A Parquet file has rows only."""

    def close(self) -> None:
        """Write the rows that are left, and the end without which nothing can be read."""
        self._write()
        self._file.close()

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._file.write_table(pa.Table.from_pylist(rows, self._schema))
