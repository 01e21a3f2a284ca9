"""The batcher keeps its bounds and frees every place, with a real Scorer that a test can hold back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serve_process import until
from serve_testing import picture

from pscr.runtime.backends.base import Outputs
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.pipeline import Prepared
from pscr.runtime.scorer import Scorer
from pscr.serve.batching import Batcher, Full
from pscr.serve.metrics import Metrics


class Held(Scorer):
    """A Scorer whose decoding waits for `gate`, that remembers its batches, and fails on those above `most`."""

    def __init__(self, model: Path) -> None:
        super().__init__(model, "cpu", 1)
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[int] = []
        self.most = 99

    def prepare(self, source: object, pixel_format: str | None = None) -> Prepared:
        assert self.gate.wait(30)
        return super().prepare(source, pixel_format)  # type: ignore[arg-type]

    def infer(self, patches: list[np.ndarray], *more: Any, **named: Any) -> Outputs:
        if getattr(self, "batches", None) is not None:
            self.batches.append(len(patches))
            if len(patches) > self.most:
                raise PscrError(Status.OUT_OF_MEMORY, "too many at once")
        return super().infer(patches, *more, **named)


@pytest.fixture
def held(tiny_model: Path) -> Iterator[Held]:
    with Held(tiny_model) as one:
        yield one


@pytest.fixture
def batcher(held: Held) -> Iterator[Batcher]:
    one = Batcher(held, Metrics(), check=lambda data: None, batch=4, wait=0.05, places=6, workers=1)
    yield one
    held.gate.set()
    assert one.close(30)


def test_images_that_arrive_together_are_run_together(batcher: Batcher, held: Held) -> None:
    images = [picture(seed) for seed in range(6)]
    jobs = batcher.admit(images)
    results = [job.future.result(30) for job in jobs]
    assert [result.score for result in results] == pytest.approx(
        [held.score(image).score for image in images], abs=1e-4
    )
    assert held.batches[:2] == [4, 2]
    assert batcher.under_way == 0


def test_what_does_not_fit_is_refused_as_a_whole_and_says_when_to_try_again(batcher: Batcher, held: Held) -> None:
    held.gate.clear()
    jobs = batcher.admit([picture(1)] * 5)
    with pytest.raises(Full) as refused:
        batcher.admit([picture(2)] * 2)
    assert 1 <= refused.value.retry_after <= 60
    assert batcher.under_way == 5
    jobs += batcher.admit([picture(3)])
    held.gate.set()
    assert all(job.future.result(30).ok for job in jobs)
    batcher.admit([picture(4)] * 6)


def test_an_abandoned_image_frees_its_place_and_is_not_run(batcher: Batcher, held: Held) -> None:
    held.gate.clear()
    jobs = batcher.admit([picture(seed) for seed in range(6)])
    assert until(lambda: jobs[0].future.running())
    for job in jobs[:5]:
        job.abandon()
    assert batcher.under_way == 2  # one that a thread has begun with, and one that somebody waits for
    assert all(not job.data for job in jobs[1:5])
    held.gate.set()
    assert jobs[5].future.result(30).ok
    with pytest.raises(CancelledError):
        jobs[0].future.result(30)
    assert sum(held.batches) == 1
    assert until(lambda: batcher.under_way == 0)


def test_where_a_batch_fails_each_image_is_tried_alone(batcher: Batcher, held: Held) -> None:
    held.most = 1
    jobs = batcher.admit([picture(seed) for seed in range(3)])
    assert all(job.future.result(30).ok for job in jobs)
    held.most = 0
    (job,) = batcher.admit([picture(1)])
    assert job.future.result(30).status is Status.OUT_OF_MEMORY
    assert batcher.alive


def test_an_unforeseen_error_is_that_images_own(batcher: Batcher, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Held.prepare

    def sometimes(scorer: Held, source: bytes, pixel_format: str | None = None) -> Prepared:
        if source == b"bad":
            raise RuntimeError("a fault")
        return good(scorer, source, pixel_format)

    monkeypatch.setattr(Held, "prepare", sometimes)
    bad, fine = batcher.admit([b"bad", picture(1)])
    assert bad.future.result(30).status is Status.INTERNAL
    assert fine.future.result(30).ok


def test_closing_finishes_what_was_admitted_and_refuses_more(held: Held) -> None:
    batcher = Batcher(held, Metrics(), check=lambda data: None, batch=2, wait=0, places=6, workers=2)
    held.gate.clear()
    jobs = batcher.admit([picture(seed) for seed in range(6)])
    closing = threading.Thread(target=batcher.close, args=(30,))
    closing.start()
    assert until(lambda: _is_closed(batcher))
    held.gate.set()
    closing.join(30)
    assert all(job.future.result(0).ok for job in jobs)
    assert not batcher.alive


def test_closing_does_not_wait_for_ever(held: Held) -> None:
    batcher = Batcher(held, Metrics(), check=lambda data: None, batch=2, wait=0, places=6, workers=1)
    held.gate.clear()
    (job,) = batcher.admit([picture(1)])
    assert not batcher.close(0.2)
    held.gate.set()
    assert job.future.result(30).ok


def _is_closed(batcher: Batcher) -> bool:
    try:
        batcher.check()
    except PscrError as error:
        return error.status is Status.CLOSED
    return False


def test_batches_run_side_by_side_where_the_scorer_has_streams(tiny_model: Path) -> None:
    together = threading.Barrier(2)

    class Meeting(Scorer):
        def infer(self, patches: list[np.ndarray], *more: Any, **named: Any) -> Outputs:
            together.wait(30)  # one that were alone would break it
            return super().infer(patches, *more, **named)

    with Meeting(tiny_model, "cpu", 2) as scorer:
        both = Batcher(scorer, Metrics(), check=lambda data: None, batch=1, wait=0, places=6, workers=2)
        jobs = both.admit([picture(seed) for seed in range(4)])
        assert all(job.future.result(60).ok for job in jobs)
        assert both.close(30)
