"""What the export commands' shells share: what a function logs goes to stderr, and an error is one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from ..runtime.errors import OUTSIDE, PscrError
from ..training.memory import keep_freed
from ..training.options import parser, read

T = TypeVar("T")


def command(
    prog: str,
    description: str,
    declared: type[T],
    work: Callable[[T], object],
    words: Sequence[str] | None,
    *,
    eager: bool = False,
    wrong: Callable[[T], str] = lambda _: "",
) -> int:
    """Read a command's options and do its work. Returns the exit code, see `run`; wrong words end the program with 2.

    prog, description: for the help; prog is a verb and its command, such as "pscr export onnx". declared: the data
        class whose fields are its options. words: None for those of the program.
    eager: whether torch runs networks layer by layer in it, see `keep_freed`. wrong: what is wrong with the options
        where each by itself is right; empty for nothing.
    """
    reader = parser(prog, description, declared)
    options = read(declared, reader, words)
    if problem := wrong(options):
        reader.error(problem)
    if eager:
        keep_freed()
    return run(prog.rpartition(" ")[0], lambda: work(options))


def run(verb: str, work: Callable[[], object]) -> int:
    """Do the work of a command, such as "pscr export". Returns the exit code, 0 where it went well.

    An error's status has the exit code that it has everywhere; 3 where a file could not be written, 130 after Ctrl-C.
    """
    try:
        with _shown():
            work()
        return 0
    except PscrError as error:
        sys.stderr.write(f"{verb}: error: {error}\n")
        return OUTSIDE[error.status].exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{verb}: error: {where}cannot be written ({error.strerror}); make room, or name another -o\n")
        return 3
    except KeyboardInterrupt:
        sys.stderr.write(f"{verb}: stopped; nothing was written\n")
        return 130


@contextmanager
def _shown() -> Iterator[None]:
    """Write what this house logs to stderr, a line each."""
    log, handler = logging.getLogger(__package__), logging.StreamHandler(sys.stderr)
    before = log.level
    log.addHandler(handler)
    log.setLevel(min(logging.INFO, before or logging.INFO))
    try:
        yield
    finally:
        log.setLevel(before)
        log.removeHandler(handler)
