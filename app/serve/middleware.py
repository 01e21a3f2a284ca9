"""What stands before every route: who may ask, the headers of every answer, one log line and one count a request."""

from __future__ import annotations

import asyncio
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
            refusal = self._service.access.refusal(scope)
            answer = self.app if refusal is None else refusal.response()
            await answer(scope, counted_receive, headed_send)
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
