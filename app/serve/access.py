"""Who may ask for what: the token, where one is set, and the names that a service goes by."""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from starlette.types import Scope

from ..console import one_line
from ..runtime.errors import PscrError, Status
from .errors import Problem
from .page import FILES

LEAST_TOKEN = 16  # characters; fewer could be guessed at the rate that a service answers
PUBLIC = frozenset(
    {*FILES, "/docs", "/openapi.json", "/healthz", "/readyz"}
)  # paths that may be read without the token
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # b64token of RFC 6750, what a Bearer header can carry
_HOST = re.compile(
    r"(?:\[([0-9a-f:.]+)\]|([^\[\]:]+))(?::\d*)?", re.IGNORECASE
)  # RFC 9110, 7.2: with or without a port
_LOCAL = ("localhost", "127.0.0.1", "::1")


def needs_token(method: str, path: str) -> bool:
    """Whether a request needs the token, where one is set: every one does, but to read what is `PUBLIC`."""
    return method not in ("GET", "HEAD") or path not in PUBLIC


@dataclass(frozen=True)
class Names:
    """The hosts that a request may be addressed to: names of this machine and, with `any_address`, all IP addresses.

    A page of another site can let that site's name point to this machine (DNS rebinding); its requests then are of one
    origin with the service, but they still carry the name. An address cannot be made to point elsewhere.
    """

    names: frozenset[str]
    any_address: bool = False

    @classmethod
    def of(cls, host: str, bound: str, more: Iterable[str] = ()) -> Names:
        """Those of a service that was told to listen on `host`, which is the address `bound`, and goes by `more`."""
        everywhere = ipaddress.ip_address(bound.partition("%")[0]).is_unspecified
        return cls(frozenset(_spelled(name) for name in (*_LOCAL, host, bound, *more)), everywhere)

    def have(self, header: str) -> bool:
        """Whether the value of a Host header, which may have a port, is one of them."""
        found = _HOST.fullmatch(header)
        if found is None:
            return False
        name = _spelled(found[1] or found[2])
        return name in self.names or (self.any_address and _address(name) is not None)


@dataclass(frozen=True)
class Access:
    """What a request must carry.

    token: the word of its Authorization header; None for a service that is open to all. names: what its Host header may
    be; None for any.
    """

    token: str | None = None
    names: Names | None = None

    def refusal(self, scope: Scope) -> Problem | None:
        """Why a request (an ASGI scope) is not let through, or None where it is."""
        hosts = _headers(scope, b"host")  # none at all in HTTP/1.0, which no browser speaks
        if self.names is not None and not all(self.names.have(host) for host in hosts):
            found = f"Host {one_line(', '.join(hosts)[:80])} is no name of this service"
            expected = "expected localhost or the address that it listens on"
            return Problem(421, "MISDIRECTED_REQUEST", f"{found}; {expected}; start it with --allow-host or a token")
        if self.token is not None and needs_token(scope["method"], scope["path"]) and not self._has_token(scope):
            found = "no token, or another one; expected the header Authorization: Bearer TOKEN"
            return Problem(401, "UNAUTHORIZED", found)
        return None

    def _has_token(self, scope: Scope) -> bool:
        given = _headers(scope, b"authorization")
        kind, _, word = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        return kind.lower() == "bearer" and hmac.compare_digest(word.strip().encode(), (self.token or "").encode())


def read_token(file: str | None) -> str | None:
    """The token that clients must send: the file's only line, else the environment's PSCR_TOKEN, else None.

    Raises:
        PscrError: INVALID_ARGUMENT: the file cannot be read, or what is there can be no token.
    """
    if file is not None:
        try:
            text, origin = Path(file).read_text("utf-8"), f"--token-file {file}"
        except (OSError, UnicodeDecodeError) as error:
            found = f"--token-file {file} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected a file with the token on one line") from error
    elif "PSCR_TOKEN" in os.environ:
        text, origin = os.environ["PSCR_TOKEN"], "PSCR_TOKEN"
    else:
        return None
    token = text.strip()
    if len(token) < LEAST_TOKEN or not _TOKEN.fullmatch(token):
        expected = f"expected {LEAST_TOKEN} or more letters, digits and -._~+/ on one line"
        raise PscrError(Status.INVALID_ARGUMENT, f"{origin} holds no token; {expected}, such as: openssl rand -hex 32")
    return token


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None


def _spelled(name: str) -> str:
    """A name or an address in the one way that it is compared."""
    return str(_address(name) or name.lower())
