"""What stands before every route: the token, the headers of every answer, one log line and one count a request."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import Problem
from .page import POLICY
from .service import Service

_log = logging.getLogger(__name__)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """An ASGI application around another. Log lines name routes and sizes, never what a client called an image."""

    def __init__(self, app: Any, service: Service) -> None:
        self.app: ASGIApp = app
        self._service = service
        self._routes = {route.path for route in app.routes if hasattr(route, "path")}

    @staticmethod
    def guarded(path: str) -> bool:
        """Whether a path needs the token, where one is set. Open are the page, the description and the probes."""
        return path.startswith("/v1/") or path == "/metrics"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        seen = {"code": 0, "received": 0}

        async def counted_receive() -> Message:
            message = await receive()
            seen["received"] += len(message.get("body", b""))
            return message

        async def headed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["code"] = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            if self.guarded(scope["path"]) and not self._allowed(scope):
                found = "no token, or another one; expected the header Authorization: Bearer TOKEN"
                await Problem(401, "UNAUTHORIZED", found).response()(scope, counted_receive, headed_send)
            else:
                await self.app(scope, counted_receive, headed_send)
        except asyncio.CancelledError:  # the time for a graceful stop is over
            if not seen["code"]:
                found = "the service stopped before this was done; send the request to another one"
                await Problem(503, "CLOSED", found, retry_after=5).response()(scope, counted_receive, headed_send)
        finally:
            seconds = time.perf_counter() - started
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._service.metrics.request(route, seen["code"] or 500, seconds)
            line = "%s %s %d, %d bytes received, %.1f ms"
            _log.info(line, scope["method"], route, seen["code"] or 500, seen["received"], 1000 * seconds)

    def _allowed(self, scope: Scope) -> bool:
        token = self._service.token
        if token is None:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        kind, _, word = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return kind.lower() == b"bearer" and hmac.compare_digest(word.strip(), token.encode())
