"""A connection lives as long as it is of use: the protocol's clocks and bounds, with a small application behind it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from uvicorn.server import ServerState

from pscr.serve.limits import Limits
from pscr.serve.server import LINGER, configuration

pytestmark = pytest.mark.slow

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """30,000 bytes for /large, an answer after a second for /slow, a refusal before the body for all that is posted."""
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    body = bytes(30_000 if scope["path"] == "/large" else 5)
    status = 413 if scope["method"] == "POST" else 200
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def run(client: Callable[[int, ServerState], Awaitable[None]], most: int = 8, idle: float = 0.3) -> None:
    """Serve on a free port while the client does what it does. most: connections; idle: seconds."""

    async def both() -> None:
        config = configuration(application, Limits(connections=most, idle_seconds=idle))
        config.load()
        state = ServerState()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that little lies between
        made = config.http_protocol_class
        server = await asyncio.get_running_loop().create_server(
            lambda: made(config=config, server_state=state, app_state={}), sock=listener
        )
        await asyncio.wait_for(client(listener.getsockname()[1], state), 20)
        server.close()

    asyncio.run(both())


async def opened(port: int, narrow: bool = False) -> Streams:
    one = socket.socket()
    if narrow:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=one)
    if narrow:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
    return reader, writer


async def ended(reader: asyncio.StreamReader, seconds: float = 10) -> bytes:
    """All that still comes, until the other side ends the connection."""
    try:
        return await asyncio.wait_for(reader.read(), seconds)
    except ConnectionError:
        return b""


async def gone(state: ServerState, seconds: float = 10) -> bool:
    for _ in range(int(20 * seconds)):
        if not state.connections:
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.mark.parametrize("pieces", [[], [b"GET"], [GET[n : n + 1] for n in range(20)], [GET, b"GET"]])
def test_a_client_that_does_not_finish_its_headers_is_let_go(pieces: list[bytes]) -> None:
    async def client(port: int, state: ServerState) -> None:
        reader, writer = await opened(port)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.05)
        await ended(reader)
        assert await gone(state)

    run(client)


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_a_client_that_does_not_take_its_answer_is_let_go(close: bytes) -> None:
    async def client(port: int, state: ServerState) -> None:
        _, writer = await opened(port, narrow=True)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n" + close + b"\r\n")
        await asyncio.sleep(0.1)
        assert state.connections
        assert await gone(state)
        writer.close()

    run(client)


def test_what_follows_a_refusal_is_thrown_away_for_a_while_and_then_the_connection_ends() -> None:
    async def client(port: int, state: ServerState) -> None:
        reader, writer = await opened(port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"413"
        started = asyncio.get_running_loop().time()
        while state.connections and asyncio.get_running_loop().time() < started + 10:
            writer.write(b"x")
            await asyncio.sleep(0.05)
        assert not state.connections
        assert asyncio.get_running_loop().time() - started > 0.5 * LINGER

    run(client)


def test_a_refused_body_that_ends_soon_leaves_the_connection_in_use() -> None:
    async def client(port: int, state: ServerState) -> None:
        reader, writer = await opened(port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        assert (await reader.readline()).split()[1] == b"413"
        writer.write(b"67890" + GET)
        assert b"200 OK" in await ended(reader)

    run(client)


def test_above_the_limit_the_one_that_waits_longest_makes_room_and_none_that_works() -> None:
    async def client(port: int, state: ServerState) -> None:
        busy = await opened(port)
        busy[1].write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        oldest = await opened(port)
        await asyncio.sleep(0.05)
        other = await opened(port)
        await asyncio.sleep(0.05)
        newest = await opened(port)
        assert await ended(oldest[0], 5) == b"", "before its own time"
        newest[1].write(GET)
        assert b"200" in await newest[0].readline()
        other[1].write(GET)
        assert b"200" in await other[0].readline()
        assert b"200" in await busy[0].readline()

    run(client, most=3, idle=20)


def test_where_all_work_one_more_is_told_to_come_again() -> None:
    async def client(port: int, state: ServerState) -> None:
        every = [await opened(port) for _ in range(2)]
        for _, writer in every:
            writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        reader, _ = await opened(port)
        answer = await ended(reader)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        for reader, _ in every:
            assert b"200" in await reader.readline()

    run(client, most=2, idle=20)
