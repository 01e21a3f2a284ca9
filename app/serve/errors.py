"""What the service answers where it has no score: problem details (RFC 9457) with a `code`, mostly a Status's name."""

from __future__ import annotations

import http

from fastapi.responses import JSONResponse

from ..runtime.errors import OUTSIDE, PscrError, Status
from ..runtime.pipeline import Result

MEDIA_TYPE = "application/problem+json"
# Beside the names of Status: what only a service can say.
CODES = (
    "UNAUTHORIZED",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "TIMEOUT",
    "UNSUPPORTED_MEDIA_TYPE",
    "MISDIRECTED_REQUEST",
    "QUEUE_FULL",
)
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 415: {"Accept-Encoding": "identity"}}  # RFC 9110, 15.5.2 and 15.5.16


class Problem(Exception):  # noqa: N818  # the name that RFC 9457 has for it
    """A request that is refused: the HTTP status, a code, one line (found / expected / what to do), Retry-After."""

    def __init__(self, status: int, code: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """The answer to send."""
        headers = dict(_HEADERS.get(self.status, {}))
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        content = {"type": "about:blank", "title": _title(self.status), "status": self.status}
        content |= {"code": self.code, "detail": self.detail}
        return JSONResponse(content, self.status, headers, MEDIA_TYPE)


def of_error(status: Status, message: str) -> Problem:
    """The Problem of a request whose only image has no score, or of a PscrError."""
    code = OUTSIDE[status].http
    return Problem(code, status.name, message, retry_after=5 if code == 503 else None)


def raise_for(result: Result) -> None:
    """Raise the Problem of a result without a score.

    Raises:
        Problem: by its status.
    """
    if not result.ok:
        raise of_error(result.status, result.message)


def of_pscr_error(error: PscrError) -> Problem:
    """The Problem of a PscrError."""
    return of_error(error.status, error.message)


def _title(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"
