"""What the service counts, for Prometheus: in a registry of its own, so that two services in a process do not mix."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ..runtime.errors import Status

CONTENT_TYPE = CONTENT_TYPE_LATEST
STAGES = ("receive", "queue", "decode", "gather", "infer", "map", "request")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters, histograms and gauges; every method may be called from any thread.

    Stages of an image: receive (its request's body), queue (until a thread decodes it), decode (with the cutting of its
    patches), gather (until its batch is run), infer (its whole batch). request is all of it, for the request.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter("pscr_requests", "Answers", ("route", "code"), registry=self.registry)
        self._images = Counter("pscr_images", "Images, by what became of them", ("status",), registry=self.registry)
        self._stages = Histogram(
            "pscr_stage_seconds", "Time of each stage", ("stage",), registry=self.registry, buckets=_SECONDS
        )
        self._batches = Histogram("pscr_batch_images", "Images of a batch", registry=self.registry, buckets=_BATCHES)
        for status in Status:  # a series that is there from the start can be watched for its first increase
            self._images.labels(status.name)
        for stage in STAGES:
            self._stages.labels(stage)

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Add a value that is read when it is asked for."""
        Gauge(f"pscr_{name}", help, registry=self.registry).set_function(read)

    def request(self, route: str, code: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(route, str(code)).inc()
        self.stage("request", seconds)

    def image(self, status: Status) -> None:
        """Count an image."""
        self._images.labels(status.name).inc()

    def stage(self, stage: str, seconds: float) -> None:
        """Add a stage's time."""
        self._stages.labels(stage).observe(seconds)

    def batch(self, images: int) -> None:
        """Add a batch's size."""
        self._batches.observe(images)

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self.registry)
