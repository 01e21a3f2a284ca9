"""Inputs of the command line that bring columns with them: tables, shards, and images that say how they were made."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

from ..console import UsageError, needing
from . import dataset_folders, generation, tar_shards
from .fields import Columns, free_names
from .inputs import STDIN, Item, expand, items_of, natural_key

_TEXT = ("string", "large_string")  # Arrow's types of text
_EMPTY = "null"  # and of a column without values


@dataclass(frozen=True)
class Wanted:
    """What is asked of the inputs.

    image_column: None for the only one that can be. columns: None for the usual ones.
    metadata: whether images are asked how they were made; see `generation`.
    besides: endings of files that folders and patterns stand for besides images.
    """

    image_column: str | None = None
    columns: Sequence[str] | None = None
    metadata: bool = False
    besides: Collection[str] = ()


@dataclass(frozen=True)
class Inputs:
    """What is scored.

    columns: of the output. total: how many items, where that is known. plain: of files alone, which take little memory.
    files: of the tables and shards.
    """

    columns: Columns
    items: Iterator[Item]
    total: int | None
    plain: bool
    files: Sequence[str] = ()


@dataclass(frozen=True)
class _Source:
    """What one path stands for, or several; of a table with its columns and its files."""

    items: Iterable[Item]
    total: int | None
    columns: Mapping[str, Any] | None = None
    files: Sequence[str] = ()


def inputs_of(paths: Sequence[str], null: bool, wanted: Wanted, left_out: Counter[str] | None = None) -> Inputs:
    """What the command line's paths stand for: tables where they are such, else images as `items_of` says.

    left_out: as in `expand`.

    Raises:
        UsageError: there is nothing to score, or a table is none or lacks a column.
        PscrError: pyarrow, which reads Parquet and Arrow files, is not installed.
    """

    def files(listed: list[str]) -> _Source:
        ended_by_null = null and (STDIN in listed or STDIN not in paths)
        return _Source(*items_of(listed, ended_by_null, lambda some: expand(some, left_out, wanted.besides)))

    sources: list[_Source] = []
    for is_table, group in groupby(chain.from_iterable(map(_tables, paths)), _is_table):
        named = list(group)
        sources += [_table(path, wanted) for path in named] if is_table else [files(named)]
    plain = all(source.columns is None for source in sources)
    if plain and (wanted.image_column is not None or wanted.columns is not None):
        option = "--columns" if wanted.image_column is None else "--image-column"
        raise UsageError(f"{option} is of tables, and there is none; expected a .parquet, .arrow or .tar file")
    beside = _united([source.columns for source in sources if source.columns is not None])
    totals = [source.total for source in sources if source.total is not None]
    total = sum(totals) if len(totals) == len(sources) else None
    items: Iterator[Item] = chain.from_iterable(source.items for source in sources)
    files_of_tables = [file for source in sources for file in source.files]
    if wanted.metadata:
        names = free_names(generation.NAMES, beside, "png_")
        beside |= dict.fromkeys(names.values())
        items = generation.described(items, names)
    return Inputs(Columns(beside), items, total, plain and not wanted.metadata, files_of_tables)


def _united(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns of several tables, with their types; text of a shard has none, and goes with any text."""
    beside: dict[str, Any] = {}
    for name, kind in chain.from_iterable(columns.items() for columns in tables):
        known = beside.setdefault(name, kind)
        if str(known) == _EMPTY or (known is None and str(kind) in _TEXT):
            beside[name] = kind
        elif known != kind and str(kind) != _EMPTY and not (kind is None and str(known) in _TEXT):
            found = f"column {name!r} is {known or 'text'} in one table and {kind or 'text'} in another"
            raise UsageError(f"{found}; score the two by themselves, or leave it out by --columns")
    return beside


def _tables(path: str) -> list[str]:
    """The tables that a pattern matches; any other path as it is."""
    if glob.has_magic(path) and _ends_as_table(path) and not os.path.lexists(path):
        return sorted(glob.glob(path, recursive=True), key=natural_key) or [path]
    return [path]


def _ends_as_table(path: str) -> bool:
    return path.lower().endswith((*dataset_folders.ENDINGS, *tar_shards.ENDINGS))


def _is_table(path: str) -> bool:
    if _ends_as_table(path):
        return os.path.isfile(path)  # noqa: PTH113  no name makes it fail
    return dataset_folders.is_dataset(path)


def _table(path: str, wanted: Wanted) -> _Source:
    if path.lower().endswith(tar_shards.ENDINGS):
        shard = tar_shards.TarShard(path, wanted.columns or ())
        return _Source(shard, None, shard.columns, (path,))
    with needing("tables", f"reading {path}"):
        from .arrow_tables import ArrowTable
    table = ArrowTable.open(path, wanted.image_column, wanted.columns)
    return _Source(table, table.count, table.columns, table.shards)
