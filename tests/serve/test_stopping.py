"""SIGTERM: what is under way is finished, what is new is refused, and the process ends with 0 within its time."""

from __future__ import annotations

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from serve_process import serving, until

pytestmark = pytest.mark.slow

HEAD = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\nabc"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_under_way_get_their_scores(tiny_model: Path, number: signal.Signals) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    slow = cv2.imencode(".png", noise)[1].tobytes()
    with serving(tiny_model, "--batch", 2) as served:
        with httpx.Client(base_url=served.url, timeout=60) as client, ThreadPoolExecutor(12) as pool:

            def ask(_: int) -> int:
                try:
                    return client.post("/v1/score", content=slow).status_code
                except httpx.TransportError:  # it came too late
                    return 0

            asked = [pool.submit(ask, turn) for turn in range(12)]
            assert until(lambda: "queue_images 0.0" not in httpx.get(f"{served.url}/metrics").text)
            served.process.send_signal(number)
            codes = [one.result() for one in asked]
        assert served.wait(30) == 0
    assert set(codes) <= {200, 0}
    assert codes.count(200) == sum("POST /v1/score 200" in line for line in served.log) >= 1
    assert not [line for line in served.log if "POST /v1/score" in line and " 200, " not in line]
    with pytest.raises(httpx.ConnectError):
        httpx.get(served.url)
    assert served.log[-1] == "pscr: stopped\n"


def test_a_client_that_never_finishes_does_not_keep_the_service_up(tiny_model: Path) -> None:
    with (
        serving(tiny_model, "--stop-seconds", 1) as served,
        socket.create_connection(("127.0.0.1", served.port)) as slow,
    ):
        slow.sendall(HEAD)
        assert until(lambda: "pscr_held_bytes 3.0" in httpx.get(f"{served.url}/metrics").text)
        started = time.monotonic()
        assert served.stop(20) == 0
        assert time.monotonic() - started < 10
        assert slow.recv(99).startswith(b"HTTP/1.1 503 ")
