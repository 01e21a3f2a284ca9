"""What the routes share: the open model, its batcher, and what becomes of a request while it waits."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from starlette.requests import ClientDisconnect, Request

from ..runtime.backends.base import Outputs
from ..runtime.errors import PscrError, Status
from ..runtime.pipeline import Result
from ..runtime.samplings import Pixels
from ..runtime.scorer import Scorer
from ..tables.scoring import check_diagnosis
from . import formats
from .access import Access
from .batching import Batcher, Full
from .errors import Problem, of_pscr_error
from .limits import Held, Hold, Limits
from .metrics import Metrics
from .uploads import Upload, read_images

T = TypeVar("T")
_PRIVATE = ("folder",)  # of Scorer.info: what names this machine's disks


class Awaited:
    """A Scorer for as long as somebody waits: then its next inference is the error CLOSED."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.wanted = True

    def infer(self, patches: Pixels, terms: bool = False) -> Outputs:
        if not self.wanted:
            raise PscrError(Status.CLOSED, "nobody waits for this any more")
        return self._scorer.infer(patches, terms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)


class Service:
    """An open model behind HTTP. Its methods are called in the event loop's thread."""

    def __init__(
        self, scorer: Scorer, limits: Limits, access: Access, *, batch: int | None = None, wait: float = 0.002
    ) -> None:
        """Start the threads that score.

        batch: most images of one inference; None for a good number on this device. wait: seconds that a batch waits
        for more images.
        """
        self.scorer, self.limits, self.access = scorer, limits, access
        self.metrics = Metrics()
        self.held = Held(limits.held_bytes)
        self.batch, self.wait = batch or scorer.batch, wait
        self.batcher = Batcher(
            scorer,
            self.metrics,
            check=self.check_format,
            batch=self.batch,
            wait=wait,
            places=limits.queue,
            workers=scorer.decoders,
        )
        self._maps = ThreadPoolExecutor(1, thread_name_prefix="pscr-map")
        self._maps_under_way = 0
        self.stopping = False
        self.metrics.gauge("queue_images", "Images under way", lambda: self.batcher.under_way)
        self.metrics.gauge("queue_places", "Images that may be under way", lambda: limits.queue)
        self.metrics.gauge("maps", "Quality maps under way", lambda: self._maps_under_way)
        self.metrics.gauge("held_bytes", "Bytes of request bodies in memory", lambda: self.held.bytes)

    @property
    def ready(self) -> bool:
        """Whether another image would be taken."""
        return self.batcher.alive and not self.stopping and self.batcher.under_way < self.batcher.places

    def facts(self) -> dict[str, Any]:
        """What `/v1/info` says."""
        scorer, limits = self.scorer, self.limits
        info = {key: value for key, value in scorer.info.items() if key not in _PRIVATE}
        info["calibration"] = scorer.calibration.to_dict() if scorer.calibration else None
        info["limits"] = {
            "formats_of_an_image": list(limits.formats),
            "bytes_of_an_image": limits.image_bytes,
            "bytes_of_a_request": limits.request_bytes,
            "images_of_a_request": limits.images,
            "pixels_of_an_image": limits.pixels,
            "pixels_of_a_map": limits.map_pixels,
            "images_in_the_queue": limits.queue,
            "seconds_for_a_body": limits.body_seconds,
        }
        info["batching"] = {"images": self.batch, "wait_ms": 1000 * self.wait}
        return info

    def check_format(self, data: bytes) -> None:
        """See whether an image file is of a format that this service decodes; may be called in any thread.

        Raises:
            PscrError: DECODE_FAILED.
        """
        formats.check(data, self.limits.formats)

    async def receive(self, request: Request, hold: Hold) -> list[Upload]:
        """The images of a request; refused before they are read where there is no place for one.

        Raises:
            Problem: see `read_images`; 503 where the queue is full. ClientDisconnect.
        """
        self._checked(self.batcher.check)
        started = time.perf_counter()
        uploads = await read_images(request, self.limits, hold)
        self.metrics.stage("receive", time.perf_counter() - started)
        return uploads

    def check_diagnosis(self, wanted: bool) -> None:
        """See that the model makes diagnoses where they are wanted.

        Raises:
            Problem: 400.
        """
        self._checked(lambda: check_diagnosis(self.scorer, wanted))

    async def score(self, request: Request, images: list[bytes], diagnose: bool) -> list[Result]:
        """A Result for each image, in order, with or without a diagnosis.

        Raises:
            Problem: 503 where the queue is full or the service stops. ClientDisconnect: the client has gone, and its
                images' places are free.
        """
        jobs = self._checked(lambda: self.batcher.admit(images, diagnose))
        results = asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs))
        try:
            return await _unless_gone(request, results)
        finally:
            for job in jobs:
                job.abandon()  # which does nothing to those that are done

    async def in_map_thread(self, request: Request, work: Callable[[Scorer], T]) -> T:
        """Run `work` in the one thread that makes maps, with a Scorer that stops when nobody waits for the result.

        Raises:
            Problem: 503 where too many maps wait. ClientDisconnect. Whatever `work` raises.
        """
        if self.stopping:
            raise of_pscr_error(PscrError(Status.CLOSED, "the service is stopping; send the request to another one"))
        if self._maps_under_way >= self.limits.maps:
            found = f"{self._maps_under_way} maps are under way, of {self.limits.maps}"
            raise Problem(503, "QUEUE_FULL", f"{found}; try again in 5 s", retry_after=5)
        self._maps_under_way += 1
        scorer = Awaited(self.scorer)

        def counted() -> T:
            started = time.perf_counter()
            result = work(cast(Scorer, scorer))
            self.metrics.stage("map", time.perf_counter() - started)
            return result

        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the service has stopped
                loop.call_soon_threadsafe(self._map_done)

        future = self._maps.submit(counted)
        future.add_done_callback(done)
        try:
            return await _unless_gone(request, asyncio.ensure_future(asyncio.wrap_future(future)))
        finally:
            scorer.wanted = False

    def close(self, seconds: float) -> bool:
        """Finish what is under way, within so many seconds, and end the threads; returns whether they ended in time."""
        self.stopping = True
        self._maps.shutdown(wait=False, cancel_futures=True)
        return self.batcher.close(seconds)

    def _map_done(self) -> None:
        self._maps_under_way -= 1

    def _checked(self, admit: Callable[[], T]) -> T:
        try:
            return admit()
        except Full as error:
            raise Problem(503, "QUEUE_FULL", str(error), error.retry_after) from None
        except PscrError as error:
            raise of_pscr_error(error) from None


async def _unless_gone(request: Request, work: asyncio.Future[T]) -> T:
    """The work's result; where the client goes before, the work is cancelled.

    Raises:
        ClientDisconnect: it has gone.
    """
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        both: set[asyncio.Future[Any]] = {gone, work}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        gone.cancel()
        work.cancel()


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
