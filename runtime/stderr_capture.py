"""What C libraries write while they decode an image, caught: it becomes the image's message, not the terminal's.

libjpeg, libpng and Pillow's libtiff write warnings with C's `stderr`. While an image is decoded that variable names a
file in memory, so their words can be read back. Only the variable changes: file descriptor 2, Python's sys.stderr and
programs that are started meanwhile are not touched. Where several images are decoded at once and something was
written, the one that it belongs to is found by decoding again alone. OpenCV's own log lines are turned off for the same
time: it writes them past that variable, so that they cannot be caught.

It is always on, in a program that imports pscr as on the command line: there is nothing to switch. It needs glibc
(elsewhere `stderr` is no variable that may be set) and is left out where there is none.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import cv2

T = TypeVar("T")
_LONGEST = 1 << 16  # bytes of one image that are read; a hostile PNG can warn without end


class _Capture:
    """The one capture of a process."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._inside = 0
        self._generation = 0  # grows with every image that begins
        self._alone = False
        self._waiting = 0  # to be alone; newcomers let them go first
        self._file = -1
        self._stream: Any = None
        self._stderr: Any = None
        self._original: int | None = None
        self._level: Any = None
        with contextlib.suppress(OSError, AttributeError, ValueError, TypeError):  # the last for CDLL(None) on Windows
            libc = ctypes.CDLL(None)
            libc.gnu_get_libc_version  # noqa: B018  # AttributeError without glibc
            libc.fdopen.restype = ctypes.c_void_p
            libc.setvbuf.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t)
            self._file = os.memfd_create("pscr-stderr")
            self._stream = libc.fdopen(self._file, b"w")
            libc.setvbuf(self._stream, None, 2, 0)  # _IONBF: nothing waits in a buffer
            self._stderr = ctypes.c_void_p.in_dll(libc, "stderr")

    def run(self, decode: Callable[[], T], alone: bool) -> tuple[T, str]:
        """What `decode` gives, and what was written for it. alone: while no other image is decoded, and once."""
        if self._stream is None:
            return decode(), ""
        result, text, undisturbed = self._run(decode, alone)
        if text and not undisturbed:
            result, text, _ = self._run(decode, alone=True)
        return result, text

    def _run(self, decode: Callable[[], T], alone: bool) -> tuple[T, str, bool]:
        with self._free:
            self._waiting += alone
            try:
                self._free.wait_for(lambda: not self._alone and not (self._inside if alone else self._waiting))
            finally:
                self._waiting -= alone
            self._alone = alone
            first = self._inside == 0
            self._begin(first)
            start = os.lseek(self._file, 0, os.SEEK_CUR)
            generation = self._generation
        try:
            result = decode()
        finally:
            with self._free:
                text = os.pread(self._file, _LONGEST, start)
                undisturbed = first and generation == self._generation
                self._end()
                self._free.notify_all()
        return result, text.decode("utf-8", "replace"), undisturbed

    def _begin(self, first: bool) -> None:
        self._inside += 1
        self._generation += 1
        if first:
            self._original = self._stderr.value
            self._stderr.value = self._stream
            with contextlib.suppress(AttributeError):  # an OpenCV without this module
                self._level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

    def _end(self) -> None:
        self._inside -= 1
        self._alone = False
        if self._inside == 0:
            self._stderr.value = self._original
            if self._level is not None:
                cv2.utils.logging.setLogLevel(self._level)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.ftruncate(self._file, 0)


_capture: _Capture | None = None
_making = threading.Lock()


def caught(decode: Callable[[], T], *, alone: bool = False) -> tuple[T, str]:
    """Run a decoder; gives its result, and what C libraries wrote to stderr for it as one line, mostly empty.

    It may run twice, unless `alone`: then it runs once, while others wait. Exceptions of `decode` propagate, and what
    was written for it is then lost.
    """
    global _capture
    if _capture is None:
        with _making:
            _capture = _capture or _Capture()
    result, text = _capture.run(decode, alone)
    return result, in_one_line(text)


def in_one_line(text: str) -> str:
    """The different lines of what was written, the first three of them, joined."""
    lines = list(dict.fromkeys(" ".join(line.split()) for line in text.splitlines() if line.strip()))
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return ("; ".join(lines[:3]) + more)[:300]


def _after_fork() -> None:
    """A fork may have come while another thread held the lock; the child gets a capture of its own."""
    global _capture, _making
    if _capture is not None and _capture._stderr is not None and _capture._original is not None:
        _capture._stderr.value = _capture._original
    _capture, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
