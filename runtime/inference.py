"""An open backend that threads share and forks leave alone, and the head that makes scores of what it gives."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .backends.base import Backend, Patches
from .errors import PscrError, Status
from .families.head import Floats, Head, Outputs

_log = logging.getLogger(__name__)
MOST_STREAMS = 64
_WAITED = 32  # inferences that had to wait for another one, after which streams are worth the time they take to open


class Inference:
    """Inferences of one Scorer, for any number of threads.

    One that is alone has the backend with all of its threads, which is the shortest way to its score. Where many come
    at once, on a CPU, they run side by side on streams of one thread each, which is the shortest way through all of
    them: nothing waits for the parts that one inference cannot divide among threads. Elsewhere they take turns.
    """

    def __init__(self, backend: Backend, head: Head, streams: int = 1) -> None:
        """streams: most inferences side by side; 1 where they take turns."""
        self._backend, self._head = backend, head
        self.streams = min(streams, MOST_STREAMS)
        self._opened: list[Backend] = []
        self._free: list[Backend] = []
        self._waited = 0
        self._running = 0
        self._changed = threading.Condition()
        self._process = os.getpid()
        self.closed = False

    def infer(self, patches: Patches, terms: bool = False, reference: Floats | None = None) -> Outputs:
        """See `Scorer.infer`. reference: the original's terms [C], where the head needs one."""
        with self._turn() as backend:
            if self._head.reads_terms:
                found = backend.terms(patches)
                return self._head.on_terms(found, reference)._replace(terms=found)
            outputs = backend.infer(patches, terms)
        return self._head.on_scale(outputs)

    def terms(self, patches: Patches) -> Floats:
        """See `Scorer.terms`."""
        with self._turn() as backend:
            return backend.terms(patches)

    def close(self) -> bool:
        """Release the backend, after the inferences that other threads are in; a second call does nothing.

        In a fork of the process that opened it, it only marks this copy as closed. Returns whether it was released now.
        """
        if os.getpid() != self._process:
            self.closed = True
            return False
        with self._changed:
            now, self.closed = not self.closed, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running)
            for backend in (*self._opened, self._backend):
                backend.close()
        return now

    def check_open(self) -> None:
        """See that the backend can be used.

        Raises:
            PscrError: CLOSED.
        """
        if os.getpid() != self._process:  # without the library's threads, for which it would wait
            found = f"this Scorer belongs to process {self._process}, and this is a fork of it"
            raise PscrError(Status.CLOSED, f"{found}; open the model again in this process, or start it with spawn")
        if self.closed:
            raise PscrError(Status.CLOSED, "this Scorer is closed; open the model again")

    @contextmanager
    def _turn(self) -> Iterator[Backend]:
        """The backend for one inference, as soon as there is one."""
        self.check_open()  # before the lock too: in a fork no one would ever release it
        with self._changed:
            if self._running and self.streams > 1:
                self._waited += 1
            opens = self._waited == _WAITED
            if opens:
                self._waited += 1  # so that no other thread does
        if opens:
            self._open_streams()
        with self._changed:
            self._changed.wait_for(self._may_go_on)
            self.check_open()
            backend = self._free.pop() if self._running else self._backend
            self._running += 1
        try:
            yield backend
        finally:
            with self._changed:
                self._running -= 1
                if backend is not self._backend:
                    self._free.append(backend)
                self._changed.notify_all()

    def _may_go_on(self) -> bool:
        return self.closed or not self._running or (bool(self._free) and self._running < self.streams)

    def _open_streams(self) -> None:
        """While the other inferences go on; where streams cannot be had, they go on taking turns."""
        opened: list[Backend] = []
        try:
            opened = self._backend.streams(self.streams)
        except PscrError as error:
            _log.warning("inferences take turns: %s", error.message)
        with self._changed:
            if self.closed:
                for backend in opened:
                    backend.close()
            else:
                self._opened, self._free = opened, list(opened)
