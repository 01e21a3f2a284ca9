"""Clients that mean ill, or have bad luck, against `pscr serve`: python tests/stress/serve_abuse.py [--rounds 10]

Slow senders of headers and of bodies, clients that leave (before their body is whole, and before their score is there),
clients that do not read, bodies of 10 GB with and without a length, 1,000 connections, and as many half bodies as
memory would not hold. After each the service must be healthy, hold nothing and give the same score as before; its
memory stays within what its limits promise. A tiny network: the subject is the service around it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import resource
import socket
import struct
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_model as tiny
from serve_process import Served, serving, until

MEMORY, IMAGE = 64, 8  # MiB: of all bodies, of one image
CONNECTIONS, IDLE, BODY = 64, 2, 2  # open at once; seconds for headers, and for a body
ALLOWED = 96  # MiB above the start, beside the bodies: buffers of the connections, decoded images, the allocator's own
WORDS = ("--memory-mib", MEMORY, "--max-mib", IMAGE, "--connections", CONNECTIONS, "--queue", 32, "--batch", 4, "-q")
WORDS += ("--idle-seconds", IDLE, "--body-seconds", BODY)
HEAD = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Attack = Callable[[int, int], Awaitable[str]]


def image(side: int = 64) -> bytes:
    """A PNG file of noise."""
    noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.imencode(".png", noise)[1].tobytes()


async def answer(reader: asyncio.StreamReader, seconds: float) -> str:
    """The code of the answer, or how the connection ended without one."""
    try:
        line = await asyncio.wait_for(reader.readline(), seconds)
    except asyncio.TimeoutError:
        return "nothing"
    except ConnectionError:
        return "reset"
    return line.split(b" ")[1].decode() if line.startswith(b"HTTP/") else "closed"


def summary(outcomes: list[str]) -> str:
    return ", ".join(f"{outcomes.count(one)} x {one}" for one in sorted(set(outcomes)))


async def open_all(port: int, count: int) -> list[Streams]:
    return [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]


async def let_go(streams: list[Streams], rudely: bool = False) -> None:
    """Close; rudely: with a reset, as a client does that is killed."""
    for _, writer in streams:
        if rudely:
            with contextlib.suppress(OSError):  # the service was first
                no_seconds = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_seconds)
            writer.transport.abort()
        writer.close()
    for _, writer in streams:
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            await asyncio.wait_for(writer.wait_closed(), 5)


async def drip(streams: Streams, data: bytes, seconds: float) -> str:
    """Send a byte every tenth of a second until the service has enough."""
    reader, writer = streams
    got = asyncio.ensure_future(answer(reader, seconds))
    for byte in data:
        if got.done():
            break
        with contextlib.suppress(ConnectionError):
            writer.write(bytes([byte]))
            await writer.drain()
        await asyncio.sleep(0.1)
    return await got


async def slow_headers(port: int, count: int) -> str:
    every = await open_all(port, count)
    outcomes = await asyncio.gather(*(drip(one, HEAD.encode() * 2, 4 * IDLE) for one in every))
    await let_go(every)
    assert set(outcomes) <= {"closed", "reset"}, outcomes
    return summary(outcomes)


async def silence(port: int, count: int) -> str:
    every = await open_all(port, count)
    outcomes = await asyncio.gather(*(answer(reader, 4 * IDLE) for reader, _ in every))
    await let_go(every)
    assert set(outcomes) <= {"closed", "reset"}, outcomes
    return summary(outcomes)


async def slow_bodies(port: int, count: int) -> str:
    every = await open_all(port, count)
    for _, writer in every:
        writer.write(f"{HEAD}Content-Length: 1000\r\n\r\n".encode())
    outcomes = await asyncio.gather(*(drip(one, bytes(200), 4 * BODY) for one in every))
    await let_go(every)
    assert set(outcomes) == {"408"}, outcomes
    return summary(outcomes)


async def leaving(port: int, count: int, share: float) -> str:
    """Clients that are gone after a share of their body; 1 is all of it, but before the answer."""
    data = image(400)
    request = f"{HEAD}Content-Length: {len(data)}\r\n\r\n".encode() + data
    for start in range(0, count, CONNECTIONS // 2):
        every = await open_all(port, min(CONNECTIONS // 2, count - start))
        for _, writer in every:
            writer.write(request[: int(share * len(request))])
        await asyncio.gather(*(writer.drain() for _, writer in every))
        await let_go(every, rudely=bool(start // (CONNECTIONS // 2) % 2))
    return f"{count} left"


async def open_narrow(port: int, count: int) -> list[Streams]:
    """Connections of clients that read nothing; a few answers fill what lies between them and the service."""
    every = []
    for _ in range(count):
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.connect(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=narrow)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        every.append((reader, writer))
    return every


async def not_reading_the_end(port: int, count: int) -> str:
    """Clients that ask for 1, 10, 19 ... pages, the last one with an end of the connection, and take nothing."""
    every = await open_narrow(port, count)
    for place, (_, writer) in enumerate(every):
        ask = b"GET /docs HTTP/1.1\r\nHost: localhost\r\n"
        writer.write((ask + b"\r\n") * (9 * place) + ask + b"Connection: close\r\n\r\n")
    address = f"http://127.0.0.1:{port}"
    left = await asyncio.to_thread(until, lambda: gauge(address, "connections") == 1, 5 * IDLE)
    await let_go(every, rudely=True)
    assert left, "some stay for ever"
    return f"{count} were let go"


async def not_reading(port: int, count: int) -> str:
    """Clients that ask for pages and maps without end, and take nothing of them."""
    every = await open_narrow(port, count)
    ask = b"GET /docs HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500
    gone = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal gone
        try:
            while True:
                writer.write(ask)
                await asyncio.wait_for(writer.drain(), 30 * IDLE)
        except (ConnectionError, asyncio.TimeoutError) as error:
            gone += isinstance(error, ConnectionError)

    await asyncio.gather(*(pour(writer) for _, writer in every))
    await let_go(every, rudely=True)
    assert gone == count, f"{gone} of {count} were let go"
    return f"{gone} were let go"


async def ten_gigabytes(port: int, gigabytes: int, chunked: bool) -> str:
    """How much of it was taken until the answer, and until the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    block = bytes(1 << 16)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {gigabytes << 30}"
    writer.write(f"{HEAD}{length}\r\n\r\n".encode())
    got = asyncio.ensure_future(answer(reader, 60))
    sent = before_answer = 0
    try:
        while sent < gigabytes << 30:
            writer.write(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
            await writer.drain()
            sent += len(block)
            if got.done() and not before_answer:
                before_answer = sent
    except ConnectionError:
        pass
    code = await got
    await let_go([(reader, writer)])
    assert code == "413", code
    assert sent < gigabytes << 30, "all of it was taken"
    return f"413 after {before_answer >> 20} MiB, closed after {sent >> 20} MiB"


async def many_connections(port: int, count: int) -> str:
    """Idle connections above the limit; a client that has a request is served meanwhile."""
    every = await open_all(port, count)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    code = await answer(reader, 10)
    await let_go([*every, (reader, writer)])
    assert code == "200", code
    return f"{count} opened; a request beside them: {code}"


async def half_bodies(port: int, count: int) -> str:
    """More unfinished bodies than memory is promised for."""
    outcomes: list[str] = []
    block = bytes(IMAGE << 19)

    async def half() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            writer.write(f"{HEAD}Content-Length: {IMAGE << 20}\r\n\r\n".encode() + block)
        outcomes.append(await answer(reader, 4 * (IDLE + BODY)))
        await let_go([(reader, writer)], rudely=True)

    await asyncio.gather(*(half() for _ in range(count)))
    assert set(outcomes) <= {"408", "503", "reset", "closed"}, outcomes
    assert outcomes.count("503"), outcomes
    return summary(outcomes)


def damage(data: bytes, rng: random.Random) -> bytes:
    """The same with one to four bytes replaced, parts left out or repeated, line ends put in, or the end cut off."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(data))
        stop = min(len(data), start + rng.randint(1, 200))
        other = [bytes([rng.randrange(256)]), b"", 2 * data[start:stop], b"\r\n" + data[start:stop]]
        kind = rng.randrange(5)
        data = data[:start] + (other[kind] + data[start + 1 if kind == 0 else stop :] if kind < 4 else b"")
        if not data:
            return b"\0"
    return data


async def damaged_requests(port: int, count: int) -> str:
    """Whole requests with two images in multipart/form-data, damaged anywhere: in a header, a boundary, an image."""
    part = b'--line\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n%s\r\n' % image(16)
    body = part + part + b"--line--\r\n"
    head = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=line\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    rng = random.Random(1)

    async def send(data: bytes) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            writer.write(data)
        code = await answer(reader, 4 * (IDLE + BODY))
        await let_go([(reader, writer)], rudely=True)
        return code

    outcomes: list[str] = []
    while len(outcomes) < count:
        outcomes += await asyncio.gather(*(send(damage(request, rng)) for _ in range(CONNECTIONS // 2)))
    assert not [one for one in outcomes if one == "nothing" or (one[0] == "5" and one != "503")], outcomes
    return summary(outcomes)


def attacks(count: int, gigabytes: int) -> dict[str, Callable[[int], Awaitable[str]]]:
    """What is tried, by name; each is called with the port. count: connections of the largest."""
    few = min(count // 10, CONNECTIONS // 2)
    return {
        "silent connections": lambda port: silence(port, few),
        "slow headers": lambda port: slow_headers(port, few),
        "slow bodies": lambda port: slow_bodies(port, few),
        "gone within the body": lambda port: leaving(port, count, 0.5),
        "gone before the answer": lambda port: leaving(port, count, 1),
        "not reading": lambda port: not_reading(port, few),
        "not reading the end": lambda port: not_reading_the_end(port, few),
        f"{gigabytes} GB with a length": lambda port: ten_gigabytes(port, gigabytes, False),
        f"{gigabytes} GB in chunks": lambda port: ten_gigabytes(port, gigabytes, True),
        "idle connections": lambda port: many_connections(port, count),
        "damaged requests": lambda port: damaged_requests(port, count // 2),
        "half bodies": lambda port: half_bodies(port, min(count, CONNECTIONS)),
    }


def score(served: Served) -> float:
    """The score of one image, by the service."""
    request = urllib.request.Request(f"{served.url}/v1/score", image(), {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return float(json.load(response)["results"][0]["score"])


def gauge(url: str, name: str) -> float:
    """One of the metrics of a service."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
        text = response.read().decode()
    return float(text.partition(f"\npscr_{name} ")[2].split()[0])


def abuse(model: Path, count: int, gigabytes: int = 10, rounds: int = 1, minutes: float = 60) -> list[str]:
    """Try everything, `rounds` times; a line for each, those that broke a promise with BROKEN before it."""
    deadline = time.monotonic() + 60 * minutes
    lines = []
    with serving(model, *WORDS) as served:
        before = score(served)
        score(served)
        start, descriptors = served.memory(), served.descriptors()
        for turn in range(rounds):
            for name, attack in attacks(count, gigabytes).items():
                if time.monotonic() > deadline:
                    return [*lines, f"time is up after {turn} rounds"]
                started = time.monotonic()
                broken = []
                try:
                    told = await_(attack(served.port))
                except AssertionError as error:
                    told, broken = "", [str(error)]
                if not until(lambda: served.descriptors() <= descriptors + 1, 2 * (IDLE + BODY)):
                    broken.append(f"{served.descriptors() - descriptors} descriptors stay")
                if not until(lambda: gauge(served.url, "queue_images") == gauge(served.url, "held_bytes") == 0, 20):
                    broken.append("places or bytes stay taken")
                if score(served) != before:
                    broken.append("another score than before")
                grown = served.peak() - start
                if grown > MEMORY + ALLOWED:
                    broken.append("more memory than promised")
                told += f"; {time.monotonic() - started:.1f} s, peak {grown:.0f} MiB above the start"
                lines.append(" ".join(filter(None, ["BROKEN" if broken else "", f"{name}: {told}", *broken])))
        lines.append(f"memory at the end: {served.memory() - start:+.0f} MiB")
    return lines


def await_(attack: Awaitable[str]) -> str:
    async def run() -> str:
        return await attack

    return asyncio.run(run())


def main() -> int:
    """Try and print; returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--gigabytes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60, help="stop after so long (default: %(default)s)")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4 * options.connections + 256), most))
    with tempfile.TemporaryDirectory() as folder:
        model = tiny.write(Path(folder) / "tiny")
        lines = abuse(model, options.connections, options.gigabytes, options.rounds, options.minutes)
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if any(line.startswith("BROKEN") for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
