"""Groups and prompts of images, from a csv file with a row for each image."""

from __future__ import annotations

import os
from pathlib import Path

from ..console import UsageError, one_line
from ..runtime.errors import PscrError
from ..training.databases import read_columns  # needs no torch


class Labels:
    """What one column of a csv file says of images.

    A row's path may be relative to the file's folder or to the working directory. A row with a bare file name speaks of
    every image of that name, whatever folder it lies in, unless another row names the image exactly.
    """

    def __init__(self, file: Path, path_column: str, column: str) -> None:
        """Read the file; a row whose `column` is empty says nothing.

        Raises:
            UsageError: the file or a column cannot be read, two rows say different things of one image, or no row says
                anything.
        """
        self._file = file
        self._exact: dict[str, str] = {}
        self._named: dict[str, str] = {}
        try:
            self._read(path_column, column)
        except PscrError as problem:
            raise UsageError(problem.message) from problem
        if not self._exact:
            raise UsageError(f"{file}: no row has both a {path_column} and a {column}; expected one for each image")

    def _read(self, path_column: str, column: str) -> None:
        for number, (path, label) in read_columns(self._file, path_column, column):
            if not path or not label:
                continue
            if os.path.basename(path) == path:  # noqa: PTH119  no Path: it would turn "a/" and "./a" into names
                self._add(self._named, path, label, number)
            for root in (self._file.parent, Path()):
                self._add(self._exact, os.path.abspath(root / path), label, number)  # noqa: PTH100  nothing is resolved

    def of(self, path: str) -> str:
        """The label of an image, or nothing where no row speaks of it."""
        exact = self._exact.get(os.path.abspath(path))  # noqa: PTH100  as above
        return exact if exact is not None else self._named.get(Path(path).name, "")

    def _add(self, known: dict[str, str], path: str, label: str, number: int) -> None:
        if known.setdefault(path, label) != label:
            found = one_line(f"{path} is {known[path]!r} in one row and {label!r} in row {number}")
            raise UsageError(f"{self._file}: {found}; expected one row for each image")
