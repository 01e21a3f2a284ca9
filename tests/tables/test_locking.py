"""A file of results is one program's at a time, by whatever lock the system has."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pscr.tables import locking


class Windows(ModuleType):
    """What Windows has in place of fcntl: a byte from where the file stands is locked, or it is a PermissionError."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.taken: set[tuple[int, int]] = set()

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        """Lock a byte."""
        assert (mode, count) == (self.LK_NBLCK, 1)
        byte = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if byte in self.taken:
            raise PermissionError(13, "Permission denied")
        self.taken.add(byte)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """One file, opened twice and written to."""
    descriptors = tuple(os.open(tmp_path / "scores.csv", os.O_RDWR | os.O_CREAT) for _ in range(2))
    os.write(descriptors[0], b"path,score\n")
    yield descriptors[0], descriptors[1]
    for descriptor in descriptors:
        os.close(descriptor)


def test_a_file_is_taken_once(two: tuple[int, int]) -> None:
    assert [locking.take(descriptor) for descriptor in two] == [True, False]


def test_without_fcntl_a_byte_behind_the_rows_is_locked(two: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Windows())
    assert [locking.take(descriptor) for descriptor in two] == [True, False]
    assert os.lseek(two[0], 0, os.SEEK_CUR) == len(b"path,score\n")


def test_where_there_are_no_locks_nobody_looks(two: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", None)
    assert [locking.take(descriptor) for descriptor in two] == [True, True]
