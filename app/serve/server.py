"""The sockets' side: uvicorn's HTTP/1.1 protocol with the time limits and the bound on connections that it lacks.

A client that says nothing, or half a request, or does not take its answer, or goes on sending after its answer, is let
go after a while, whatever the application does. Which is why the protocol class is named here and not left to "auto".
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .errors import Problem
from .limits import Limits

LINGER = 1.0  # seconds in which the rest of a refused body is thrown away, so that the client can read its answer
_BACKLOG = 256


def protocol(limits: Limits) -> type[H11Protocol]:
    """The protocol class of a service with these limits."""

    class Limited(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _waiting_for = ""  # what the timer limits: "head", "rest", "end" or nothing
        _write_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections and not self._make_room():
                self._refuse(Problem(503, "QUEUE_FULL", f"{limits.connections} connections are open", retry_after=1))
                return
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._limit("", 0)
            self.resume_writing()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._write_timer = self.loop.call_later(limits.idle_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._write_timer is not None:
                self._write_timer.cancel()
                self._write_timer = None

        def send_400_response(self, msg: str) -> None:
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.transport.is_closing():
                self._refuse(Problem(400, "INVALID_ARGUMENT", f"{msg} Expected HTTP/1.1."))
            else:
                self.transport.close()

        def shutdown(self) -> None:
            if self.conn.our_state is h11.ERROR or self.transport.is_closing():
                self.transport.abort()
            else:
                super().shutdown()

        def _watch(self) -> None:
            """Let the clock run where it is the client's turn, and stop it where it is ours."""
            if self.transport.is_closing():  # when all is taken that was sent; asyncio waits for that without end
                self._limit("end", limits.idle_seconds)
            elif self.cycle is not None and not self.cycle.response_complete:
                self._limit("", 0)
            elif self.conn.their_state is h11.SEND_BODY:
                self._limit("rest", LINGER)
            else:
                self._limit("head", limits.idle_seconds)

        def _limit(self, what: str, seconds: float) -> None:
            if what == self._waiting_for:
                return  # the clock runs on: a byte now and then does not start it again
            if self._timer is not None:
                self._timer.cancel()
            self._waiting_for = what
            self._timer = self.loop.call_later(seconds, self.transport.abort) if what else None

        def _make_room(self) -> bool:
            """Close the connection that has waited longest for a request, if any has."""
            idle = [one for one in self.connections if isinstance(one, Limited) and one._waiting_for == "head"]
            oldest = min(idle, key=lambda one: one._timer.when() if one._timer else 0.0, default=None)
            if oldest is not None:
                oldest._limit("", 0)  # so that it is not chosen again before the loop has seen it go
                oldest.transport.abort()
            return oldest is not None

        def _refuse(self, problem: Problem) -> None:
            """Answer without a request, as HTTP/1.1 allows, and close."""
            answer = problem.response()
            head = f"HTTP/1.1 {problem.status} Refused\r\nConnection: close\r\n".encode()
            head += b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
            self.transport.write(head + b"\r\n" + bytes(answer.body))
            self.transport.close()
            self._watch()

    return Limited


class Server(uvicorn.Server):
    """uvicorn's server, which here ends with its caller's exit code, not by the signal that stopped it."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: Any = None) -> None:
        """Begin to serve, and tell the caller."""
        await super().startup(sockets)
        self._tell()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the loop gracefully, and are not raised again after it."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self.server_state.connections)


def configuration(app: Any, limits: Limits) -> uvicorn.Config:
    """uvicorn's settings for a service: one process, HTTP/1.1 only, its own log lines off, no header believed."""
    return uvicorn.Config(
        app,
        http=protocol(limits),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=int(limits.idle_seconds) + 1,  # ours comes first
        timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
    )
