"""A score is a function of the image alone: whatever its form, its neighbours, the threads or the order."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_model as tiny
from image_makers import assert_refused

import pscr
from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.samplings import Pixels

SIDE = tiny.SAMPLING.patch


def noise(height: int = 64, width: int = 80, seed: int = 0) -> Pixels:
    """Smooth noise [H,W,3], another for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8).reshape(height, width, 3)


def votes(image: Pixels) -> np.ndarray:
    """What the formula gives for an RGB image, [K]."""
    return tiny.expected_votes(tiny.SAMPLING.cut(image)[None])[0]


@pytest.fixture
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    """The tiny model, open on the CPU."""
    with pscr.open(tiny_model, device="cpu", threads=2) as opened:
        yield opened


def png(image: Pixels) -> bytes:
    """An RGB image as the bytes of a PNG."""
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


# --- the number -------------------------------------------------------------------------------------------------------


def test_score_and_spread_are_mean_and_population_deviation_of_the_formula(scorer: pscr.Scorer) -> None:
    image = noise()
    result = scorer.score(image, pixel_format="rgb")
    assert result.score == pytest.approx(votes(image).mean(), abs=1e-5)
    assert result.spread == pytest.approx(votes(image).std(ddof=0), abs=1e-5)
    assert (result.width, result.height, result.status, result.message) == (80, 64, Status.OK, "")
    assert result.ok


def test_path_bytes_and_array_give_the_same_score(scorer: pscr.Scorer, tmp_path: Path) -> None:
    image = noise()
    (tmp_path / "a.png").write_bytes(png(image))
    expected = scorer.score(image, pixel_format="rgb")
    assert expected.path is None
    for source in (png(image), bytearray(png(image)), memoryview(png(image))):
        assert scorer.score(source) == expected
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        found = scorer.score(path)
        assert found.path == str(tmp_path / "a.png")
        assert (found.score, found.spread, found.width, found.height) == (expected.score, expected.spread, 80, 64)


def test_every_pixel_format_of_an_image_gives_the_same_score(scorer: pscr.Scorer) -> None:
    image = noise()
    expected = scorer.score(image, pixel_format="rgb")
    alpha = np.full((*image.shape[:2], 1), 9, np.uint8)
    assert scorer.score(image[..., ::-1], pixel_format="bgr") == expected
    assert scorer.score(np.dstack([image, alpha]), pixel_format="rgba") == expected
    assert scorer.score(np.dstack([image[..., ::-1], alpha]), pixel_format="bgra") == expected
    assert scorer.score(np.asfortranarray(image), pixel_format="rgb") == expected
    grey = image[..., 0]
    assert scorer.score(grey) == scorer.score(np.dstack([grey] * 3), pixel_format="rgb")


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (200, 900), (900, 200), (64, 64), (32, 32), (33, 64)])
def test_every_size_is_scored_at_full_resolution(scorer: pscr.Scorer, height: int, width: int) -> None:
    image = noise(height, width)
    result = scorer.score(image, pixel_format="rgb")
    assert result.score == pytest.approx(votes(image).mean(), abs=1e-5)
    assert (result.width, result.height, result.message) == (width, height, "")


@pytest.mark.parametrize(
    ("height", "width", "padded"), [(20, 20, "32x32"), (1, 1, "32x32"), (20, 100, "100x32"), (50, 31, "32x50")]
)
def test_small_image_is_padded_and_says_so(scorer: pscr.Scorer, height: int, width: int, padded: str) -> None:
    image = noise(height, width)
    result = scorer.score(image, pixel_format="rgb")
    assert result.score == pytest.approx(votes(image).mean(), abs=1e-5)
    assert (result.width, result.height, result.status) == (width, height, Status.OK)
    assert result.message == f"padded from {width}x{height} to {padded} by reflection"


def test_image_that_padding_would_make_too_large_is_refused(tiny_model: Path) -> None:
    with pscr.open(tiny_model, device="cpu", threads=1, max_pixels=10_000) as scorer:
        assert scorer.score(np.zeros((1, 300), np.uint8)).ok
        with pytest.raises(PscrError) as caught:
            scorer.score(np.zeros((1, 9000), np.uint8))
        assert_refused(caught, Status.IMAGE_TOO_LARGE, "9000x1", "9000x32", "10000", "scale it down")


def test_small_pixel_limit_still_takes_small_images(tiny_model: Path) -> None:
    with pscr.open(tiny_model, device="cpu", threads=1, max_pixels=16) as scorer:
        assert scorer.score(np.zeros((4, 4), np.uint8)).ok
        with pytest.raises(PscrError) as caught:
            scorer.score(np.zeros((4, 5), np.uint8))
        assert_refused(caught, Status.IMAGE_TOO_LARGE, "expected at most 16")


@pytest.mark.parametrize("size", [1, 3, 8])
def test_score_depends_on_its_own_image_only(scorer: pscr.Scorer, size: int) -> None:
    image = scorer.patches(noise(), pixel_format="rgb")
    alone = scorer.infer(image[None])
    others = np.stack([scorer.patches(noise(seed=1 + n), pixel_format="rgb") for n in range(size)])
    for position in range(size):
        batch = others.copy()
        batch[position] = image
        found = scorer.infer(batch)
        assert abs(found.scores[position] - alone.scores[0]) < 1e-6
        assert np.abs(found.votes[position] - alone.votes[0]).max() < 1e-6


def test_patches_are_those_that_the_score_is_made_of(scorer: pscr.Scorer) -> None:
    patches = scorer.patches(png(noise()))
    np.testing.assert_array_equal(patches, tiny.SAMPLING.cut(noise()))
    assert scorer.infer(patches[None]).scores[0] == scorer.score(png(noise())).score


def test_single_patches_are_scored_as_images_of_their_own(scorer: pscr.Scorer) -> None:
    patches = scorer.patches(png(noise()))
    np.testing.assert_allclose(scorer.infer(patches[:, None]).votes, tiny.expected_votes(patches[:, None]), atol=1e-5)


def test_terms_of_images_are_a_bank_for_the_same_model(scorer: pscr.Scorer, tiny_model: Path, tmp_path: Path) -> None:
    terms = scorer.terms(scorer.patches(png(noise()))[None])
    Bank(terms, np.array([3.0], np.float32), ("self",)).write(tmp_path / "own.npz")
    with pscr.open(tiny_model, device="cpu", threads=1, bank=tmp_path / "own.npz") as other:
        assert other.score(png(noise(seed=5))).spread is None  # one exemplar has nobody to differ from


# --- opening ----------------------------------------------------------------------------------------------------------


def test_another_bank_takes_the_place_of_the_models_own(scorer: pscr.Scorer, tiny_model: Path, tmp_path: Path) -> None:
    own = tiny.weights().bank
    Bank(own.terms, own.scores + 1, own.names).write(tmp_path / "other.npz")
    with pscr.open(tiny_model, device="cpu", threads=1, bank=str(tmp_path / "other.npz")) as other:
        assert other.score(png(noise())).score == pytest.approx(scorer.score(png(noise())).score + 1, abs=1e-5)


def test_the_models_own_bank_may_be_missing_where_another_is_given(own_model: Path, tmp_path: Path) -> None:
    (own_model / "bank.npz").rename(tmp_path / "kept.npz")
    with pscr.open(own_model, device="cpu", threads=1, bank=tmp_path / "kept.npz") as scorer:
        assert scorer.info["bank"] == tiny.EXEMPLARS


def test_bank_of_another_width_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    Bank.placeholder(tiny.WIDTH * 2).write(tmp_path / "wide.npz")
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device="cpu", threads=1, bank=tmp_path / "wide.npz")
    assert_refused(caught, Status.MODEL_INVALID, "bank_terms is [1, 16]", "[K, 8]", "built with this model")


@pytest.mark.parametrize(
    ("bank", "status"), [("none.npz", Status.FILE_NOT_FOUND), ("", Status.FILE_NOT_FOUND), (5, Status.INVALID_ARGUMENT)]
)
def test_bank_that_is_no_file_is_refused(tiny_model: Path, bank: Any, status: Status) -> None:
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device="cpu", threads=1, bank=bank)
    assert_refused(caught, status, "expected", "bank.npz")


@pytest.mark.parametrize("threads", [0, -1, True, False, "2", 1.0, 1025, 10**12, np.nan])
def test_threads_that_are_no_small_whole_number_are_refused(tiny_model: Path, threads: Any) -> None:
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device="cpu", threads=threads)
    assert_refused(caught, Status.INVALID_ARGUMENT, f"threads is {threads!r}", "expected a whole number")


@pytest.mark.parametrize("limit", [0, -1, True, "9", 1.5, None])
def test_pixel_limit_that_is_no_whole_number_is_refused(tiny_model: Path, limit: Any) -> None:
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device="cpu", threads=1, max_pixels=limit)
    assert_refused(caught, Status.INVALID_ARGUMENT, f"max_pixels is {limit!r}", "expected 1 or more")


def test_threads_govern_opencv_too(tiny_model: Path) -> None:
    before = cv2.getNumThreads()
    try:
        with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
            assert cv2.getNumThreads() == scorer.info["threads"] == 1
    finally:
        cv2.setNumThreads(before)


def test_info_says_what_is_open_in_plain_values(scorer: pscr.Scorer, tiny_model: Path) -> None:
    assert set(scorer.info) == {
        *("model", "version", "folder", "family", "backbone", "precision", "sampling", "meaning", "database", "range"),
        *("higher_is_better", "bank", "training", "licence", "device_asked", "device", "provider", "library"),
        *("threads", "interval", "passed_over", "diagnosis", "jpeg"),
    }
    assert json.loads(json.dumps(scorer.info, allow_nan=False)) == scorer.info
    assert (scorer.info["model"], scorer.info["folder"]) == ("tiny", str(tiny_model))
    assert (scorer.info["bank"], scorer.info["threads"], scorer.info["range"]) == (tiny.EXEMPLARS, 2, [0.0, 5.0])


# --- refusals of score ------------------------------------------------------------------------------------------------


def test_what_is_no_image_is_refused_with_its_status(scorer: pscr.Scorer, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    refusals: list[tuple[Any, Status]] = [
        (tmp_path / "none.png", Status.FILE_NOT_FOUND),
        (tmp_path, Status.INVALID_ARGUMENT),
        (tmp_path / "notes.txt", Status.DECODE_FAILED),
        (b"", Status.DECODE_FAILED),
        (png(noise())[:200], Status.DECODE_FAILED),
        (noise(), Status.INVALID_ARGUMENT),
        (np.zeros((0, 5), np.uint8), Status.INVALID_ARGUMENT),
        (None, Status.INVALID_ARGUMENT),
        (7, Status.INVALID_ARGUMENT),
        ([noise()], Status.INVALID_ARGUMENT),
    ]
    for source, status in refusals:
        with pytest.raises(PscrError) as caught:
            scorer.score(source)
        assert_refused(caught, status)
    assert scorer.score(png(noise())).ok


# --- closing ----------------------------------------------------------------------------------------------------------

CALLS: list[Callable[[pscr.Scorer], Any]] = [
    lambda scorer: scorer.score(np.zeros((64, 64), np.uint8)),
    lambda scorer: scorer.score_many([]),
    lambda scorer: scorer.patches(np.zeros((64, 64), np.uint8)),
    lambda scorer: scorer.infer(np.zeros((1, 9, SIDE, SIDE, 3), np.uint8)),
    lambda scorer: scorer.terms(np.zeros((1, 9, SIDE, SIDE, 3), np.uint8)),
]


@pytest.mark.parametrize("call", CALLS, ids=["score", "score_many", "patches", "infer", "terms"])
def test_every_call_after_close_says_closed(scorer: pscr.Scorer, call: Callable[[pscr.Scorer], Any]) -> None:
    call(scorer)
    scorer.close()
    scorer.close()
    with pytest.raises(PscrError) as caught:
        call(scorer)
    assert_refused(caught, Status.CLOSED, "open the model again")


def test_what_was_open_is_still_said_after_close(scorer: pscr.Scorer) -> None:
    before = scorer.info
    scorer.close()
    assert scorer.info == before
    assert scorer.manifest.name == "tiny"


def test_leaving_the_with_block_closes_even_after_an_error(tiny_model: Path) -> None:
    with pytest.raises(KeyError), pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        raise KeyError
    with pytest.raises(PscrError, match="closed"):
        scorer.score(b"")


def test_closing_while_others_score_ends_them_with_closed_and_nothing_else(tiny_model: Path) -> None:
    scorer = pscr.open(tiny_model, device="cpu", threads=1)
    expected = scorer.score(noise(), pixel_format="rgb")
    started = threading.Barrier(5)

    def until_closed() -> tuple[int, PscrError]:
        count = 0
        started.wait()
        while True:
            try:
                assert scorer.score(noise(), pixel_format="rgb") == expected
            except PscrError as error:
                return count, error
            count += 1

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(until_closed) for _ in range(4)]
        started.wait()
        threading.Event().wait(0.05)
        scorer.close()
        ends = [future.result(timeout=30) for future in futures]
    assert {error.status for _, error in ends} == {Status.CLOSED}


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_eight_threads_on_one_scorer_give_the_serial_results(scorer: pscr.Scorer) -> None:
    images = [noise(64 + n, 128 - n, seed=n) for n in range(48)]
    serial = [scorer.score(image, pixel_format="rgb") for image in images]
    with ThreadPoolExecutor(8) as pool:
        shared = list(pool.map(lambda image: scorer.score(image, pixel_format="rgb"), images))
    assert shared == serial
    assert len({result.score for result in serial}) == len(images)


def test_scorers_side_by_side_do_not_disturb_each_other(scorer: pscr.Scorer, tiny_model: Path) -> None:
    with pscr.open(tiny_model, device="cpu", threads=1) as other:
        assert other.score(png(noise())).score == pytest.approx(scorer.score(png(noise())).score, abs=1e-6)
    assert scorer.score(png(noise())).ok


# --- what travels -----------------------------------------------------------------------------------------------------


def test_results_are_values_that_pickle_compare_and_do_not_change(scorer: pscr.Scorer) -> None:
    result = scorer.score(png(noise(20, 20)))
    assert pickle.loads(pickle.dumps(result)) == result == scorer.score(png(noise(20, 20)))
    assert len({result, scorer.score(png(noise(20, 20)))}) == 1
    assert result != scorer.score(png(noise(20, 20, seed=1)))
    with pytest.raises(AttributeError):
        result.score = 5.0


def test_an_error_pickles_with_its_status_and_message() -> None:
    error = pickle.loads(pickle.dumps(PscrError(Status.CLOSED, "why")))
    assert (type(error), error.status, error.message, str(error)) == (PscrError, Status.CLOSED, "why", "why")


def test_status_numbers_are_those_of_the_c_api() -> None:
    assert [status.name for status in sorted(Status)] == [
        *("OK", "INVALID_ARGUMENT", "FILE_NOT_FOUND", "DECODE_FAILED", "IMAGE_TOO_LARGE", "MODEL_INVALID"),
        *("DEVICE_UNAVAILABLE", "ENGINE_INCOMPATIBLE", "OUT_OF_MEMORY", "CLOSED", "INTERNAL"),
    ]
    assert sorted(Status) == list(range(11))
