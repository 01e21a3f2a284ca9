"""What the export commands' shells share: what a function logs goes to stderr, and an error is one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..runtime.errors import OUTSIDE, PscrError


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
