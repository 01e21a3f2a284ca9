"""A client that leaves takes its work with it."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import httpx
import numpy as np
import pytest
from serve_process import Served, serving, until
from serve_testing import picture

import pscr
from pscr.serve.service import Awaited


def gauge(served: Served, name: str) -> float:
    return float(re.search(rf"^pscr_{name} (\S+)", httpx.get(f"{served.url}/metrics").text, re.M)[1])


def leave(served: Served, path: str, data: bytes, true: object) -> None:
    """Send a whole request, and close when something has become true."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(data)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(head.encode() + data)
        assert until(true)


def test_a_request_whose_client_left_ends_at_once(tiny_model: Path) -> None:
    with serving(tiny_model, "--batch", 64, "--max-wait-ms", 10_000) as served:  # so that its image waits
        leave(served, "/v1/score", picture(1, ".png"), lambda: gauge(served, "queue_images") == 1)
        assert until(lambda: "POST /v1/score 499" in "".join(served.log))
        assert served.stop(60) == 0


def test_a_map_that_nobody_waits_for_is_not_finished(scorer: pscr.Scorer) -> None:
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    own = Awaited(scorer)
    assert pscr.quality_map(own, image, pixel_format="rgb").values.shape == (12, 12)  # type: ignore[arg-type]
    own.wanted = False
    with pytest.raises(pscr.PscrError) as refused:
        pscr.quality_map(own, image, pixel_format="rgb")  # type: ignore[arg-type]
    assert refused.value.status is pscr.Status.CLOSED


def test_a_client_that_leaves_its_map_frees_the_thread(tiny_model: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000), np.uint8)
    data = b"P5 2000 2000 255\n" + noise.tobytes()  # PNM: as large to decode as to send
    with serving(tiny_model, "--formats", "pnm") as served:
        leave(served, "/v1/map", data, lambda: gauge(served, "maps") == 1)
        assert until(lambda: gauge(served, "maps") == 0)
        assert until(lambda: "POST /v1/map 499" in "".join(served.log))
