"""What the export commands' shells share: what a function logs goes to stderr, and an error is one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..runtime.errors import PscrError, Status


def for_data(status: Status) -> int:
    """The exit code of a command on runs and models: 3 for a model that cannot be used, else 1."""
    return 3 if status is Status.MODEL_INVALID else 1


def for_builds(status: Status) -> int:
    """The exit code of a command on one model: 2 for a wrong argument, else 3."""
    return 2 if status is Status.INVALID_ARGUMENT else 3


def run(verb: str, work: Callable[[], object], code: Callable[[Status], int] = for_data) -> int:
    """Do the work of a command, such as "pscr export". Returns the exit code, 0 where it went well.

    code: that of an error's status. 3 where a file could not be written, 130 after Ctrl-C.
    """
    try:
        with _shown():
            work()
        return 0
    except PscrError as error:
        sys.stderr.write(f"{verb}: error: {error}\n")
        return code(error.status)
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
