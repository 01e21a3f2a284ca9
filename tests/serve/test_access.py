"""Who is served: a route needs the token unless it is public, and without a token only the service's own names are."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from serve_process import Served, serving
from serve_testing import picture

from pscr.serve import engine
from pscr.serve.access import PUBLIC, Access, Names, needs_token

TOKEN = "a-token-of-the-tests-0123456789"


def scope(method: str, path: str, **headers: str) -> dict[str, object]:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": pairs}


@pytest.mark.parametrize("path", ["/debug", "/v2/score", "/metrics/", "/docs/x", "//", "/healthz/../v1/info", ""])
def test_a_route_that_nobody_has_called_public_needs_the_token(path: str) -> None:
    access = Access(TOKEN)
    for method in ("GET", "HEAD", "POST", "PUT"):
        refusal = access.refusal(scope(method, path))
        assert refusal is not None
        assert refusal.status == 401
        assert access.refusal(scope(method, path, authorization=f"Bearer {TOKEN}")) is None


def test_what_is_public_is_so_to_read_only() -> None:
    assert {"/", "/docs", "/openapi.json", "/healthz", "/readyz"} < PUBLIC
    for path in PUBLIC:
        assert not needs_token("GET", path)
        assert not needs_token("HEAD", path)
        assert needs_token("POST", path)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LocalHost:8000", 200), ("127.0.0.1:1", 200), ("[::1]:8000", 200), ("[0:0::1]", 200),
        ("evil.example", 421), ("evil.example:8000", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil", 421),
        ("10.1.2.3", 421), ("[::2]", 421), ("", 421), ("::1", 421), ("localhost@evil.example", 421),
        ("pscr.lan", 200), ("PSCR.lan:80", 200),
    ],
)  # fmt: skip
def test_a_name_that_another_site_could_point_here_is_refused(named: Served, host: str, status: int) -> None:
    for method, path in (("GET", "/"), ("GET", "/healthz"), ("HEAD", "/metrics"), ("POST", "/v1/score")):
        answer = httpx.request(method, named.url + path, content=picture(1), headers={"Host": host})
        assert answer.status_code == status, (path, answer.text)
    if status == 421:
        assert answer.json()["code"] == "MISDIRECTED_REQUEST"
        assert "--allow-host" in answer.json()["detail"]


@pytest.fixture(scope="module")
def named(tiny_model: Path):
    with serving(tiny_model, "--allow-host", "pscr.lan") as one:
        yield one


def test_a_service_on_all_addresses_goes_by_any_address_but_by_no_other_name() -> None:
    for host in ("0.0.0.0", "::"):
        names = Names.of(host, host)
        assert names.have("192.0.2.7:8000")
        assert names.have("[2001:db8::1]")
        assert not names.have("evil.example")
    one = Names.of("server.lan", "192.0.2.7")
    assert one.have("server.lan")
    assert one.have("192.0.2.7")
    assert not one.have("192.0.2.8")


def test_with_a_token_any_name_will_do(tiny_model: Path) -> None:
    with serving(tiny_model, token=TOKEN) as served:
        assert httpx.get(f"{served.url}/healthz", headers={"Host": "scores.example"}).status_code == 200


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_on_all_addresses_of_ipv6_it_takes_ipv4_too() -> None:
    with engine._listen("::", 0) as listener:
        port = listener.getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, port), 5):
                pass
