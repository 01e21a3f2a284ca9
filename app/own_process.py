"""Work in a process of its own, for a library that may end the process it is in: the caller lives on and can say so."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from .console import Terminated, interruptible

_log = logging.getLogger(__name__)


class EndedError(Exception):
    """The process was ended before its work was; `code` is its exit code, or minus the signal that ended it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}" if code >= 0 else f"signal {-code}")
        self.code = code


def call(work: Callable[..., int], *arguments: object) -> int:
    """What `work` returns in a fork of this process; what it raises is raised here.

    The fork is in a session of its own, out of reach of a terminal's Ctrl-C: SIGINT and SIGTERM come to this process
    and go on to it. It ends where this process is killed. No other thread may be at work: the fork would have its locks
    as they are, and nobody to open them.

    Raises:
        EndedError: it ended without a result.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, work, arguments), daemon=True)
    process.start()
    sender.close()
    stopped: KeyboardInterrupt | None = None
    with interruptible(), receiver:
        while True:
            try:
                done, result = receiver.recv()
                break
            except EOFError:
                process.join()
                raise (stopped or EndedError(process.exitcode or 0)) from None
            except KeyboardInterrupt as stop:
                stopped = stop
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid or 0, signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    process.join()
    if not done:
        raise result
    code: int = result
    return code


def _run(sender: Connection, work: Callable[..., int], arguments: tuple[Any, ...]) -> None:
    os.setsid()
    with contextlib.suppress(OSError):  # none was given to this program
        sys.stdin = os.fdopen(0, closefd=False)  # multiprocessing has put /dev/null in its place
    threading.Thread(target=_end_with_parent, daemon=True).start()
    result: tuple[bool, object]
    try:
        with interruptible():
            result = True, work(*arguments)
    except BaseException as problem:
        _log.debug("in the process of its own:", exc_info=True)
        result = False, _sendable(problem)
    sender.send(result)


def _sendable(problem: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(problem))
    except Exception:  # whatever a library's exception needs to be made again
        return RuntimeError(f"{type(problem).__name__}: {problem}")
    return problem


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
