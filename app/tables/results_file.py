"""The file that results go to: it holds whole rows at every moment, and a later run can go on from it."""

from __future__ import annotations

import contextlib
import csv
import math
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

from ..console import UsageError
from ..runtime import output_file
from ..runtime.errors import Status
from . import locking
from .fields import PLAIN, Columns

T = TypeVar("T")
NOT_A_ROW = (ValueError, KeyError, TypeError, csv.Error)  # what reading something else as a row raises


class Stream(Protocol):
    """What rows are written to: standard output, or a file."""

    def write(self, data: bytes, /) -> int | None: ...

    def flush(self) -> None: ...


class Rows(Protocol):
    """How the rows of a file are told apart and read. header: whether its first row has the names of the others."""

    @property
    def header(self) -> bool: ...

    def columns(self, first: bytes) -> Columns:
        """The columns of the file, by its first row. Errors as `entry`."""
        ...

    def whole(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The whole rows with their line ends, the header among them; half a row at the end does not count."""
        ...

    def entry(self, row: bytes, columns: Columns) -> dict[str, Any]:
        """A row's values under the names of these columns.

        Raises:
            ValueError, KeyError, TypeError, csv.Error: it is no such row.
        """
        ...


class ResultsFile:
    """A binary file without a buffer: a row is in it whole or not at all, whatever ends the program.

    A write that fails half-way (full disk, interruption) is taken back, so that what is left can be used. Only the
    machine's own fall can leave half a row; `Earlier.read` drops it. One program at a time writes to a regular file.
    What is none (a pipe, a device, /dev/stdout) is written to as it is.
    """

    def __init__(self, name: output_file.Name) -> None:
        """Open the file, make it where it is missing, and take it for this process; what it holds stays so far.

        Raises:
            UsageError: another run is writing to it, or it cannot be opened for writing.
        """
        self._name = os.fspath(name)
        self._open()

    def _open(self) -> None:
        try:
            self._descriptor, self.is_file, self._created = output_file.open_rows(self._name)
        except OSError as problem:
            raise UsageError(f"-o {self._name} cannot be written: {problem.strerror}; name another file") from problem
        if self.is_file and not self._is_ours():
            self._created = None
            self.close()
            raise UsageError(f"-o {self._name}: another run is writing there; wait, or name another file")
        self.size = os.fstat(self._descriptor).st_size if self.is_file else 0

    def _is_ours(self) -> bool:
        """Take the file for this process, where no other has taken it or put another in its place."""
        if not locking.take(self._descriptor):
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), Path(self._name).stat())
        except FileNotFoundError:
            return False

    def begin(self, earlier: Earlier) -> None:
        """Let only an earlier run's rows stay, without those that are to be `retried`, and write after them.

        Raises:
            OSError: the file cannot be cut or written again.
            UsageError: another run has taken it meanwhile.
        """
        if not self.is_file:
            return
        if earlier.retried:
            data = Path(self._name).read_bytes()
            starts = [0, *(end for _, end in earlier.retried)]
            ends = [*(start for start, _ in earlier.retried), earlier.size]
            output_file.write(self._name, b"".join(data[a:b] for a, b in zip(starts, ends, strict=True)))
            self.close()
            self._open()
        else:
            self.size = earlier.size
        self._cut()

    def write(self, data: bytes) -> int:
        """Write all of `data`, or nothing.

        Raises:
            OSError: with the file's name, and what was written before still there.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except BaseException as error:
            if self.is_file:
                with contextlib.suppress(OSError):
                    self._cut()
            if isinstance(error, OSError):
                error.filename = self._name
            raise
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """There is nothing to flush."""

    def close(self) -> None:
        """Close the file, and remove it where it was made here and holds nothing; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        empty = None if os.fstat(descriptor).st_size else self._created
        try:
            if empty is not None:
                empty.unlink(missing_ok=True)  # while it is still taken
                empty = None
        except PermissionError:  # on Windows, which removes no open file
            pass
        finally:
            os.close(descriptor)
        if empty is not None:
            empty.unlink(missing_ok=True)

    def _cut(self) -> None:
        """Cut off what is after the last whole row."""
        os.ftruncate(self._descriptor, self.size)
        os.lseek(self._descriptor, self.size, os.SEEK_SET)

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Tally:
    """Count, failures, mean and quantiles of results; 8 bytes a score. left_out: what was not looked at, in words."""

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self.left_out = ""
        self._scores = array("d")

    def add(self, score: float | None) -> None:
        """One more result; None or NaN for an image without a score."""
        self.count += 1
        if score is None or math.isnan(score):
            self.failed += 1
        else:
            self._scores.append(score)

    def __str__(self) -> str:
        """Such as `9 scored, 1 failed, 2 left out (2 .txt), mean 2.310, quantiles 5 % 1.020, 25 % 1.800, ...`."""
        text = f"{self.count - self.failed} scored, {self.failed} failed"
        if self.left_out:
            text += f", {self.left_out}"
        if not self._scores:
            return text
        ordered = sorted(self._scores)
        shares = (5, 25, 50, 75, 95)
        quantiles = ", ".join(f"{share} % {ordered[round(share / 100 * (len(ordered) - 1))]:.3f}" for share in shares)
        return f"{text}, mean {math.fsum(ordered) / len(ordered):.3f}, quantiles {quantiles}"


@dataclass
class Earlier:
    """What an interrupted run has left in its output.

    size: bytes of its whole rows. done: how often each path stands there. tally: of those rows.
    promised: path and score of the last row that has a score, by which the model can be recognised.
    retried: where rows begin and end that do not count, since their images are to be tried again.
    """

    size: int = 0
    done: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    promised: tuple[tuple[str, float], ...] = ()
    retried: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, rows: Rows, retry: bool = False, columns: Columns = PLAIN) -> Earlier:
        """Read a file's rows; half a row at its end does not count. No file is no rows.

        retry: whether rows of images that failed are to be written again. columns: that it must have.

        Raises:
            UsageError: the file cannot be read, or is not what `pscr score` writes in this format.
        """
        found = cls()
        if not path.exists():
            return found
        for end, row in read_rows(path, rows, _standing, "--resume: ", columns):
            start, found.size = found.size, end
            if row is None:
                continue
            if retry and row[1] != Status.OK.name:
                found.retried.append((start, end))
            else:
                found.add(*row)
        return found

    def add(self, path: str, status: str, score: float | None) -> None:
        """One more row that is there."""
        self.done[path] += 1
        self.tally.add(score)
        if status == Status.OK.name and score is not None:
            self.promised = ((path, score),)


def read_rows(
    path: Path,
    rows: Rows,
    read: Callable[[dict[str, Any], dict[str, Any]], T],
    option: str = "",
    columns: Columns | None = None,
) -> Iterator[tuple[int, T | None]]:
    """What `read` makes of each whole row of a file, and where the row ends, in bytes; None for the header.

    read: is given the result under the names of `fields`, and the whole row under the file's own; raises one of
    `NOT_A_ROW` for values that are none of ours. option: that named the file, for messages.
    columns: that the file must have; None for any of ours.

    Raises:
        UsageError: the file cannot be read, or is not what `pscr score` writes in this format.
    """
    end = number = 0
    try:
        with path.open("rb") as stream:
            for number, row in enumerate(rows.whole(stream), 1):
                end += len(row)
                if number == 1:
                    found = rows.columns(row)
                    if columns is not None:
                        _check_columns(found, columns, f"{option}{path}")
                if rows.header and number == 1:
                    yield end, None
                    continue
                entry = rows.entry(row, found)
                yield end, read(found.results(entry), entry)
    except OSError as problem:
        raise UsageError(
            f"{option}{path} cannot be read: {problem.strerror}; expected a file of pscr score"
        ) from problem
    except NOT_A_ROW as problem:
        wrong = f"{option}row {number} of {path} is not what pscr score writes in this format"
        raise UsageError(f"{wrong}; name a file that it has written") from problem


def _check_columns(found: Columns, expected: Columns, file: str) -> None:
    """Refuse to add to a file of other columns.

    Raises:
        UsageError: they are other ones.
    """
    if found.diagnosed != expected.diagnosed:
        has, advice = ("no", "leave --diagnose out") if expected.diagnosed else ("the", "add --diagnose")
        raise UsageError(f"{file} has {has} columns of --diagnose; {advice}, or start anew")
    if found.names != expected.names:
        has = f"the columns {', '.join(found.names)}, and this run writes {', '.join(expected.names)}"
        raise UsageError(f"{file} has {has}; give the same inputs and options, or start anew")


def _standing(entry: dict[str, Any], row: dict[str, Any]) -> tuple[str, str, float | None]:
    """Path, status and score of a row's values."""
    score = entry["score"]
    if not (isinstance(entry["path"], str) and entry["status"] in Status.__members__):
        raise ValueError("no path, or no status")
    return entry["path"], entry["status"], None if score in (None, "") else float(score)
