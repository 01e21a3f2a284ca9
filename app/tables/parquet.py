"""Results as a folder of Parquet files, and lists of paths in Parquet or csv files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet

from ..console import UsageError
from ..runtime.errors import one_line
from . import locking
from .fields import FIELDS, Columns, Field, ResultRow, fields
from .inputs import Item
from .results_file import Earlier

TABLES = (".csv", ".parquet")
NAME = re.compile(r"scores-[0-9]{9,}(-[0-9]+)?\.parquet")
_TYPES = {str: pa.string(), float: pa.float64(), int: pa.int32()}


def schema_of(given: Sequence[Field]) -> pa.Schema:
    """The Arrow schema of fields of results."""
    return pa.schema([(field.name, _TYPES[field.kind]) for field in given])


SCHEMA = schema_of(FIELDS)


class ResultsFolder:
    """A folder whose Parquet files are whole at every moment, each with the rows of some images.

    A file is called after the place of its first image in the input, so reading the files by name gives the order of
    the input. One program at a time writes to the folder.
    """

    def __init__(self, path: Path, resume: bool, diagnosed: bool = False) -> None:
        """Make the folder where it is missing, and take it for this process.

        diagnosed: whether rows have a diagnosis.

        Raises:
            UsageError: it holds results and `resume` is False, another run is writing to it, or it cannot be used.
        """
        self.path, self._schema = path, schema_of(fields(diagnosed))
        try:
            path.mkdir(exist_ok=True)
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as problem:
            raise UsageError(f"-o {path} cannot be used: {problem.strerror}; name another folder") from problem
        try:
            self._take(resume)
        except BaseException:
            self.close()
            raise

    def _take(self, resume: bool) -> None:
        if not locking.take(self._descriptor):
            raise UsageError(f"-o {self.path}: another run is writing there; wait, or name another folder")
        if not resume and any(self.path.glob("*.parquet")):
            found = f"-o {self.path} has Parquet files already"
            raise UsageError(f"{found}; go on with them by --resume, or name another folder")
        for rest in self.path.glob(".scores-*.tmp"):  # of a run that was ended while it wrote
            rest.unlink()

    def files(self) -> list[Path]:
        """The result files, in the order of the input."""
        return sorted(file for file in self.path.glob("*.parquet") if NAME.fullmatch(file.name))

    def earlier(self) -> Earlier:
        """The rows that are there.

        Raises:
            UsageError: a file is not what `write` writes.
        """
        found = Earlier()
        for file in self.files():
            try:
                table = pyarrow.parquet.read_table(file)
            except (pa.ArrowException, OSError) as problem:
                raise self._not_ours(file, one_line(problem)) from problem
            if not table.schema.equals(self._schema):
                raise self._not_ours(file, f"its columns are {', '.join(table.schema.names)}")
            for row in table.select(["path", "status", "score"]).to_pylist():
                found.add(row["path"], row["status"], row["score"])
        return found

    def write(self, first: int, rows: Sequence[dict[str, Any]]) -> Path:
        """Write rows, dicts by `fields.columns`, as one file, whole or not at all.

        first: the first one's place in the input.

        Raises:
            OSError: the file cannot be written; nothing of it is left.
        """
        name = f"scores-{first:09d}"
        path = self.path / f"{name}.parquet"
        count = 0
        while path.exists():  # the input has changed since an earlier run, so the place is another image's
            count += 1
            path = self.path / f"{name}-{count}.parquet"
        temporary = path.with_name(f".{path.stem}.tmp")  # none is there: the folder is ours, see `_take`
        try:
            with temporary.open("xb") as stream:
                pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows), self._schema), stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException as problem:
            temporary.unlink(missing_ok=True)
            if isinstance(problem, OSError):
                problem.filename = str(path)
            raise
        return path

    def close(self) -> None:
        """Leave the folder to others; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> ResultsFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _not_ours(self, file: Path, why: str) -> UsageError:
        found = f"--resume: {file} is not what pscr score --engine ray writes ({why})"
        return UsageError(f"{found}; name the folder of the interrupted run, or start anew in another")


def read_parquet(path: Path, wanted: Collection[str] = ()) -> list[ResultRow]:
    """The rows of a Parquet file, or of a folder of such, in the order of the input; wanted: as in `read_table`.

    Raises:
        UsageError: a file is not what `pscr score` writes.
    """
    found = []
    for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
        try:
            columns = Columns.of_names(pyarrow.parquet.read_schema(file).names)
            kept = dict.fromkeys((*columns.own.values(), *(name for name in wanted if name in columns.names)))
            rows = pyarrow.parquet.read_table(file, columns=list(kept)).to_pylist()
            found += [ResultRow.of(columns.results(row), row, wanted) for row in rows]
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as problem:
            wrong = f"{file} is not what pscr score writes ({one_line(problem)})"
            raise UsageError(f"{wrong}; name what it has written") from problem
    return found


def as_text(path: str) -> str:
    """A path as Parquet can hold it: bytes that are not UTF-8 are written as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_table(path: str) -> bool:
    """Whether a path on the command line names a list of paths, by its ending."""
    return path.lower().endswith(TABLES) and Path(path).exists()


def read_paths(table: str, column: str) -> list[Item]:
    """The paths in a column of a csv or Parquet file (or a folder of Parquet files called *.parquet), in its order.

    Paths are relative to the table's own folder, as in `pscr bank build`. A row without a path is an item with a
    problem.

    Raises:
        UsageError: the table cannot be read, or has no such column of text.
    """
    try:
        values = _column(table, column)
    except (pa.ArrowException, OSError) as problem:
        raise UsageError(f"{table} cannot be read as a list of paths: {one_line(problem)}") from problem
    folder = Path(table).parent
    return [
        Item(str(folder / os.fsdecode(value))) if value else Item("", f"row {number} of {table} has no path")
        for number, value in enumerate(values, 1)
    ]


def _column(table: str, column: str) -> list[bytes | None]:
    if table.lower().endswith(".csv"):
        options = pyarrow.csv.ConvertOptions(column_types={column: pa.binary()})
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        found = pyarrow.csv.read_csv(table, parse_options=parse, convert_options=options)
    else:
        found = pyarrow.dataset.dataset(table, format="parquet")
    names = found.schema.names
    if column not in names:
        raise UsageError(f"{table} has no column {column!r}; it has {', '.join(names)}; name one with --path-column")
    values = (found.select([column]) if isinstance(found, pa.Table) else found.to_table([column]))[column]
    if not any(is_kind(values.type) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)):
        raise UsageError(f"{table}: column {column!r} holds {values.type}; expected paths as text")
    listed: list[bytes | None] = values.cast(pa.binary()).to_pylist()
    return listed
