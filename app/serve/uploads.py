"""Reading images off a request as it arrives, within limits: its body itself, or the parts of multipart/form-data.

Nothing is trusted beforehand: a Content-Length that is too large is refused at once, and what arrives is counted in any
case. Nothing is written to disk, as Starlette's own form parser would.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from ..console import one_line as printable
from ..runtime.errors import one_line
from .errors import Problem
from .limits import Hold, Limits

FIELD = "image"
_LONGEST_HEADERS = 8192  # bytes, of one part
_LONGEST_NAME = 255
_LONGEST_LINE = 256  # bytes of the line before the first part: a boundary has 70 at most


# The values with which a body, or a part, is the image's own bytes.
_PLAIN = {"Content-Encoding": ("identity",), "Content-Transfer-Encoding": ("binary", "8bit", "7bit")}


@dataclass(frozen=True)
class Upload:
    """An image as it came: the name that its sender gave it, and its bytes."""

    name: str
    data: bytes


async def read_images(request: Request, limits: Limits, hold: Hold) -> list[Upload]:
    """All images of a request, one or more, in their order.

    Raises:
        Problem: 400 for a body that is not what its type says, or is empty; 408 for one that takes too long; 413 for
            one that is too large; 415 for another type, and for one that is compressed; 422 for too many parts, or
            another; 503 where all requests hold too much.
        starlette.requests.ClientDisconnect: the client has gone.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    multipart = kind == b"multipart/form-data"
    if not (multipart or kind in (b"", b"application/octet-stream") or kind.startswith(b"image/")):
        found = f"Content-Type {printable(kind.decode('latin-1')[:80])}"
        expected = "expected image/* or application/octet-stream with an image as the body, or multipart/form-data"
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", f"{found}; {expected} with parts named '{FIELD}'")
    _check_plain("Content-Encoding", ",".join(request.headers.getlist("content-encoding")))
    most = limits.request_bytes if multipart else min(limits.image_bytes, limits.request_bytes)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_large(f"the body has {declared} bytes", most)
    chunks = _counted(request, most, hold)
    read = _read_parts(chunks, options.get(b"boundary", b""), limits) if multipart else _read_raw(chunks)
    try:
        return await asyncio.wait_for(read, limits.body_seconds)
    except asyncio.TimeoutError:
        found = f"the body was not there after {limits.body_seconds:g} s"
        raise Problem(408, "TIMEOUT", f"{found}; send it faster, or fewer images at once") from None


async def _counted(request: Request, most: int, hold: Hold) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise _too_large("the body is larger", most)
        hold.add(len(chunk))
        yield chunk


async def _read_raw(chunks: AsyncIterator[bytes]) -> list[Upload]:
    data = b"".join([chunk async for chunk in chunks])
    if not data:
        raise Problem(400, "INVALID_ARGUMENT", "the body is empty; expected the bytes of an image file")
    return [Upload("", data)]


async def _read_parts(chunks: AsyncIterator[bytes], boundary: bytes, limits: Limits) -> list[Upload]:
    parts = _Parts(limits)
    try:
        if not boundary:
            raise FormParserError("no boundary in the Content-Type")
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        async for chunk in _without_preamble(chunks, boundary):
            parser.write(chunk)
        if not parts.ended:
            raise FormParserError("it ends before its last boundary")
    except FormParserError as error:
        found = f"the body is not multipart/form-data ({one_line(error, 120)})"
        raise Problem(400, "INVALID_ARGUMENT", f"{found}; check the client, or send one image as the body") from None
    if not parts.uploads:
        raise Problem(400, "INVALID_ARGUMENT", f"no images; expected parts named '{FIELD}'")
    return parts.uploads


async def _without_preamble(chunks: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[bytes]:
    """What begins with the first line that is the boundary. Source: RFC 2046, 5.1.1, where a preamble is ignored."""
    line = re.compile(rb"\r\n(--" + re.escape(boundary) + rb")(?:(?=--)|[ \t]*(?=\r\n))")
    before = b"\r\n"  # a body may begin with that line
    async for chunk in chunks:
        before += chunk
        found = line.search(before)
        if found is not None:
            yield found[1] + before[found.end() :]
            break
        last = before[max(before.rfind(b"\r\n"), 0) :]
        before = last if len(last) <= _LONGEST_LINE else last[-1:]  # which may be a line's \r
    async for chunk in chunks:
        if chunk:
            yield chunk


class _Parts:
    """What the streaming parser tells of the parts, kept within limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.uploads: list[Upload] = []
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._field, self._value = b"", b""
        self._header_bytes = self._size = 0
        self._data: list[bytes] = []
        self._name = ""

    def callbacks(self) -> dict[str, object]:
        """As python_multipart wants them."""
        names = (
            "part_begin",
            "header_field",
            "header_value",
            "header_end",
            "headers_finished",
            "part_data",
            "part_end",
        )
        return {**{f"on_{name}": getattr(self, name) for name in names}, "on_end": self.end}

    def part_begin(self) -> None:
        if len(self.uploads) == self._limits.images:
            found = f"more than {self._limits.images} images in one request"
            raise Problem(422, "INVALID_ARGUMENT", f"{found}; send them in several requests")
        self._headers, self._data = {}, []
        self._field, self._value = b"", b""
        self._header_bytes = self._size = 0

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition"))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or field != FIELD:
            found = f"a part named '{printable(field[:60])}'"
            raise Problem(422, "INVALID_ARGUMENT", f"{found}; expected parts named '{FIELD}' only, an image each")
        for name in _PLAIN:
            _check_plain(name, self._headers.get(name.lower().encode(), b"").decode("latin-1"))
        self._name = options.get(b"filename", b"").decode("utf-8", "replace")[:_LONGEST_NAME]

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._limits.image_bytes:
            raise _too_large(f"image {len(self.uploads) + 1} is larger", self._limits.image_bytes)
        self._data.append(data[start:end])

    def part_end(self) -> None:
        self.uploads.append(Upload(self._name, b"".join(self._data)))
        self._data = []

    def end(self) -> None:
        self.ended = True

    def _count(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > _LONGEST_HEADERS:
            raise FormParserError(f"a part's headers have more than {_LONGEST_HEADERS} bytes")


def _too_large(found: str, most: int) -> Problem:
    return Problem(413, "IMAGE_TOO_LARGE", f"{found}; expected at most {most} bytes; send a smaller image")


def _check_plain(header: str, value: str) -> None:
    """Refuse an image that is compressed or encoded on its way; it would have to be unpacked within limits, too.

    Raises:
        Problem: 415.
    """
    if any(word.strip().lower() not in ("", *_PLAIN[header]) for word in value.split(",")):
        found = f"{header} {printable(value[:80])}; expected none, or {' or '.join(_PLAIN[header])}"
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", f"{found}; send the image file as it is")
