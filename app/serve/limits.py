"""What one client may take: bytes, images, pixels, places and seconds."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from .errors import Problem
from .formats import USUAL

MIB = 1 << 20
_ENVELOPE = 1 << 16  # of a multipart body, beside its images


@dataclass(frozen=True)
class Limits:
    """The bounds of a service; together they bound its memory.

    formats: of images, by their names in `formats.FORMATS`.
    image_bytes: of one encoded image. images: of one request. pixels: height * width of an image, refused from its
        header. map_pixels: the same for a quality map, which takes a run of the network for each of its windows.
    queue: images that were accepted and have no score yet; maps: the same of maps.
    held_bytes: of all request bodies in memory. connections: open at once.
    idle_seconds: from a connection's opening, or its last answer, to the end of the next request's headers; and for a
        client to take what is sent to it. body_seconds: for one request's body.
    stop_seconds: what is under way at SIGTERM may take.
    """

    formats: tuple[str, ...] = USUAL
    image_bytes: int = 32 * MIB
    images: int = 16
    pixels: int = 50_000_000
    map_pixels: int = 2048 * 2048
    queue: int = 64
    maps: int = 4
    held_bytes: int = 256 * MIB
    connections: int = 256
    idle_seconds: float = 20.0
    body_seconds: float = 30.0
    stop_seconds: float = 30.0

    @property
    def request_bytes(self) -> int:
        """Of one request's body: all its images, but no more than half of what all requests may hold."""
        return min(self.images * self.image_bytes, self.held_bytes // 2) + _ENVELOPE


class Held:
    """Counts the bytes of request bodies in memory, of all requests together. Used by the event loop's thread only."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0


class Hold:
    """One request's share of `Held`, given back at the end of the `with`."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.bytes = 0

    def add(self, count: int) -> None:
        """Count bytes that have arrived.

        Raises:
            Problem: 503, where all requests together hold too many.
        """
        if self._held.bytes + count > self._held.most:
            found = f"the requests under way hold {self._held.bytes} bytes, of {self._held.most}; try again later"
            raise Problem(503, "QUEUE_FULL", found, retry_after=1)
        self._held.bytes += count
        self.bytes += count

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.bytes -= self.bytes
