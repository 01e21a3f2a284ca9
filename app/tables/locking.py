"""One program at a time writes to a file or a folder: the lock that says whose it is, on any system."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

_BYTE = 2**31 - 2  # the byte that Windows locks: one that rows do not reach, since nobody else can read it meanwhile


def take(descriptor: int) -> bool:
    """Take an open file or folder for this process, until the descriptor is closed; False where another has it.

    Where the system or the file system has no locks, nobody looks.
    """
    for name, lock, refusal in (("fcntl", _flock, BlockingIOError), ("msvcrt", _lock_byte, PermissionError)):
        try:
            module = import_module(name)
        except ImportError:  # another system's
            continue
        try:
            lock(module, descriptor)
        except refusal:
            return False
        except OSError:  # a file system without locks
            pass
        return True
    return True


def _flock(fcntl: ModuleType, descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_byte(msvcrt: ModuleType, descriptor: int) -> None:
    """Lock one byte, which Windows does from where the file stands; it may lie beyond the file's end."""
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        os.lseek(descriptor, _BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)
