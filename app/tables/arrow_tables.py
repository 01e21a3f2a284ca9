"""Tables that hold images or their paths: Parquet and Arrow files, and folders of them as Hugging Face's datasets are.

Rows are read a few at a time, so memory does not grow with the table: of a Parquet file the pages of one row group at
most, and an Arrow file is mapped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from ..console import UsageError
from ..runtime.errors import Status, one_line
from ..runtime.image import Source
from .dataset_folders import shards_of
from .inputs import Item

_USUAL = ("image", "bytes", "path")  # what a column of images is called
_AT_ONCE = 16  # rows
_MAGIC = b"ARROW1"  # of an Arrow file; a stream, which datasets writes, has none
_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError)


@dataclass(frozen=True)
class ArrowTable:
    """A table of one file or more.

    columns: what stands beside the results, with the Arrow type of each: all that hold no bytes, or those asked for.
    count: of its rows, None where only reading them tells. shards: its files.
    """

    columns: Mapping[str, Any]
    count: int | None
    shards: Sequence[str]
    _image: str

    @classmethod
    def open(cls, path: str, image_column: str | None = None, columns: Sequence[str] | None = None) -> ArrowTable:
        """Find a table's column of images: the one asked for, else the only one that is such by its type or its name.

        path: a file or a folder. A file of a folder that cannot be read is a row that says so.

        Raises:
            UsageError: no file can be read; there is no such column, or more than one; a column is not there.
        """
        shards = [str(file) for file in shards_of(Path(path))] if Path(path).is_dir() else [path]
        headers, problems = [], list[str]()
        for shard in shards:
            try:
                headers.append(_header(shard))
            except _UNREADABLE as problem:
                problems.append(_damaged(shard, problem))
        if not headers:
            raise UsageError(problems[0] if problems else f"{path} has no .parquet or .arrow files")
        schema = _one_schema([schema for schema, _ in headers], path)
        names = schema.names
        image = _image_column(schema, path, image_column)
        beside = {name: kind for name in names if (kind := _kept(schema.field(name).type, name == image)) is not None}
        counts = [count for _, count in headers if count is not None]
        total = sum(counts) + len(problems) if len(counts) == len(headers) else None
        return cls(_chosen(beside, columns, path), total, shards, image)

    def __iter__(self) -> Iterator[Item]:
        """Its rows; one without an image, and what of a file cannot be read, is an item with a problem.

        So is a table without rows; one file of several may have none.
        """
        empty = True
        for shard in self.shards:
            for item in self._rows(shard):
                empty = False
                yield item
        if empty:
            first = self.shards[0]
            yield Item(first, f"no rows in {first}; expected one or more; fetch it again, or leave it out")

    def _rows(self, shard: str) -> Iterator[Item]:
        number = 0
        wanted = list(dict.fromkeys((self._image, *self.columns)))
        try:
            for batch in _batches(shard, wanted):
                images = batch.column(self._image).to_pylist()
                beside = {name: kind for name, kind in self.columns.items() if name != self._image}
                cells = {name: _values(batch.column(name), kind) for name, kind in beside.items()}
                for place, image in enumerate(images):
                    row = {name: values[place] for name, values in cells.items()}
                    if self._image in self.columns:
                        row[self._image] = _path(image)
                    yield _item(shard, number, image, row)
                    number += 1
        except (*_UNREADABLE, KeyError) as problem:
            found = f"{_damaged(shard, problem)}; {number} rows of it were read"
            yield Item(shard, found, Status.DECODE_FAILED)


def _item(shard: str, number: int, image: Any, cells: Mapping[str, Any]) -> Item:
    """A row's image. The bytes count where there are some, else the path, from the table's own folder."""
    called = f"{shard}/{number}"
    data = image.get("bytes") if isinstance(image, dict) else image if isinstance(image, bytes) else None
    if data is not None:
        source: Source = data
        return Item(called, source=source, cells=cells)
    path = _path(image)
    if path:
        return Item(os.path.join(os.path.dirname(shard), path), cells=cells)  # noqa: PTH118, PTH120  as it was written
    found = f"row {number} of {shard} has no image: the cell is empty; drop the row, or fetch it"
    return Item(called, found, Status.INVALID_ARGUMENT, cells=cells)


def _path(image: Any) -> str | None:
    """What a cell of images says of the file."""
    path = image.get("path") if isinstance(image, dict) else image
    return path if isinstance(path, str) else None


# --- files ------------------------------------------------------------------------------------------------------------


def _header(shard: str) -> tuple[pa.Schema, int | None]:
    """A file's columns, whose names are text, and the number of its rows where its header has that."""
    schema, count = _schema_and_count(shard)
    _names(schema)
    return schema, count


def _names(fields: Iterable[Any]) -> list[str]:
    """The names of columns and of what is below them; a UnicodeDecodeError where one is no UTF-8."""
    found = []
    for one in fields:
        found += [one.name, *_names(one.type.field(place) for place in range(one.type.num_fields))]
    return found


def _schema_and_count(shard: str) -> tuple[pa.Schema, int | None]:
    if shard.lower().endswith(".parquet"):
        with pyarrow.parquet.ParquetFile(shard, pre_buffer=False) as file:
            return file.schema_arrow, file.metadata.num_rows
    with pa.memory_map(shard) as mapped:
        return _opened(mapped).schema, None


def _batches(shard: str, columns: list[str]) -> Iterator[Any]:
    """A file's rows, a few at a time."""
    if shard.lower().endswith(".parquet"):
        with pyarrow.parquet.ParquetFile(shard, pre_buffer=False, buffer_size=1 << 16) as file:
            for group in range(file.num_row_groups):  # apart, so that damage in one costs no row of those before
                yield from file.iter_batches(_AT_ONCE, row_groups=[group], columns=columns, use_threads=False)
        return
    with pa.memory_map(shard) as mapped:
        reader = _opened(mapped)
        many: Iterable[Any] = reader
        if isinstance(reader, pa.ipc.RecordBatchFileReader):
            many = (reader.get_batch(number) for number in range(reader.num_record_batches))
        for batch in many:
            batch.validate(full=True)  # places in it that lead elsewhere would be followed
            yield from (batch.slice(start, _AT_ONCE) for start in range(0, batch.num_rows, _AT_ONCE))


def _opened(mapped: Any) -> Any:
    is_file = mapped.read(len(_MAGIC)) == _MAGIC
    mapped.seek(0)
    return pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped)


def _damaged(shard: str, problem: Exception) -> str:
    kind = "Parquet" if shard.lower().endswith(".parquet") else "Arrow"
    return f"{shard} cannot be read as {kind}, or not to its end: {one_line(problem)}; fetch it again"


# --- columns ----------------------------------------------------------------------------------------------------------


def _one_schema(schemas: Sequence[pa.Schema], path: str) -> pa.Schema:
    """The columns that all files of a table have; a type that one has without values is that of the others."""
    names = schemas[0].names
    if len(set(names)) < len(names):
        raise UsageError(f"{path} has two columns of one name among {', '.join(names)}; rename one")
    other = next((schema.names for schema in schemas if set(schema.names) != set(names)), None)
    if other is not None:
        found = f"{path} has files with the columns {', '.join(names)} and others with {', '.join(other)}"
        raise UsageError(f"{found}; score them by themselves")
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as problem:
        found = f"{path} has files whose columns are of different types: {one_line(problem)}"
        raise UsageError(f"{found}; score them by themselves") from problem


def _image_column(schema: pa.Schema, path: str, asked: str | None) -> str:
    """The name of the column of images."""
    kinds = {name: schema.field(name).type for name in schema.names}
    listed = ", ".join(kinds)
    found = [
        name for name, kind in kinds.items() if _holds_images(kind) and (pa.types.is_struct(kind) or name in _USUAL)
    ]
    if asked is None and not found:  # a usual name whose cells are no images is told as if it had been asked for
        asked = next((name for name in kinds if name in _USUAL), None)
    if asked is not None:
        if asked not in kinds:
            raise UsageError(f"{path} has no column {asked!r}; it has {listed}; name one by --image-column")
        if not _holds_images(kinds[asked]):
            expected = "bytes, paths, or structs of bytes and path"
            raise UsageError(f"{path}: column {asked!r} holds {kinds[asked]}; expected {expected}")
        return asked
    if len(found) == 1:
        return found[0]
    which = f"has {len(found)} columns that may be its images ({', '.join(found)})"
    if not found:
        which = f"has no column that is called {', '.join(_USUAL[:-1])} or {_USUAL[-1]}; it has {listed}"
    raise UsageError(f"{path} {which}; name one by --image-column")


def _holds_images(kind: Any) -> bool:
    """Whether cells of an Arrow type can be images: bytes, text, or structs that have bytes (Hugging Face's)."""
    if pa.types.is_struct(kind):
        inner = {kind.field(place).name: kind.field(place).type for place in range(kind.num_fields)}
        return "bytes" in inner and _is_bytes(inner["bytes"])
    return _is_bytes(kind) or _is_text(kind)


def _is_bytes(kind: Any) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _is_text(kind: Any) -> bool:
    return any(is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _kept(kind: Any, is_image: bool) -> Any:
    """The Arrow type that a column has beside the results, or None where it holds bytes.

    Of the images only their paths are kept. Points in time are kept to the microsecond, which is Python's own.
    """
    if is_image:
        has_path = pa.types.is_struct(kind) and kind.get_field_index("path") >= 0
        return pa.string() if has_path or _is_text(kind) else None
    if isinstance(kind, pa.BaseExtensionType):
        return _kept(kind.storage_type, is_image)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    return None if _has_bytes(kind) else kind


def _has_bytes(kind: Any) -> bool:
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    if pa.types.is_dictionary(kind):
        inner = [kind.value_type]
    return _is_bytes(kind) or pa.types.is_fixed_size_binary(kind) or any(map(_has_bytes, inner))


def _chosen(beside: Mapping[str, Any], asked: Sequence[str] | None, path: str) -> Mapping[str, Any]:
    if asked is None:
        return beside
    missing = next((name for name in asked if name not in beside), None)
    if missing is not None:
        found = f"{path} has no column {missing!r} that can stand beside results; it has {', '.join(beside) or 'none'}"
        raise UsageError(f"{found}; name some of these by --columns")
    return {name: beside[name] for name in asked}


def _values(column: Any, kind: Any) -> list[Any]:
    """A column's cells as Python's own values."""
    listed: list[Any] = (column if column.type == kind else column.cast(kind, safe=False)).to_pylist()
    return listed
