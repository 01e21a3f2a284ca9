"""Many images at once on a CPU: inferences side by side, never more than threads, and the same scores."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pscr
from pscr.runtime import inference
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.errors import PscrError, Status

THREADS = 3
IMAGES = [np.random.default_rng(seed).integers(0, 256, (70, 90), np.uint8) for seed in range(90)]


@pytest.fixture(params=["cpu", "openvino"])
def scorer(tiny_model: Path, request: pytest.FixtureRequest) -> Iterator[pscr.Scorer]:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    with pscr.open(tiny_model, device=request.param, threads=THREADS) as opened:
        yield opened


class Watched:
    """How many runs of the real backend go on at once, each of which takes some milliseconds more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 0.004) -> None:
        self.now = self.most = self.runs = 0
        lock, real = threading.Lock(), OnnxRuntimeBackend.infer_impl

        def infer(backend: OnnxRuntimeBackend, patches: Any, terms: bool) -> Any:
            with lock:
                self.now, self.runs = self.now + 1, self.runs + 1
                self.most = max(self.most, self.now)
            try:
                time.sleep(seconds)
                return real(backend, patches, terms)
            finally:
                with lock:
                    self.now -= 1

        monkeypatch.setattr(OnnxRuntimeBackend, "infer_impl", infer)


def test_scores_are_the_same_side_by_side(scorer: pscr.Scorer) -> None:
    alone = [scorer.score(image) for image in IMAGES]
    found = list(scorer.score_many(IMAGES * 2))
    assert [result.score for result in found] == pytest.approx([result.score for result in alone * 2], abs=1e-6)
    assert [result.spread for result in found] == pytest.approx([result.spread for result in alone * 2], abs=1e-6)


def test_as_many_inferences_as_threads_and_no_more(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pscr.open(tiny_model, device="cpu", threads=THREADS) as scorer:
        seen = Watched(monkeypatch)
        assert sum(result.ok for result in scorer.score_many(IMAGES * 2)) == len(IMAGES) * 2
        assert (seen.most, seen.runs) == (THREADS, len(IMAGES) * 2)


def test_few_images_take_turns_on_one_backend(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second session costs more time and memory than it saves on them."""
    monkeypatch.setattr(OnnxRuntimeBackend, "streams", lambda *_: pytest.fail("streams were opened"))
    with pscr.open(tiny_model, device="cpu", threads=THREADS) as scorer:
        seen = Watched(monkeypatch)
        assert all(result.ok for result in scorer.score_many(IMAGES[: inference._WAITED]))
        assert seen.most == 1


def test_threads_that_share_a_scorer_have_streams_too(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pscr.open(tiny_model, device="cpu", threads=THREADS) as scorer:
        seen = Watched(monkeypatch)
        found: list[float] = []
        work = [threading.Thread(target=lambda: found.extend(scorer.score(i).score for i in IMAGES)) for _ in range(5)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert seen.most == THREADS
        expected = [scorer.score(image).score for image in IMAGES]
    assert sorted(found) == pytest.approx(sorted(expected * 5), abs=1e-6)


def test_one_thread_takes_turns(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        seen = Watched(monkeypatch)
        assert all(result.ok for result in scorer.score_many(IMAGES))
        assert (scorer.streams, seen.most) == (1, 1)


def test_where_streams_cannot_be_had_inferences_take_turns(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*_: Any) -> None:
        raise PscrError(Status.OUT_OF_MEMORY, "no second session can be had (bad allocation)")

    monkeypatch.setattr(OnnxRuntimeBackend, "streams", none)
    with pscr.open(tiny_model, device="cpu", threads=THREADS) as scorer:
        seen = Watched(monkeypatch)
        assert all(result.ok for result in scorer.score_many(IMAGES * 2))
        assert seen.most == 1
    said = [record.getMessage() for record in caplog.records if record.name.startswith("pscr")]
    assert said == ["inferences take turns: no second session can be had (bad allocation)"]


def test_an_inference_that_fails_on_a_stream_ends_the_run_with_its_error(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not as that image's: the device is broken."""
    real = OnnxRuntimeBackend._run
    with pscr.open(tiny_model, device="cpu", threads=THREADS) as scorer:
        Watched(monkeypatch)  # long enough that others wait, on any machine
        stream = scorer.score_many(IMAGES * 4)
        assert all(next(stream).ok for _ in range(150))
        assert scorer._inference._opened
        monkeypatch.setattr(scorer._inference._opened[0], "_session", None)
        with pytest.raises(PscrError, match="onnxruntime failed on 1 images"):
            list(stream)
    assert OnnxRuntimeBackend._run is real


def test_closing_waits_for_what_runs_and_refuses_what_waits(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = pscr.open(tiny_model, device="cpu", threads=THREADS)
    seen = Watched(monkeypatch, seconds=0.05)
    outcomes: list[Status] = []

    def work() -> None:
        try:
            while True:
                outcomes.append(scorer.score(IMAGES[0]).status)
        except PscrError as error:
            outcomes.append(error.status)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    while seen.runs < 3:
        time.sleep(0.01)
    scorer.close()
    assert seen.now == 0
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert outcomes.count(Status.CLOSED) == 6
    assert set(outcomes) == {Status.CLOSED, Status.OK}
