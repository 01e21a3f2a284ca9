"""The file that results go to: it holds whole rows at every moment, and a later run can go on from it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from ..console import UsageError
from ..runtime.errors import Status
from ..runtime.scorer import Result
from .fields import COLUMNS, result_of
from .formats import FIRST_LINE, Stream

RESUMABLE = ("csv", "jsonl")


def check_output(output: str | None) -> None:
    """Find out before the model is loaded that the output cannot be written; the file itself is left alone."""
    if output in (None, "-"):
        return
    path = Path(str(output))
    if path.is_dir():
        raise UsageError(f"-o {output} is a folder; expected the name of a file, such as {path / 'scores.csv'}")
    if not path.parent.is_dir():
        raise UsageError(f"-o {output}: there is no folder {path.parent}; make it first, or name another file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"-o {output} cannot be written: no permission; name another file")


def open_output(output: str | None, stack: ExitStack, keep: int = 0) -> Stream:
    """The stream that results go to. A file is written row by row, so that an interrupted run keeps what it has.

    keep: how many bytes of the file stay; 0 to begin anew.
    """
    if output in (None, "-"):
        sys.stdout.flush()
        return sys.stdout.buffer
    try:
        return stack.enter_context(ResultsFile(Path(str(output)), keep))
    except OSError as problem:
        raise UsageError(f"-o {output} cannot be written: {problem.strerror}; name another file") from problem


class ResultsFile:
    """A binary file without a buffer: a row is in it whole or not at all, whatever ends the program.

    A write that fails half-way (full disk, interruption) is taken back, so that what is left can be used. Only the
    machine's own fall can leave half a row; `Earlier.read` drops it.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Open the file and cut it to its first `keep` bytes.

        Raises:
            OSError: it cannot be opened for writing.
        """
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | (0 if keep else os.O_TRUNC), 0o666)
        self._path = path
        self._size = keep
        if keep:
            os.ftruncate(self._descriptor, keep)
            os.lseek(self._descriptor, keep, os.SEEK_SET)

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
            with contextlib.suppress(OSError):  # a pipe or a device cannot be cut
                os.ftruncate(self._descriptor, self._size)
                os.lseek(self._descriptor, self._size, os.SEEK_SET)
            if isinstance(error, OSError):
                error.filename = str(self._path)
            raise
        self._size += len(data)
        return len(data)

    def flush(self) -> None:
        """There is nothing to flush."""

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> ResultsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Tally:
    """Count, failures, mean and quantiles of results; 8 bytes a score."""

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self._scores = array("d")

    def add(self, score: float | None) -> None:
        """One more result; None or NaN for an image without a score."""
        self.count += 1
        if score is None or math.isnan(score):
            self.failed += 1
        else:
            self._scores.append(score)

    def __str__(self) -> str:
        """Such as `9 scored, 1 failed, mean 2.310, quantiles 5 % 1.020, 25 % 1.800, ...`."""
        text = f"{self.count - self.failed} scored, {self.failed} failed"
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
    """

    size: int = 0
    done: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    promised: tuple[tuple[str, float], ...] = ()

    @classmethod
    def read(cls, path: Path, form: str) -> Earlier:
        """Read the rows of a csv or jsonl file; half a row at its end does not count. No file is no rows.

        Raises:
            UsageError: the file cannot be read, or is not what `pscr score` writes in this format.
        """
        found = cls()
        try:
            with path.open("rb") as stream:
                for number, record in enumerate(_records(stream, form), 1):
                    if form == "csv" and number == 1:
                        if record != FIRST_LINE:
                            raise _not_ours(path, form, number)
                    else:
                        found.add(*_row(path, form, number, record))
                    found.size += len(record)
        except FileNotFoundError:
            return cls()
        except OSError as problem:
            raise UsageError(f"--resume: {path} cannot be read: {problem.strerror}") from problem
        return found

    def add(self, path: str, status: str, score: float | None) -> None:
        """One more row that is there."""
        self.done[path] += 1
        self.tally.add(score)
        if status == Status.OK.name and score is not None:
            self.promised = ((path, score),)


def _records(stream: Any, form: str) -> Iterator[bytes]:
    """The whole rows with their line ends; a quoted csv cell may hold line ends of its own."""
    pending = b""
    quotes = 0
    for line in stream:
        pending += line
        quotes += line.count(b'"') if form == "csv" else 0
        if line.endswith(b"\n") and quotes % 2 == 0:
            yield pending
            pending = b""


def read_results(path: Path, form: str) -> list[Result]:
    """The results in a csv or jsonl file of `pscr score`; half a row at its end does not count.

    Raises:
        UsageError: the file cannot be read, or is not what `pscr score` writes in this format.
    """
    try:
        records = _records(io.BytesIO(path.read_bytes()), form)
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror}; expected a file of pscr score") from problem
    has_header = form == "csv"
    if has_header and next(records, b"") != FIRST_LINE:
        raise _not_results(path, form, 1)
    return [_result(path, form, number, record) for number, record in enumerate(records, 1 + has_header)]


def _result(path: Path, form: str, number: int, record: bytes) -> Result:
    """The result of a row, to the six decimals that are written."""
    try:
        return result_of(_entry(form, record))
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise _not_results(path, form, number) from error


def _entry(form: str, record: bytes) -> dict[str, Any]:
    """A row's values under the names of `COLUMNS`, as they are written."""
    text = record[:-1].decode("utf-8", "surrogateescape")
    if form == "jsonl":
        entry: dict[str, Any] = json.loads(text)
        return entry
    (cells,) = csv.reader([text])
    return dict(zip(COLUMNS, cells, strict=True))


def _row(path: Path, form: str, number: int, record: bytes) -> tuple[str, str, float | None]:
    """Path, status and score of a row."""
    try:
        entry = _entry(form, record)
        score = entry["score"]
        if not (isinstance(entry["path"], str) and entry["status"] in Status.__members__):
            raise ValueError
        return entry["path"], entry["status"], None if score in (None, "") else float(score)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise _not_ours(path, form, number) from error


def _not_results(path: Path, form: str, number: int) -> UsageError:
    found = f"row {number} of {path} is not what pscr score --format {form} writes"
    return UsageError(f"{found}; name a file that pscr score has written")


def _not_ours(path: Path, form: str, number: int) -> UsageError:
    found = f"--resume: row {number} of {path} is not what pscr score --format {form} writes"
    return UsageError(f"{found}; name the output of the interrupted run, or start anew without --resume")
