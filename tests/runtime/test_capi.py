"""The flat API: every status for real, nothing raised, buffers that stay the caller's, handles that never mix."""

from __future__ import annotations

import array
import ctypes
import dataclasses
import inspect
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_model as tiny
from engine_makers import CARD, place
from image_makers import png_header

import pscr
from pscr.runtime import capi, gpus
from pscr.runtime.capi import Status
from pscr.runtime.manifest import Manifest

IMAGE = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8), (80, 64))  # RGB, 64x80
PNG = cv2.imencode(".png", IMAGE[..., ::-1])[1].tobytes()


def opened(model: object, threads: int = 2) -> int:
    """A handle of the model on the CPU."""
    handle = array.array("q", [0])
    assert capi.pscr_open(str(model), "cpu", threads, handle) == Status.OK, capi.pscr_last_error(0)
    return handle[0]


@pytest.fixture
def handle(tiny_model: Path) -> Iterator[int]:
    """The tiny model, open."""
    number = opened(tiny_model)
    yield number
    capi.pscr_close(number)


@pytest.fixture
def expected(tiny_model: Path) -> pscr.Result:
    """What the object form says of IMAGE."""
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        return scorer.score(PNG)


@pytest.fixture
def out() -> np.ndarray:
    """A buffer for a score and a spread that shows whether it was written."""
    return np.full(2, -7.0)


def assert_failed(status: int, handle: int, expected: Status, *words: str) -> None:
    """The status, and one line with these words."""
    message = capi.pscr_last_error(handle)
    assert status == expected, message
    assert message
    assert "\n" not in message
    assert all(word in message for word in words), message


# --- the scores -------------------------------------------------------------------------------------------------------


def test_every_form_of_an_image_gives_the_score_of_the_object_form(
    handle: int, expected: pscr.Result, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    padded = np.zeros((64, 100, 3), np.uint8)
    padded[:, :80] = IMAGE
    bgra = np.dstack([IMAGE[..., ::-1], np.full((64, 80), 9, np.uint8)])
    calls: list[Any] = [
        lambda out: capi.pscr_score_file(handle, str(tmp_path / "a.png"), out),
        lambda out: capi.pscr_score_file(handle, os.fsencode(tmp_path / "a.png"), out),
        lambda out: capi.pscr_score_file(handle, tmp_path / "a.png", out),
        lambda out: capi.pscr_score_encoded(handle, PNG, out),
        lambda out: capi.pscr_score_encoded(handle, np.frombuffer(PNG, np.uint8), out),
        lambda out: capi.pscr_score_pixels(handle, IMAGE, 64, 80, 0, "rgb", out),
        lambda out: capi.pscr_score_pixels(handle, IMAGE.tobytes(), 64, 80, 240, "rgb", out),
        lambda out: capi.pscr_score_pixels(handle, padded, 64, 80, 300, "rgb", out),
        lambda out: capi.pscr_score_pixels(handle, padded.tobytes()[:-60], 64, 80, 300, "rgb", out),
        lambda out: capi.pscr_score_pixels(handle, bgra, 64, 80, 320, "bgra", out),
    ]
    for call in calls:
        out = np.zeros(2)
        assert call(out) == Status.OK, capi.pscr_last_error(handle)
        assert out.tolist() == [expected.score, expected.spread]


def test_grey_pixels_have_one_channel(handle: int) -> None:
    one, three = np.zeros(1), np.zeros(1)
    grey = IMAGE[..., 0].copy()
    assert capi.pscr_score_pixels(handle, grey, 64, 80, 0, "gray", one) == Status.OK
    assert capi.pscr_score_pixels(handle, np.dstack([grey] * 3), 64, 80, 0, "rgb", three) == Status.OK
    assert one[0] == three[0]


@pytest.mark.parametrize(
    "buffer",
    [
        np.zeros(1),
        np.zeros(5, np.float32),
        array.array("d", [0.0]),
        array.array("f", [0.0, 0.0]),
        ctypes.c_double(),
        (ctypes.c_float * 2)(),
        np.zeros((2, 2)),
    ],
)
def test_any_writable_buffer_of_floats_takes_the_score(handle: int, expected: pscr.Result, buffer: Any) -> None:
    assert capi.pscr_score_encoded(handle, PNG, buffer) == Status.OK, capi.pscr_last_error(handle)
    assert np.asarray(memoryview(buffer)).reshape(-1)[0] == pytest.approx(expected.score, abs=1e-6)


@pytest.mark.parametrize(
    "buffer",
    [None, 0.0, [0.0], b"12345678", np.zeros(0), np.zeros(1, np.int64), np.zeros(4)[::2], bytearray(8), "score"],
    ids=repr,
)
def test_what_is_no_such_buffer_is_refused(handle: int, buffer: Any) -> None:
    assert_failed(capi.pscr_score_encoded(handle, PNG, buffer), handle, Status.INVALID_ARGUMENT, "score_out", "float64")


def test_a_batch_gives_each_item_its_own_status(handle: int, expected: pscr.Result, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    items = [
        *(PNG, str(tmp_path / "a.png"), tmp_path / "none.png", b"no image", (IMAGE, 64, 80, 0, "rgb")),
        *(png_header(60_000, 60_000), (IMAGE, 65, 80, 0, "rgb"), 7, bytearray(PNG), ("too", "short")),
    ]
    scores, statuses = np.full(11, -7.0, np.float32), (ctypes.c_int * 11)(*[-7] * 11)
    assert capi.pscr_score_batch(handle, items, scores, statuses) == Status.OK
    assert list(statuses) == [0, 0, 2, 3, 0, 4, 1, 1, 0, 1, -7]
    for index, status in enumerate(list(statuses)[:10]):
        assert (scores[index] == np.float32(expected.score)) if status == 0 else math.isnan(scores[index])
    assert scores[10] == -7
    assert capi.pscr_last_error(handle).startswith("item 2: ")


def test_an_empty_batch_is_fine_and_short_buffers_are_not(handle: int) -> None:
    none = np.zeros(0)
    assert capi.pscr_score_batch(handle, [], none, np.zeros(0, np.int32)) == Status.OK
    status = capi.pscr_score_batch(handle, [PNG] * 3, np.zeros(2), np.zeros(3, np.int32))
    assert_failed(status, handle, Status.INVALID_ARGUMENT, "scores_out", "2 items", "3 or more")
    status = capi.pscr_score_batch(handle, [PNG], np.zeros(1), np.zeros(1))
    assert_failed(status, handle, Status.INVALID_ARGUMENT, "statuses_out", "int32")
    status = capi.pscr_score_batch(handle, PNG, np.zeros(1), np.zeros(1, np.int32))
    assert_failed(status, handle, Status.INVALID_ARGUMENT, "items")


@pytest.mark.parametrize(
    ("layout", "dtype", "value_range", "black", "step"),
    [
        ("NHWC", "uint8", (0, 255), 0, 1),
        ("NCHW", "uint8", array.array("f", [0, 255]), 0, 1),
        ("NCHW", "float32", [-1, 1], -1, 2 / 255),
        ("NHWC", "float16", np.array([0, 1]), 0, 1 / 255),
    ],
)
def test_a_tensor_gives_the_scores_of_its_images(
    handle: int, expected: pscr.Result, layout: str, dtype: str, value_range: Any, black: float, step: float
) -> None:
    batch = np.stack([IMAGE, IMAGE[::-1], IMAGE]) * step + black
    batch = np.ascontiguousarray(batch if layout == "NHWC" else batch.transpose(0, 3, 1, 2)).astype(dtype)
    scores, statuses = np.full(4, -7.0), np.full(4, -7, np.int32)
    for data, shape in ((batch, batch.shape), (batch.tobytes(), array.array("q", batch.shape))):
        status = capi.pscr_score_tensor(handle, data, shape, layout, dtype, value_range, scores, statuses)
        assert status == Status.OK, capi.pscr_last_error(handle)
        assert statuses.tolist() == [0, 0, 0, -7]
        assert scores[[0, 2, 3]].tolist() == [expected.score, expected.score, -7]


def test_a_tensor_of_no_images_is_fine(handle: int) -> None:
    none = np.zeros((0, 8, 8, 3), np.uint8)
    out = np.zeros(0), np.zeros(0, np.int32)
    assert capi.pscr_score_tensor(handle, none, none.shape, "NHWC", "uint8", (0, 255), *out) == Status.OK


# --- every status, for real -------------------------------------------------------------------------------------------


def test_invalid_argument_where_pixels_do_not_fit(handle: int, out: np.ndarray) -> None:
    wrong: list[tuple[tuple[Any, ...], str]] = [
        ((IMAGE, 64, 80, 0, "yuv"), "pixel_format"),
        ((IMAGE, 64, 81, 0, "rgb"), "data has 15360 bytes"),
        ((IMAGE, 64, 80, 100, "rgb"), "stride"),
        ((IMAGE, 64, 80, -240, "rgb"), "stride"),
        ((IMAGE, 0, 80, 0, "rgb"), "height"),
        ((IMAGE, 64, True, 0, "rgb"), "width"),
        ((IMAGE, 64.0, 80, 0, "rgb"), "height"),
        ((IMAGE[:, ::2], 64, 40, 0, "rgb"), "C-contiguous"),
        (("text", 64, 80, 0, "rgb"), "data"),
        ((IMAGE, 1 << 62, 1 << 62, 0, "rgb"), "bytes"),
    ]
    for arguments, word in wrong:
        assert_failed(capi.pscr_score_pixels(handle, *arguments, out), handle, Status.INVALID_ARGUMENT, word)
    assert out.tolist() == [-7, -7]


def test_invalid_argument_where_a_tensor_does_not_fit(handle: int) -> None:
    scores, statuses, shape = np.full(1, -7.0), np.full(1, -7, np.int32), (1, 64, 80, 3)
    floats = (IMAGE / np.float32(255))[None]
    wrong: list[tuple[tuple[Any, ...], str]] = [
        ((IMAGE, shape, "HWC", "uint8", (0, 255)), "layout"),
        ((IMAGE, shape, "NHWC", "float64", (0, 255)), "dtype"),
        ((IMAGE, shape, "NHWC", "uint8", None), "value_range"),
        ((IMAGE, shape, "NHWC", "uint8", (0, 1)), "uint8 is 0 to 255"),
        ((IMAGE, (64, 80, 3), "NHWC", "uint8", (0, 255)), "shape"),
        ((IMAGE, (1, 64.0, 80, 3), "NHWC", "uint8", (0, 255)), "shape"),
        ((IMAGE, 4, "NHWC", "uint8", (0, 255)), "shape"),
        ((IMAGE, (1, 64, 81, 3), "NHWC", "uint8", (0, 255)), "data has 15360 bytes"),
        ((IMAGE, (1, 1 << 40, 1 << 40, 3), "NHWC", "uint8", (0, 255)), "bytes"),
        ((IMAGE[:, ::2], (1, 64, 40, 3), "NHWC", "uint8", (0, 255)), "C-contiguous"),
        ((IMAGE, shape, "NCHW", "uint8", (0, 255)), "layout='NHWC'"),
        ((floats, shape, "NHWC", "float32", (0, 255)), "value_range=(0, 1)"),
    ]
    for arguments, word in wrong:
        status = capi.pscr_score_tensor(handle, *arguments, scores, statuses)
        assert_failed(status, handle, Status.INVALID_ARGUMENT, word)
    status = capi.pscr_score_tensor(handle, floats, shape, "NHWC", "float32", (0, 1), np.zeros(0), statuses)
    assert_failed(status, handle, Status.INVALID_ARGUMENT, "scores_out")
    assert (scores[0], statuses[0]) == (-7, -7)


@pytest.mark.parametrize("bad", [0, -1, 10**9, None, "1", 1.0, True, [1]])
def test_invalid_argument_where_the_handle_is_none(handle: int, bad: Any, out: np.ndarray) -> None:
    assert_failed(capi.pscr_score_encoded(bad, PNG, out), bad, Status.INVALID_ARGUMENT, "handle", "pscr_open")
    assert capi.pscr_close(bad) == Status.INVALID_ARGUMENT
    assert capi.pscr_info(bad, "model") is None


def test_invalid_argument_where_opening_is_called_wrong(tiny_model: Path) -> None:
    number = array.array("q", [-7])
    calls: list[tuple[tuple[Any, ...], str]] = [
        ((str(tiny_model), "toaster", 1, number), "toaster"),
        ((str(tiny_model), "cpu", -1, number), "threads"),
        ((str(tiny_model), "cpu", False, number), "threads"),
        ((7, "cpu", 1, number), "model"),
        ((str(tiny_model), "cpu", 1, [0]), "handle_out"),
        ((str(tiny_model), "cpu", 1), "handle_out"),
    ]
    for arguments, word in calls:
        assert_failed(capi.pscr_open(*arguments), 0, Status.INVALID_ARGUMENT, word)
    assert number[0] == -7


def test_file_not_found(handle: int, out: np.ndarray, tmp_path: Path) -> None:
    status = capi.pscr_score_file(handle, str(tmp_path / "none.png"), out)
    assert_failed(status, handle, Status.FILE_NOT_FOUND, "none.png")
    assert out.tolist() == [-7, -7]


@pytest.mark.parametrize("data", [b"", b"text", PNG[:100], bytes(1000)], ids=["empty", "text", "cut", "zeros"])
def test_decode_failed(handle: int, out: np.ndarray, data: bytes) -> None:
    assert_failed(capi.pscr_score_encoded(handle, data, out), handle, Status.DECODE_FAILED)


def test_image_too_large(handle: int, out: np.ndarray) -> None:
    status = capi.pscr_score_encoded(handle, png_header(60_000, 60_000), out)
    assert_failed(status, handle, Status.IMAGE_TOO_LARGE, "60000x60000")


def test_model_invalid(own_model: Path) -> None:
    number = array.array("q", [0])
    (own_model / "model.onnx").write_bytes(b"damaged")
    assert_failed(capi.pscr_open(str(own_model), "cpu", 1, number), 0, Status.MODEL_INVALID, "model.onnx")
    assert_failed(capi.pscr_open("no-such-model", "cpu", 1, number), 0, Status.MODEL_INVALID, "no-such-model")


def test_device_unavailable(tiny_model: Path) -> None:
    status = capi.pscr_open(str(tiny_model), "cuda:99", 1, array.array("q", [0]))
    assert_failed(status, 0, Status.DEVICE_UNAVAILABLE)


def test_engine_incompatible(own_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in answers for the driver, which is asked for a card first; the engine is of another graph."""
    monkeypatch.setattr(gpus, "find", lambda: gpus.Gpus((CARD,), "13.0"))
    place(own_model)
    status = capi.pscr_open(str(own_model), "tensorrt", 1, array.array("q", [0]))
    assert_failed(status, 0, Status.ENGINE_INCOMPATIBLE, "found", "needed", "pscr export engine")


OUT_OF_MEMORY = """
import resource, sys
import numpy as np
from pscr.runtime import capi
handle, score = np.zeros(1, np.int64), np.zeros(1)
assert capi.pscr_open({model!r}, "cpu", 1, handle) == 0, capi.pscr_last_error(0)
pixels = np.zeros((9000, 9000), np.uint8)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000,) * 2)
status = capi.pscr_score_pixels(int(handle[0]), pixels, 9000, 9000, 0, "gray", score)
print(status, capi.pscr_last_error(int(handle[0])))
small = capi.pscr_score_pixels(int(handle[0]), pixels, 64, 64, 0, "gray", score)
print(small)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_out_of_memory_and_the_handle_goes_on_working(tiny_model: Path) -> None:
    """The grey image's RGB form takes 243 MB; the process is allowed 50 more than it has."""
    program = OUT_OF_MEMORY.format(model=str(tiny_model))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"{Status.OUT_OF_MEMORY:d} ")
    assert second == "0"


def test_closed_for_every_function_after_close(handle: int, out: np.ndarray) -> None:
    assert capi.pscr_close(handle) == Status.OK
    assert capi.pscr_close(handle) == Status.OK
    for status in (
        capi.pscr_score_file(handle, "a.png", out),
        capi.pscr_score_encoded(handle, PNG, out),
        capi.pscr_score_pixels(handle, IMAGE, 64, 80, 0, "rgb", out),
        capi.pscr_score_batch(handle, [PNG], np.zeros(1), np.zeros(1, np.int32)),
        capi.pscr_score_tensor(
            handle, IMAGE, (1, 64, 80, 3), "NHWC", "uint8", (0, 255), np.zeros(1), np.zeros(1, np.int32)
        ),
    ):
        assert_failed(status, handle, Status.CLOSED, "open the model again")
    assert capi.pscr_info(handle, "model") is None
    assert out.tolist() == [-7, -7]


def test_internal_where_the_graph_overflows(own_model: Path, out: np.ndarray) -> None:
    parts = tiny.weights()
    huge = tiny.graph(dataclasses.replace(parts, conv=parts.conv * np.float32(1e38)))
    (own_model / "model.onnx").write_bytes(huge.SerializeToString())
    Manifest.read(own_model).write(own_model, ["model.onnx", "bank.npz"])
    number = opened(own_model)
    white = np.full((64, 64), 255, np.uint8)
    assert_failed(capi.pscr_score_pixels(number, white, 64, 64, 0, "gray", out), number, Status.INTERNAL, "finite")
    batch = np.stack([np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)])
    scores, statuses = np.full(2, -7.0), np.full(2, -7, np.int32)
    given = batch.shape, "NHWC", "uint8", (0, 255)
    assert capi.pscr_score_tensor(number, batch, *given, scores, statuses) == Status.OK
    assert statuses.tolist() == [Status.OK, Status.INTERNAL]
    assert math.isnan(scores[1])
    assert capi.pscr_last_error(number).startswith("item 1: ")
    capi.pscr_close(number)


# --- handles, threads, words ------------------------------------------------------------------------------------------


def test_a_handle_is_never_given_again(tiny_model: Path) -> None:
    numbers = []
    for _ in range(3):
        numbers.append(opened(tiny_model, threads=1))
        capi.pscr_close(numbers[-1])
    assert sorted(set(numbers)) == numbers
    assert numbers[0] > 0


def test_last_error_belongs_to_its_thread_and_handle(handle: int, tiny_model: Path, out: np.ndarray) -> None:
    other = opened(tiny_model, threads=1)
    capi.pscr_score_encoded(handle, b"text", out)
    assert "not an image" in capi.pscr_last_error(handle)
    assert capi.pscr_last_error(other) == ""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(capi.pscr_last_error, handle).result() == ""
    capi.pscr_close(other)


def test_many_failing_handles_leave_a_bounded_number_of_words(handle: int, out: np.ndarray) -> None:
    for number in range(1, handle + 1):
        capi.pscr_score_encoded(number, b"", out)
    assert len(capi._kept()) <= 65


def test_threads_share_a_handle_and_closing_it_ends_them_with_closed(tiny_model: Path, expected: pscr.Result) -> None:
    number = opened(tiny_model)
    begun = threading.Barrier(9)

    def work() -> tuple[int, int]:
        begun.wait()
        score, count = np.zeros(1), 0
        while (status := capi.pscr_score_encoded(number, PNG, score)) == Status.OK:
            assert score[0] == expected.score
            count += 1
        return status, count

    with ThreadPoolExecutor(8) as pool:
        ends = [pool.submit(work) for _ in range(8)]
        begun.wait()
        threading.Event().wait(0.1)
        capi.pscr_close(number)
        assert {end.result(timeout=30)[0] for end in ends} == {Status.CLOSED}


def test_info_gives_text_for_every_key(handle: int) -> None:
    keys = (capi.pscr_info(handle, "keys") or "").split()
    assert {"model", "device", "range", "bank"} <= set(keys)
    assert all(isinstance(capi.pscr_info(handle, key), str) for key in keys)
    assert (capi.pscr_info(handle, "model"), capi.pscr_info(handle, "range")) == ("tiny", "[0.0, 5.0]")
    assert capi.pscr_info(handle, "colour") is None
    assert "'colour'" in capi.pscr_last_error(handle)


def test_every_status_has_its_own_words() -> None:
    assert len({capi.pscr_strerror(status) for status in Status}) == len(Status)
    assert capi.pscr_strerror(99) == "unknown status 99"
    assert capi.pscr_version() == pscr.__version__


def test_the_document_names_every_function_with_its_parameters_and_every_status() -> None:
    text = (Path(__file__).parents[2] / "docs" / "c-api.md").read_text()
    for name in capi.__all__[1:]:
        signature = ", ".join(inspect.signature(getattr(capi, name)).parameters)
        assert f"{name}({signature})" in text, name
    for status in Status:
        assert f"| {status:d} | `{status.name}` |" in text, status


def test_the_example_is_a_complete_program(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    script = root / "examples" / "c_style.py"
    words = [sys.executable, str(script), str(root / "examples" / "images" / "coffee.jpg"), str(tmp_path / "none.jpg")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert "coffee.jpg" in lines[0]
    assert 0 < float(lines[0].split()[0]) < 5
    assert "no such file" in done.stderr
