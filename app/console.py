"""The command line's two streams and its own error: results go to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FrameType

from .runtime.errors import PscrError, Status

INTERRUPTED, TERMINATED = 130, 143


class UsageError(Exception):
    """The command line was wrong (exit code 2); the message says what was found, what was expected, what to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken like Ctrl-C: what was done so far is kept and said; `code` is the program's exit code then."""

    code = TERMINATED


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise Terminated where SIGTERM arrives, so that it ends work as tidily as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def replace_closed_streams() -> None:
    """Put something in the place of standard streams that were closed before the start (`pscr ... >&-`).

    A file that is opened later would get their number otherwise, and with it what C libraries write there. Reading
    from what stands for standard input, and writing to what stands for standard output, fails as on a closed stream;
    what is written to standard error is dropped.
    """
    for name, mode, flags in (("stdin", "r", os.O_WRONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)  # the lowest that is free: the stream's own
            setattr(sys, name, os.fdopen(descriptor, mode))


@contextlib.contextmanager
def needing(extra: str, user: str) -> Iterator[None]:
    """Say how to install what `user`, a verb or option, needs beyond the libraries that scoring does.

    Raises:
        PscrError: a module of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as problem:
        if problem.name is None or problem.name.partition(".")[0] == "pscr":
            raise
        found = f"{user} needs the Python module {problem.name}, which is not installed here"
        raise PscrError(Status.MODEL_INVALID, f"{found}; install it with: pip install 'pscr[{extra}]'") from problem


def one_line(text: str) -> str:
    """The text on one line, its control characters made visible, so that a hostile path cannot steer a terminal."""
    return "".join(
        char if char.isprintable() or _is_escaped_byte(char) else _visible(char) for char in " ".join(text.splitlines())
    )


def out(text: str = "") -> None:
    """Write one line to stdout; characters that its encoding lacks are written as escapes."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def err(text: str) -> None:
    """Write one line to stderr, its control characters made visible; a closed stderr is no reason to fail."""
    try:
        sys.stderr.write(one_line(text).encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
        sys.stderr.flush()
    except OSError:
        return


def error(message: str) -> None:
    """Write `pscr: error: ...` on one line of stderr."""
    err(f"pscr: error: {message}")


def columns(rows: Iterable[tuple[str, ...]], right: frozenset[int] = frozenset()) -> list[str]:
    """Lines with the cells of each column aligned: to the right for the column numbers in `right`, else to the left."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _is_escaped_byte(char: str) -> bool:
    """Whether this stands for a byte of a path that is not UTF-8 (PEP 383)."""
    return "\udc80" <= char <= "\udcff"


def _visible(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
