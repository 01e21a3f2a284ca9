"""Many images: in order, one result for each, a bounded number ahead, and no thread or memory left behind."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import math
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_model as tiny
from image_makers import assert_refused
from PIL import Image

import pscr
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import Manifest
from pscr.runtime.ordered import in_order
from pscr.runtime.samplings import Pixels

WORKERS = 2  # devices.Device.decoders of the fixture's threads


@pytest.fixture
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    """The tiny model, open on the CPU."""
    with pscr.open(tiny_model, device="cpu", threads=WORKERS) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Whatever a test does, the decoding threads have ended after it."""
    yield
    assert decoding_threads() == 0


def decoding_threads() -> int:
    """Threads that decode images now."""
    return sum(thread.name.startswith("pscr-decode") for thread in threading.enumerate())


def grey(seed: int, height: int = 64, width: int = 64) -> Pixels:
    """A grey image of its own for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4), np.uint8)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


class Counted:
    """Endless grey images that count how many were drawn."""

    def __init__(self) -> None:
        self.drawn = 0

    def __iter__(self) -> Iterator[Pixels]:
        while True:
            self.drawn += 1
            yield grey(self.drawn)


# --- order and completeness -------------------------------------------------------------------------------------------


def test_results_keep_the_order_of_slow_and_fast_images(scorer: pscr.Scorer) -> None:
    rng = np.random.default_rng(3)
    slow = rng.random(200) < 0.1
    encoded = [
        cv2.imencode(".png", grey(n, *((900, 1200 + n) if slow[n] else (64, 64 + n))))[1].tobytes() for n in range(200)
    ]
    results = list(scorer.score_many(encoded, batch=3))
    assert [result.width for result in results] == [1200 + n if slow[n] else 64 + n for n in range(200)]
    assert [result.score for result in results[::20]] == pytest.approx(
        [scorer.score(data).score for data in encoded[::20]], abs=1e-6
    )


@pytest.mark.parametrize("batch", [None, 1, 3, 8, 64])
@pytest.mark.parametrize("count", [1, 7, 64, 65])
def test_batch_changes_no_score_and_loses_no_image(scorer: pscr.Scorer, batch: int | None, count: int) -> None:
    images = [grey(n) for n in range(count)]
    alone = [scorer.score(image) for image in images]
    results = list(scorer.score_many(images, batch=batch))
    assert [result.score for result in results] == pytest.approx([result.score for result in alone], abs=1e-6)
    assert [result.spread for result in results] == pytest.approx([result.spread for result in alone], abs=1e-6)


def test_nothing_in_gives_nothing_out(scorer: pscr.Scorer) -> None:
    for batch in (None, 1, 8):
        assert list(scorer.score_many([], batch=batch)) == []
        assert list(scorer.score_many(iter(()), batch=batch)) == []


def test_an_array_of_images_is_taken_image_by_image(scorer: pscr.Scorer) -> None:
    stack = np.stack([np.dstack([grey(n)] * 3) for n in range(4)])
    results = list(scorer.score_many(stack, pixel_format="bgr"))
    assert results == [scorer.score(grey(n)) for n in range(4)]


def test_two_streams_on_one_scorer_do_not_mix(scorer: pscr.Scorer) -> None:
    first = scorer.score_many([grey(n) for n in range(10)], batch=2)
    second = scorer.score_many([grey(100 + n) for n in range(10)], batch=3)
    pairs = list(zip(first, second, strict=True))
    assert [one.score for one, _ in pairs] == pytest.approx([scorer.score(grey(n)).score for n in range(10)], abs=1e-6)
    assert pairs[7][1].score == pytest.approx(scorer.score(grey(107)).score, abs=1e-6)


# --- inputs that fail -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 8, 64])
def test_bad_inputs_give_their_status_and_the_rest_goes_on(scorer: pscr.Scorer, batch: int, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    cv2.imwrite(str(tmp_path / "good.png"), grey(0))
    bad: list[tuple[Any, Status]] = [
        (tmp_path / "none.png", Status.FILE_NOT_FOUND),
        (str(tmp_path / "notes.txt"), Status.DECODE_FAILED),
        (tmp_path, Status.INVALID_ARGUMENT),
        (np.zeros((0, 0), np.uint8), Status.INVALID_ARGUMENT),
        (np.zeros((64, 64, 3), np.uint8), Status.INVALID_ARGUMENT),
        (np.zeros((64, 64), np.float32), Status.INVALID_ARGUMENT),
        (None, Status.INVALID_ARGUMENT),
        (object(), Status.INVALID_ARGUMENT),
        (7, Status.INVALID_ARGUMENT),
        (b"", Status.DECODE_FAILED),
    ]
    good = tmp_path / "good.png"
    sources = [good, *(source for pair in bad for source in (pair[0], good))]

    results = list(scorer.score_many(sources, batch=batch))

    assert [result.status for result in results[1::2]] == [status for _, status in bad]
    assert all(result.ok and result.path == str(good) for result in results[::2])
    for result, (source, _) in zip(results[1::2], bad, strict=True):
        assert math.isnan(result.score)
        assert result.spread is None
        assert (result.width, result.height, result.ok) == (0, 0, False)
        assert result.message
        assert "\n" not in result.message
        assert result.path == (str(source) if isinstance(source, (str, Path)) else None)


def test_padded_images_are_scored_with_a_message(scorer: pscr.Scorer) -> None:
    small, large = scorer.score_many([grey(0, 20, 20), grey(0)], batch=2)
    assert small.ok
    assert small.message.startswith("padded from 20x20")
    assert large.message == ""


def test_an_endless_row_of_bad_inputs_gives_results_without_waiting_for_a_good_one(scorer: pscr.Scorer) -> None:
    stream = scorer.score_many(itertools.repeat(b"bad"), batch=8)
    assert {result.status for result in itertools.islice(stream, 100)} == {Status.DECODE_FAILED}
    stream.close()


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_raising_ends_at_the_first_bad_input_after_the_results_before_it(scorer: pscr.Scorer, batch: int) -> None:
    images = itertools.chain([grey(n) for n in range(5)], [b"bad"], Counted())
    results: list[pscr.Result] = []
    with pytest.raises(PscrError) as caught:
        results.extend(scorer.score_many(images, batch=batch, on_error="raise"))
    assert_refused(caught, Status.DECODE_FAILED)
    assert [result.score for result in results] == pytest.approx([scorer.score(grey(n)).score for n in range(5)])
    assert decoding_threads() == 0


@pytest.mark.parametrize("on_error", ["ignore", None, True])
def test_another_word_for_on_error_is_refused_at_the_call(scorer: pscr.Scorer, on_error: Any) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_many([], on_error=on_error)
    assert_refused(caught, Status.INVALID_ARGUMENT, f"on_error is {on_error!r}", "'result' or 'raise'")


@pytest.mark.parametrize("batch", [1, 4])
def test_an_image_on_which_the_graph_overflows_has_no_score_and_the_rest_goes_on(own_model: Path, batch: int) -> None:
    parts = tiny.weights()
    huge = tiny.graph(dataclasses.replace(parts, conv=parts.conv * np.float32(1e38)))
    (own_model / "model.onnx").write_bytes(huge.SerializeToString())
    Manifest.read(own_model).write(own_model, ["model.onnx", "bank.npz"])
    black, white = np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)
    with pscr.open(own_model, device="cpu", threads=WORKERS) as scorer:
        results = list(scorer.score_many([black, white, black], batch=batch))
        assert [result.status for result in results] == [Status.OK, Status.INTERNAL, Status.OK]
        assert math.isnan(results[1].score)
        with pytest.raises(PscrError) as caught:
            scorer.score(white)
    assert_refused(caught, Status.INTERNAL, "expected a finite one")


@pytest.mark.parametrize("batch", [0, -1, True, 1.5, "8"])
def test_batch_that_is_no_whole_number_is_refused_at_the_call(scorer: pscr.Scorer, batch: Any) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_many([], batch=batch)
    assert_refused(caught, Status.INVALID_ARGUMENT, f"batch is {batch!r}")


@pytest.mark.parametrize("batch", [np.int64(2), np.uint8(2), np.array(2)])
def test_whole_numbers_of_any_library_are_whole_numbers(tiny_model: Path, batch: Any) -> None:
    image = np.full((40, 50), 9, np.uint8)
    with pscr.open(tiny_model, "cpu", threads=batch, max_pixels=np.uint32(5000)) as scorer:
        assert scorer.info["threads"] == 2
        assert json.dumps(scorer.info["threads"]) == "2"
        assert [result.ok for result in scorer.score_many([image] * 3, batch=batch)] == [True] * 3
        assert pscr.quality_map(scorer, image, window=np.int16(20), stride=np.uint64(7)).stride == 7
    with pytest.raises(PscrError), pscr.open(tiny_model, "cpu", threads=np.bool_(True)):
        pass


@pytest.mark.parametrize("call", [pscr.Scorer.score_many, pscr.Scorer.score_with_votes, pscr.rank])
@pytest.mark.parametrize(
    "sources",
    [
        *("a.png", Path("a.png"), b"bytes", bytearray(b"x"), memoryview(b"x"), None, 5, {"bytes": b"x", "path": None}),
        *(np.zeros(shape, np.uint8) for shape in ((40, 50, 3), (40, 50, 4), (40, 50, 1), (40, 50), ())),
        Image.new("RGB", (8, 8)),
    ],
    ids=lambda sources: f"{type(sources).__name__}{getattr(sources, 'shape', '')}",
)
def test_one_image_in_place_of_several_is_refused_at_the_call(scorer: pscr.Scorer, call: Any, sources: Any) -> None:
    with pytest.raises(PscrError) as caught:
        call(scorer, sources)
    assert_refused(caught, Status.INVALID_ARGUMENT, "sources is one", "pass a list")


@pytest.mark.parametrize(("shape", "pixel_format"), [((3, 40, 50, 3), "rgb"), ((3, 40, 50), "gray")])
def test_an_array_of_several_images_is_taken_image_by_image(
    scorer: pscr.Scorer, shape: tuple[int, ...], pixel_format: str
) -> None:
    stack = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = [result.score for result in scorer.score_many(stack, pixel_format=pixel_format)]
    assert found == [scorer.score(image, pixel_format=pixel_format).score for image in stack]


# --- a bounded number ahead -------------------------------------------------------------------------------------------


def test_nothing_is_drawn_before_the_first_result_is_asked_for(scorer: pscr.Scorer) -> None:
    source = Counted()
    stream = scorer.score_many(source)
    assert source.drawn == 0
    assert decoding_threads() == 0
    del stream


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("taken", [1, 2, 9, 50])
def test_an_endless_source_is_drawn_a_bounded_number_ahead(scorer: pscr.Scorer, batch: int, taken: int) -> None:
    source = Counted()
    stream = scorer.score_many(source, batch=batch)
    workers = WORKERS + scorer.streams * (batch == 1)
    for _ in range(taken):
        assert next(stream).ok
        assert decoding_threads() <= workers
    whole_batches = math.ceil(taken / batch) * batch
    assert source.drawn <= whole_batches + 2 * batch + workers  # the look-ahead of score_all
    assert source.drawn >= taken
    stream.close()


def test_a_result_that_is_ready_waits_for_one_more_source_at_most() -> None:
    finished = [threading.Event() for _ in range(20)]

    def work(number: int) -> int:
        finished[number].set()
        return number

    def slow() -> Iterator[int]:
        for number in range(len(finished)):
            yield number
            assert finished[number].wait(10)
            time.sleep(0.05)  # from the end of the work to the end of its future

    drawn = 0

    def counted() -> Iterator[int]:
        nonlocal drawn
        for number in slow():
            drawn += 1
            yield number

    for given, (_, result) in enumerate(in_order(work, counted(), workers=2, ahead=10), 1):
        assert result == given - 1
        assert drawn <= given + 1


# --- endings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("good", [0, 1, 3, 9])
def test_what_a_source_brought_before_it_broke_has_its_results(scorer: pscr.Scorer, batch: int, good: int) -> None:
    def breaking() -> Iterator[Pixels]:
        yield from (grey(seed) for seed in range(good))
        raise LookupError("the source broke")

    found: list[float] = []
    with pytest.raises(LookupError, match="the source broke"):
        found.extend(result.score for result in scorer.score_many(breaking(), batch=batch))
    assert found == pytest.approx([scorer.score(grey(seed)).score for seed in range(good)], abs=1e-6)


def test_closing_the_stream_early_ends_its_threads(scorer: pscr.Scorer) -> None:
    stream = scorer.score_many(Counted(), batch=4)
    assert next(stream).ok
    assert decoding_threads() > 0
    stream.close()
    assert decoding_threads() == 0
    assert list(stream) == []


def test_forgetting_the_stream_ends_its_threads(scorer: pscr.Scorer) -> None:
    seen = [decoding_threads() for _ in zip(scorer.score_many(Counted()), range(3), strict=False)]
    assert max(seen) > 0
    deadline = time.monotonic() + 10
    while decoding_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert decoding_threads() == 0


def test_an_exception_of_the_source_propagates_and_ends_the_threads(scorer: pscr.Scorer) -> None:
    def failing() -> Iterator[Pixels]:
        for n in range(20):
            yield grey(n)
        raise LookupError("the source broke")

    results: list[pscr.Result] = []
    with pytest.raises(LookupError, match="the source broke"):
        results.extend(scorer.score_many(failing(), batch=2))
    assert all(result.ok for result in results)
    assert decoding_threads() == 0


def test_an_exception_of_the_consumer_ends_the_threads(scorer: pscr.Scorer) -> None:
    def consume() -> None:
        for _ in scorer.score_many(Counted()):
            raise KeyError

    with pytest.raises(KeyError):
        consume()
    assert decoding_threads() == 0


@pytest.mark.parametrize("batch", [1, 4])
def test_closing_the_scorer_during_iteration_says_closed(scorer: pscr.Scorer, batch: int) -> None:
    stream = scorer.score_many(Counted(), batch=batch)
    assert next(stream).ok
    scorer.close()
    with pytest.raises(PscrError) as caught:
        list(itertools.islice(stream, batch if batch > 1 else WORKERS + scorer.streams + 2))  # what was inferred before
    assert_refused(caught, Status.CLOSED, "open the model again")
    assert decoding_threads() == 0


def test_a_stream_that_begins_after_close_says_closed(scorer: pscr.Scorer) -> None:
    stream = scorer.score_many(Counted())
    scorer.close()
    with pytest.raises(PscrError) as caught:
        next(stream)
    assert_refused(caught, Status.CLOSED)


# --- memory -----------------------------------------------------------------------------------------------------------


def resident() -> float:
    """This process's memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize("batch", [1, 8])
def test_failed_images_are_let_go_without_the_garbage_collector(scorer: pscr.Scorer, batch: int) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Image(np.ndarray):
        """An array that can be counted."""

        __hash__ = object.__hash__

    def bad() -> Iterator[Any]:
        while True:
            image = np.zeros((64, 64), np.float32).view(Image)
            alive.add(image)
            yield image

    gc.disable()
    try:
        stream = scorer.score_many(bad(), batch=batch)
        assert not any(result.ok for result in itertools.islice(stream, 200))
        assert len(alive) <= 4 * batch + WORKERS + 2
    finally:
        gc.enable()
    stream.close()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_number_of_images(scorer: pscr.Scorer) -> None:
    def some(count: int) -> Iterator[Pixels]:
        return (grey(n, 128, 128) for n in range(count))

    assert sum(result.ok for result in scorer.score_many(some(500), batch=8)) == 500
    before = resident()
    assert sum(result.ok for result in scorer.score_many(some(2000), batch=8)) == 2000
    assert resident() - before < 4  # one image's patches are 27 KiB: keeping them all would take 54 MiB


INTERRUPTS = """
import random, signal, threading
from pscr.runtime.ordered import in_order

def strike(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, strike)
chance = random.Random(1)
struck = 0
for _ in range(200):
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0005, 0.01))
        for _ in in_order(lambda source: source, range(1_000_000), 2, 8):
            pass
    except KeyboardInterrupt:
        struck += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
print(struck, threading.active_count())
"""


def test_a_source_that_never_answers_does_not_keep_a_run_that_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pscr.runtime.ordered._GRACE", 0.2)
    answer = threading.Event()
    stream = in_order(lambda source: source and answer.wait(), [0, 1], 1, 2)
    assert next(stream) == (0, 0)
    stream.close()  # would wait for ever
    answer.set()
    for thread in threading.enumerate():
        if thread.name.startswith("pscr-decode"):
            thread.join()


def test_an_interrupt_at_any_moment_ends_the_pipeline_and_its_threads() -> None:
    """In a child, so that a lock that is held for ever is a failure and not a hang."""
    words = [sys.executable, "-c", INTERRUPTS]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    struck, threads = map(int, done.stdout.split())
    assert struck == 200
    assert threads <= 3  # a thread that was interrupted as it started may still be on its way out
