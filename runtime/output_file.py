"""Where output goes: whether it can be written is found out before the work, and it is written whole or not at all.

A regular file is written under a fresh name beside its place and then renamed into it. A link goes on pointing: what it
points to is replaced. What is no regular file (a terminal, a pipe, /dev/null, /dev/stdout) is written to as it is.
Where nothing may be made beside a file, or nothing may take its place (a mounted file), it is written where it lies.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from pathlib import Path
from typing import NamedTuple

from .errors import PscrError, Status

STDOUT = "-"
Name = str | os.PathLike[str]
_MOST_LINKS = 40  # as many as Linux follows
_DESCRIPTORS = re.compile(r"/proc/([0-9]+)(/task/[0-9]+)?/fd")
_IMMOVABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)  # of a folder or a file that stays as it is
# How files are opened, without what only some systems have: bytes as they are, and of a new file nobody else's.
_WRITE = os.O_WRONLY | getattr(os, "O_BINARY", 0)
_MAKE = _WRITE | os.O_CREAT | os.O_EXCL
_WRITE_NO_LINK = _WRITE | getattr(os, "O_NOFOLLOW", 0)


class Opened(NamedTuple):
    """descriptor: open for writing, the caller's to close. is_file: of a regular file, which can be cut and locked.

    created: the file, where this made it.
    """

    descriptor: int
    is_file: bool
    created: Path | None = None


def check(name: Name, option: str = "-o") -> None:
    """Find out that an output cannot be written; what is there is left alone.

    name: as it was typed; '-' is standard output. option: that it was given by.

    Raises:
        PscrError: INVALID_ARGUMENT.
    """
    given = f"{option} {os.fspath(name)}"
    try:
        if os.fspath(name) == STDOUT:
            given = "standard output"
            _check_stdout()
            return
        place = _place(name)
        if isinstance(place, Path):
            _check_place(place, given)
        else:
            os.write(place, b"")  # fails on one that is closed, or open for reading only
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else problem
        raise _refused(f"{given} cannot be written: {reason}; name another file") from problem


def write(name: Name, data: bytes) -> None:
    """Write an output: all of it, or a regular file stays as it was.

    Raises:
        OSError: with the file's name.
    """
    try:
        if os.fspath(name) == STDOUT:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        place = _place(name)
        if isinstance(place, Path) and is_regular(place):
            _replace(place, data)
        else:
            _write_and_close(open_rows(name).descriptor, data)
    except OSError as problem:
        problem.filename = os.fspath(name)
        raise


def is_regular(name: Name) -> bool:
    """Whether an output is a regular file, or would become one."""
    place = "" if os.fspath(name) == STDOUT else _place(name)
    if not isinstance(place, Path):
        return False
    found = _look(place)
    return found is None or stat.S_ISREG(found.st_mode)


def open_rows(name: Name) -> Opened:
    """Open an output that is written bit by bit; of a file that is there nothing is cut off yet.

    Raises:
        OSError: it cannot be opened for writing.
    """
    place = _place(name)
    if isinstance(place, int):
        sys.stdout.flush()
        return Opened(os.dup(place), False)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(place, _MAKE, 0o666)
        made = stat.S_ISREG(os.fstat(descriptor).st_mode)  # Windows "makes" NUL, too
        return Opened(descriptor, made, place if made else None)
    descriptor = os.open(place, _WRITE_NO_LINK | getattr(os, "O_NOCTTY", 0))
    return Opened(descriptor, stat.S_ISREG(os.fstat(descriptor).st_mode))


def _place(name: Name) -> Path | int:
    """What a name leads to: a path that is no link, or, as with /dev/stdout, a descriptor of this process.

    Raises:
        OSError: the links go round in a circle.
    """
    path = Path(name)
    for _ in range(_MOST_LINKS):
        found = _DESCRIPTORS.fullmatch(os.path.realpath(path.parent))
        if found and int(found[1]) == os.getpid() and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return path
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(name))


def _look(place: Path) -> os.stat_result | None:
    """What is there, or None."""
    try:
        return place.lstat()
    except FileNotFoundError:
        return None


def _check_stdout() -> None:
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # a program that captures it
        return
    try:
        os.write(descriptor, b"")
    except OSError as problem:
        if problem.errno == errno.EBADF:  # closed; a full disk is told where something is written
            raise


def _check_place(place: Path, given: str) -> None:
    if place.is_dir():
        raise _refused(f"{given} is a folder; expected the name of a file")
    if not place.parent.is_dir():
        raise _refused(f"{given}: there is no folder {place.parent}; make it first, or name another file")
    found = _look(place)
    if found is not None and not stat.S_ISREG(found.st_mode):
        if not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return  # a pipe would wait for its reader
    if found is not None:
        os.close(os.open(place, _WRITE_NO_LINK))
    try:
        descriptor, fresh = _fresh(place.parent)
    except OSError as problem:
        if found is None or problem.errno not in _IMMOVABLE:
            raise
        return
    try:
        _write_and_close(descriptor, b"\0")  # fails on a full disk
    finally:
        fresh.unlink()


def _replace(place: Path, data: bytes) -> None:
    before = _look(place)
    try:
        descriptor, fresh = _fresh(place.parent)
        try:
            if before is not None:
                # Another's file, and we are not root; a disk without modes; Windows, which has no owners to give on.
                with contextlib.suppress(OSError, AttributeError):
                    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
                    os.fchown(descriptor, before.st_uid, before.st_gid)
            _write_and_close(descriptor, data, sync=True)
            if not is_regular(place):
                raise OSError(errno.EEXIST, "something else has taken its place meanwhile")
            fresh.replace(place)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
    except OSError as problem:
        if before is None or problem.errno not in _IMMOVABLE:
            raise
        _write_and_close(os.open(place, _WRITE_NO_LINK | os.O_TRUNC), data, sync=True)


def _fresh(folder: Path) -> tuple[int, Path]:
    """A new file that nobody else can know of, or have put there: its descriptor and its path."""
    path = folder / f".pscr-{secrets.token_hex(8)}"
    return os.open(path, _MAKE, 0o666), path


def _write_and_close(descriptor: int, data: bytes, sync: bool = False) -> None:
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(message: str) -> PscrError:
    return PscrError(Status.INVALID_ARGUMENT, message)
