"""What the service does not take is refused with the right code, in one line, and nothing of it stays."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from serve_process import Served, serving
from serve_testing import picture

from pscr.runtime.errors import PscrError
from pscr.serve.formats import USUAL, check

BOUNDARY = {"Content-Type": "multipart/form-data; boundary=line"}
OCTETS = {"Content-Type": "application/octet-stream"}
TIFF, JP2, PNM = (picture(1, ending) for ending in (".tiff", ".jp2", ".ppm"))
READ = ("/", "/page.js", "/docs", "/openapi.json", "/healthz", "/readyz", "/v1/info", "/metrics")
TOKEN = "a-token-of-the-tests-0123456789"


def huge_png() -> bytes:
    """45 bytes that promise 40,000 x 40,000 pixels."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0" * 12


def part(name: str, data: bytes = b"x") -> bytes:
    return b'--line\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n\r\n%s\r\n' % (name.encode(), data)


def endless() -> Iterator[bytes]:
    for _ in range(100_000):
        yield b"\0" * 65536


CASES = {
    "nothing": ({"content": b"", "headers": OCTETS}, 400, "INVALID_ARGUMENT"),
    "text": ({"content": b"hello", "headers": {"Content-Type": "text/plain"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "json": ({"json": {"image": "x"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    "no image": ({"content": b"hello", "headers": OCTETS}, 422, "DECODE_FAILED"),
    "cut short": ({"content": picture(1)[:900], "headers": OCTETS}, 422, "DECODE_FAILED"),
    "many pixels": ({"content": huge_png(), "headers": OCTETS}, 413, "IMAGE_TOO_LARGE"),
    "many bytes": ({"content": bytes(1_100_000), "headers": OCTETS}, 413, "IMAGE_TOO_LARGE"),
    "many bytes, unannounced": ({"content": endless(), "headers": OCTETS}, 413, "IMAGE_TOO_LARGE"),
    "many bytes in a part": ({"files": [("image", bytes(1_100_000))]}, 413, "IMAGE_TOO_LARGE"),
    "many images": ({"files": [("image", picture(1))] * 6}, 422, "INVALID_ARGUMENT"),
    "another field": ({"files": [("picture", picture(1))]}, 422, "INVALID_ARGUMENT"),
    "a field of text": ({"content": part("level") + b"--line--\r\n", "headers": BOUNDARY}, 422, "INVALID_ARGUMENT"),
    "no parts": ({"content": b"--line--\r\n", "headers": BOUNDARY}, 400, "INVALID_ARGUMENT"),
    "no last boundary": ({"content": part("image"), "headers": BOUNDARY}, 400, "INVALID_ARGUMENT"),
    "no boundary at all": ({"content": b"x" * 99, "headers": BOUNDARY}, 400, "INVALID_ARGUMENT"),
    "no boundary named": (
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "INVALID_ARGUMENT",
    ),
    "a compressed body": (
        {"content": gzip.compress(picture(1)), "headers": {**OCTETS, "Content-Encoding": "gzip"}},
        415, "UNSUPPORTED_MEDIA_TYPE",
    ),
    "a body compressed after nothing": (
        {"content": picture(1), "headers": {**OCTETS, "Content-Encoding": "identity, br"}},
        415, "UNSUPPORTED_MEDIA_TYPE",
    ),
    "a part in base64": (
        {"content": part("image").replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
         "headers": BOUNDARY},
        415, "UNSUPPORTED_MEDIA_TYPE",
    ),
    "a boundary within a line": ({"content": b"x" + part("image") + b"--line--\r\n", "headers": BOUNDARY},
                                 400, "INVALID_ARGUMENT"),
    "endless headers": (
        {"content": b"--line\r\nX: " + b"y" * 100_000, "headers": BOUNDARY}, 400, "INVALID_ARGUMENT",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_request_that_cannot_be_served_is_told_why(client: httpx.Client, name: str) -> None:
    request, status, code = CASES[name]
    answer = client.post("/v1/score", **request)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["detail"]
    assert "\n" not in problem["detail"]
    assert client.post("/v1/score", content=picture(1), headers=OCTETS).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/score", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/healthz", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v2/score", 404, "NOT_FOUND"),
        ("GET", "/../../etc/passwd", 404, "NOT_FOUND"),
        ("POST", "/v1/map?format=gif", 422, "INVALID_ARGUMENT"),
        ("POST", "/v1/map?format=png&format=json", 422, "INVALID_ARGUMENT"),
        ("POST", "/v1/map?x=1", 422, "INVALID_ARGUMENT"),
        ("POST", "/v1/score?format=png", 422, "INVALID_ARGUMENT"),
        *(("GET", f"{path}?x=1", 422, "INVALID_ARGUMENT") for path in READ),
    ],
)
def test_other_routes_and_parameters_are_refused(
    client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    answer = client.request(method, path, content=b"" if method == "GET" else picture(1), headers=OCTETS)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert status != 405 or answer.headers["allow"]


@pytest.mark.parametrize("path", [*READ, "/v1/score"])
def test_head_is_answered_as_get_without_a_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert head.status_code == get.status_code == (405 if path == "/v1/score" else 200)
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]
    assert path in ("/v1/info", "/metrics") or head.headers["content-length"] == get.headers["content-length"]
    answer = client.delete(path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == ({"POST"} if path == "/v1/score" else {"GET", "HEAD"})


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"for old readers\r\n--liner\r\n" + b"-" * 999 + b"\r\r\n"])
def test_what_stands_before_and_after_the_parts_is_ignored(client: httpx.Client, preamble: bytes, size: int) -> None:
    """RFC 2046, 5.1.1: a preamble, an epilogue, and blanks after a boundary."""
    body = preamble + part("image", picture(1)).replace(b"--line", b"--line \t", 1) + b"--line--\r\nan epilogue"
    pieces = (body[place : place + size] for place in range(0, len(body), size))
    answer = client.post("/v1/score", content=pieces, headers=BOUNDARY)
    assert answer.status_code == 200, answer.text
    assert [one["status"] for one in answer.json()["results"]] == ["OK"]


def targa() -> bytes:
    """An image that Pillow would read, of a format that OpenCV does not know."""
    return struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 96, 96, 24, 0) + bytes(96 * 96 * 3)


@pytest.mark.parametrize("data", [TIFF, JP2, PNM, targa()])
def test_a_format_that_is_not_on_the_list_is_refused_undecoded(client: httpx.Client, data: bytes) -> None:
    for path in ("/v1/score", "/v1/map"):
        answer = client.post(path, content=data, headers={"Content-Type": "image/jpeg"})
        assert (answer.status_code, answer.json()["code"]) == (422, "DECODE_FAILED")
        assert "expected jpeg, png, webp, gif, bmp, avif" in answer.json()["detail"]
    both = client.post("/v1/score", files=[("image", data), ("image", picture(1))])
    assert [one["status"] for one in both.json()["results"]] == ["DECODE_FAILED", "OK"]
    assert client.get("/v1/info").json()["limits"]["formats_of_an_image"] == list(USUAL)


def test_the_list_of_formats_can_be_set(tiny_model: Path) -> None:
    with serving(tiny_model, "--formats", "png,tiff") as served:
        codes = [httpx.post(f"{served.url}/v1/score", content=data).status_code for data in (picture(1), TIFF)]
        assert codes == [422, 200]
        described = httpx.get(f"{served.url}/openapi.json").json()["paths"]["/v1/score"]["post"]["requestBody"]
    expected = {"image/png", "image/tiff", "application/octet-stream", "multipart/form-data"}
    assert set(described["content"]) == expected


def test_a_file_with_two_beginnings_is_read_as_what_it_was_taken_for() -> None:
    """No bytes of an allowed format reach the reader of another one, by OpenCV or by Pillow."""
    behind = b"\0" * 4 + b"avif" + b"\0\0\0\x14ispe" + b"\0" * 4 + struct.pack(">II", 64, 64) + bytes(5000)
    for first in (b"\xff\x4f\xff\x51", b"P5 1", b"v/1\x01", b"\x0a\x05\x01\x08", b"\0\0\x02\0"):
        with pytest.raises(PscrError):
            check(first + b"ftyp" + behind, USUAL)


def test_several_images_at_once_have_no_map_and_a_large_one_has_none_either(client: httpx.Client) -> None:
    answer = client.post("/v1/map", files=[("image", picture(1))] * 2)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_ARGUMENT")
    answer = client.post("/v1/map", content=huge_png(), headers=OCTETS)
    assert (answer.status_code, answer.json()["code"]) == (413, "IMAGE_TOO_LARGE")


@pytest.mark.parametrize("words", [b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\nx" + b"y" * 99_999])
def test_what_is_no_http_is_answered_and_closed(served: Served, words: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
        connection.sendall(words)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["code"] == "INVALID_ARGUMENT"


def test_a_queue_that_is_full_says_when_to_come_again(tiny_model: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    slow = cv2.imencode(".png", noise)[1].tobytes()
    with (
        serving(tiny_model, "--queue", 2, "--max-images", 2, "--batch", 1) as served,
        httpx.Client(base_url=served.url, timeout=60) as client,
        ThreadPoolExecutor(12) as pool,
    ):
        answers = list(pool.map(lambda _: client.post("/v1/score", content=slow, headers=OCTETS), range(24)))
        assert {answer.status_code for answer in answers} == {200, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert 1 <= int(answer.headers["retry-after"]) <= 60
                assert answer.json()["code"] == "QUEUE_FULL"
        assert client.post("/v1/score", content=slow, headers=OCTETS).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_a_token_guards_all_but_the_page_the_description_and_the_probes(tiny_model: Path) -> None:
    with (
        serving(tiny_model, token=TOKEN) as served,
        httpx.Client(base_url=served.url, timeout=30) as client,
    ):
        for given in (None, "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer " + TOKEN[:-1], TOKEN):
            headers = {"Authorization": given} if given else {}
            for method, path in (("POST", "/v1/score"), ("POST", "/v1/map"), ("GET", "/v1/info"), ("GET", "/metrics")):
                answer = client.request(method, path, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED"), (given, path)
                assert answer.headers["www-authenticate"] == "Bearer"
        good = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/v1/score", content=picture(1), headers=good).status_code == 200
        assert client.get("/metrics", headers=good).status_code == 200
        for path in ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/page.js"):
            assert client.get(path).status_code == 200
        assert "security" in client.get("/openapi.json").json()["paths"]["/v1/score"]["post"]
        assert TOKEN not in Path(f"/proc/{served.process.pid}/cmdline").read_text()
        assert TOKEN not in "".join(served.log)
