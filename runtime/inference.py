"""An open backend that threads share and forks leave alone, and the head that makes scores of what it gives."""

from __future__ import annotations

import os
import threading

from .backends.base import Backend, Patches
from .errors import PscrError, Status
from .families.head import Floats, Head, Outputs


class Inference:
    """Inferences of one Scorer; those of several threads take turns."""

    def __init__(self, backend: Backend, head: Head) -> None:
        self._backend, self._head = backend, head
        self._lock = threading.Lock()
        self._process = os.getpid()
        self.closed = False

    def infer(self, patches: Patches, terms: bool = False, reference: Floats | None = None) -> Outputs:
        """See `Scorer.infer`. reference: the original's terms [C], where the head needs one."""
        self.check_open()  # before the lock too: in a fork no one would ever release it
        with self._lock:
            self.check_open()
            if self._head.reads_terms:
                found = self._backend.terms(patches)
                return self._head.on_terms(found, reference)._replace(terms=found)
            outputs = self._backend.infer(patches, terms)
        return self._head.on_scale(outputs)

    def terms(self, patches: Patches) -> Floats:
        """See `Scorer.terms`."""
        self.check_open()
        with self._lock:
            self.check_open()
            return self._backend.terms(patches)

    def close(self) -> bool:
        """Release the backend, after an inference that another thread is in; a second call does nothing.

        In a fork of the process that opened it, it only marks this copy as closed. Returns whether it was released now.
        """
        if os.getpid() != self._process:
            self.closed = True
            return False
        with self._lock:
            now, self.closed = not self.closed, True
            self._backend.close()
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
