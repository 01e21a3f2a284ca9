"""Work in a process of its own, for a library that may end the process it is in: the caller lives on and can say so."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait

from .console import Terminated, interruptible

_log = logging.getLogger(__name__)
# Its command line is plain text, whatever that of this process is; a signal that comes too early ends it quietly.
_PROGRAM = """\
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.path[:] = {path}
from {module} import _run
_run({descriptor})
"""


class EndedError(Exception):
    """The process was ended before its work was; `code` is its exit code, or minus the signal that ended it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}" if code >= 0 else f"signal {-code}")
        self.code = code


def call(work: Callable[..., int], *arguments: object) -> int:
    """What `work` returns in a new process with this one's streams and import path; what it raises is raised here.

    The process is in a session of its own, out of reach of a terminal's Ctrl-C: SIGINT and SIGTERM come to this process
    and go on to it. It ends where this process is killed.

    work, arguments: what can be pickled; `work` is a function of a module.

    Raises:
        EndedError: it ended without a result.
    """
    ours, theirs = Pipe()
    stopped: KeyboardInterrupt | None = None
    with interruptible(), ours:
        with theirs:
            program = _PROGRAM.format(path=ascii(sys.path), module=__name__, descriptor=theirs.fileno())
            command = [sys.executable, "-c", program]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        ours.send((work, arguments))
        while True:
            try:
                done, result = ours.recv()
                break
            except EOFError:
                raise (stopped or EndedError(process.wait())) from None
            except KeyboardInterrupt as stop:
                stopped = stop
                process.send_signal(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
        process.wait()
    if not done:
        raise result
    code: int = result
    return code


def _run(descriptor: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    caller = Connection(descriptor)
    work, arguments = caller.recv()
    threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
    result: tuple[bool, object]
    try:
        with interruptible():
            result = True, work(*arguments)
    except BaseException as problem:
        _log.debug("in the process of its own:", exc_info=True)
        result = False, _sendable(problem)
    caller.send(result)


def _sendable(problem: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(problem))
    except Exception:  # whatever a library's exception needs to be made again
        return RuntimeError(f"{type(problem).__name__}: {problem}")
    return problem


def _end_with(caller: Connection) -> None:
    """End this process where the caller has ended: it says nothing else from now on."""
    wait([caller])
    os._exit(1)
