"""A batch in one array or tensor: the scores of its images, read where it lies; nothing is guessed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_makers import assert_refused, colours

import pscr
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.pixels import DeviceBatch, HostBatch, read

IMAGES = np.stack([colours(), colours()[::-1], np.roll(colours(), 7, 1)])
RANGES = {(0, 255): (1.0, 0.0), (0, 1): (1 / 255, 0.0), (-1, 1): (2 / 255, -1.0)}  # factor and offset of a level


def valued(dtype: str, value_range: tuple[int, int], layout: str = "NHWC") -> np.ndarray:
    """IMAGES as a generator would give them."""
    factor, offset = RANGES[value_range]
    batch = IMAGES if dtype == "uint8" else (IMAGES * factor + offset).astype(dtype)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) if layout == "NCHW" else batch


class Interface:
    """An array of some library that offers one protocol."""

    def __init__(self, **protocol: Any) -> None:
        self.__dict__ |= protocol


@pytest.fixture(params=["numpy", "torch"])
def library(request: pytest.FixtureRequest) -> Any:
    """What makes an array of its own of NumPy's; torch is not wherever the runtime is tested."""
    return np.asarray if request.param == "numpy" else pytest.importorskip("torch").from_numpy


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    with pscr.open(tiny_model, device="cpu", threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(scorer: pscr.Scorer) -> list[pscr.Result]:
    """What `score` says of IMAGES, one by one."""
    return [scorer.score(image, pixel_format="rgb") for image in IMAGES]


# --- the scores -------------------------------------------------------------------------------------------------------

FORMS = [("uint8", (0, 255)), *itertools.product(("float16", "float32"), RANGES)]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("dtype", "value_range"), FORMS)
def test_every_form_of_a_batch_has_the_results_of_its_images(
    scorer: pscr.Scorer, expected: list[pscr.Result], library: Any, dtype: str, value_range: Any, layout: str
) -> None:
    batch = library(valued(dtype, value_range, layout))
    assert scorer.score_pixels(batch, layout=layout, value_range=value_range) == expected


def test_strided_batches_keep_their_pixels(scorer: pscr.Scorer, expected: list[pscr.Result], library: Any) -> None:
    wide = library(np.repeat(IMAGES, 2, axis=2))[:, :, ::2]
    assert scorer.score_pixels(wide) == expected
    permuted = library(IMAGES.transpose(0, 3, 1, 2).copy()).swapaxes(1, 2).swapaxes(2, 3)
    assert scorer.score_pixels(permuted) == expected
    assert scorer.score_pixels(IMAGES[::-1]) == expected[::-1]


def test_array_interface_alone_is_enough(scorer: pscr.Scorer, expected: list[pscr.Result]) -> None:
    assert scorer.score_pixels(Interface(__array_interface__=IMAGES.__array_interface__)) == expected


def test_a_read_only_batch_larger_than_the_device_takes_keeps_its_order(
    scorer: pscr.Scorer, expected: list[pscr.Result]
) -> None:
    many = np.tile(IMAGES, (2 * scorer.batch, 1, 1, 1))
    many.flags.writeable = False
    assert scorer.score_pixels(many) == expected * (2 * scorer.batch)


def test_no_images_have_no_results(scorer: pscr.Scorer) -> None:
    torch = pytest.importorskip("torch")
    assert scorer.score_pixels(np.zeros((0, 8, 8, 3), np.uint8)) == []
    assert scorer.score_pixels(torch.zeros(0, 3, 8, 8), "NCHW", (0, 1)) == []


def test_contiguous_uint8_is_not_copied() -> None:
    torch = pytest.importorskip("torch")
    batch = read(IMAGES, "NHWC", (0, 255))
    assert isinstance(batch, HostBatch)
    assert all(np.shares_memory(batch.levels(image), IMAGES) for image in batch.images())
    tensor = torch.from_numpy(IMAGES.copy())
    batch = read(tensor, "NHWC", (0, 255))
    assert isinstance(batch, HostBatch)
    assert batch.levels(next(batch.images())).ctypes.data == tensor.data_ptr()


def test_floats_become_the_levels_of_diffusers() -> None:
    """`(images * 255).round().astype("uint8")`, halves to the even one, after `(x * 0.5 + 0.5).clamp(0, 1)`."""
    values = np.linspace(0, 1, 3 * 4096, dtype=np.float32).reshape(1, 64, 64, 3)
    batch = read(values, "NHWC", (0, 1))
    assert isinstance(batch, HostBatch)
    np.testing.assert_array_equal(batch.levels(values[0]), (values * 255).round().astype("uint8")[0])
    signed = values * 2 - 1
    batch = read(signed, "NHWC", (-1, 1))
    assert isinstance(batch, HostBatch)
    wanted = ((signed * np.float32(0.5) + np.float32(0.5)).clip(0, 1) * 255).round().astype("uint8")[0]
    np.testing.assert_array_equal(batch.levels(signed[0]), wanted)
    halves = np.array([0.5, 1.5, 2.5, 254.5, 255.4, -0.4], np.float32).reshape(1, 1, 2, 3)
    batch = read(halves, "NHWC", (0, 255))
    assert isinstance(batch, HostBatch)
    batch.check()
    assert batch.levels(halves[0]).ravel().tolist() == [0, 2, 2, 254, 255, 0]


# --- what is refused, and with which call -----------------------------------------------------------------------------

FLOATS = valued("float32", (0, 1))
SIGNED = valued("float32", (-1, 1))


@pytest.mark.parametrize(
    ("values", "stated", "word"),
    [
        (FLOATS, (0, 255), "pass value_range=(0, 1)"),
        (SIGNED, (0, 255), "pass value_range=(-1, 1)"),
        (FLOATS * 0, (0, 255), "pass value_range=(0, 1)"),
        (SIGNED, (0, 1), "pass value_range=(-1, 1)"),
        (FLOATS * 255, (0, 1), "pass value_range=(0, 255)"),
        (FLOATS * 255, (-1, 1), "pass value_range=(0, 255)"),
        (SIGNED * 1.5, (-1, 1), "pass pixels.clip(-1, 1)"),
        (FLOATS * 300, (0, 255), "pass pixels.clip(0, 255)"),
        (FLOATS / FLOATS.max() * 1.05, (0, 1), "pass pixels.clip(0, 1) with value_range=(0, 1)"),
        (FLOATS / FLOATS.max() * 1.05, (0, 255), "pass pixels.clip(0, 1) with value_range=(0, 1)"),
        (SIGNED * 1.2, (0, 1), "pass pixels.clip(-1, 1) with value_range=(-1, 1)"),
        (SIGNED * 1.2, (0, 255), "pass pixels.clip(-1, 1) with value_range=(-1, 1)"),
        (np.where(FLOATS.max() == FLOATS, np.inf, FLOATS).astype(np.float32), (0, 1), "to inf"),
        (IMAGES, (0, 1), "pass value_range=(0, 255)"),
    ],
)
def test_values_that_are_not_of_the_range_are_refused_with_the_right_one(
    scorer: pscr.Scorer, values: np.ndarray, stated: Any, word: str
) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(values, value_range=stated)
    assert_refused(caught, Status.INVALID_ARGUMENT, f"value_range={stated}", word)


def test_nan_is_refused_with_the_image_that_has_it(scorer: pscr.Scorer) -> None:
    damaged = FLOATS.copy()
    damaged[1, 5, 6, 2] = np.nan
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(damaged, value_range=(0, 1))
    assert_refused(caught, Status.INVALID_ARGUMENT, "image 1 of 3", "NaN")


SHAPES = [
    ((2, 3, 8, 9), "NHWC", "pass layout='NCHW'"),
    ((2, 8, 9, 3), "NCHW", "pass layout='NHWC'"),
    ((2, 8, 9, 1), "NHWC", "pass pixels[..., [0, 0, 0]]"),
    ((2, 1, 8, 9), "NCHW", "pass pixels[:, [0, 0, 0]]"),
    ((2, 8, 9, 4), "NHWC", "pass pixels[..., :3]"),
    ((2, 4, 8, 9), "NCHW", "pass pixels[:, :3]"),
    ((2, 8, 9, 5), "NHWC", "red, green and blue"),
    ((8, 9, 3), "NHWC", "pass pixels[None], layout='NHWC'"),
    ((8, 9, 3), "NCHW", "pass pixels[None], layout='NHWC'"),
    ((3, 8, 9), "NHWC", "pass pixels[None], layout='NCHW'"),
    ((8, 9), "NHWC", "pass pixels[None, :, :, None][..., [0, 0, 0]]"),
    ((2, 4, 8, 9, 3), "NHWC", "pass pixels.reshape(-1, *pixels.shape[2:])"),
    ((2, 0, 9, 3), "NHWC", "at least one pixel"),
    ((5,), "NHWC", "expected [N,H,W,3]"),
    ((), "NCHW", "expected [N,3,H,W]"),
]


@pytest.mark.parametrize(("shape", "layout", "word"), SHAPES)
def test_shape_that_is_no_batch_is_refused_with_the_call_that_is_right(
    scorer: pscr.Scorer, shape: tuple[int, ...], layout: str, word: str, library: Any
) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(library(np.zeros(shape, np.uint8)), layout=layout)
    assert_refused(caught, Status.INVALID_ARGUMENT, str(list(shape)), word)


@pytest.mark.parametrize(("shape", "layout", "word"), [one for one in SHAPES if "pass " in one[2]])
def test_the_call_that_is_named_is_right(
    scorer: pscr.Scorer, shape: tuple[int, ...], layout: str, word: str, library: Any
) -> None:
    """What the message says is put into the call, for NumPy's arrays and torch's."""
    pixels = library(np.zeros(shape, np.uint8))
    said, named = word.removeprefix("pass "), "layout=" in word
    expression, _, fitting = said.partition("layout=") if named else (said, "", "")
    taken = eval(expression.rstrip(", ") or "pixels", {"pixels": pixels})
    assert all(result.ok for result in scorer.score_pixels(taken, layout=fitting.strip("'") or layout))


@pytest.mark.parametrize("dtype", ["float64", "int64", "uint16", "bool", ">f4"])
def test_other_types_are_refused(scorer: pscr.Scorer, dtype: str) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(np.zeros((1, 8, 8, 3), dtype))
    assert_refused(caught, Status.INVALID_ARGUMENT, dtype, "uint8, float16 or float32", "pixels.float()")


@pytest.mark.parametrize("layout", ["nhwc", "HWC", None, 3])
def test_unknown_layout_is_refused(scorer: pscr.Scorer, layout: Any) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(IMAGES, layout=layout)
    assert_refused(caught, Status.INVALID_ARGUMENT, "layout", "NHWC, NCHW")


@pytest.mark.parametrize("value_range", [(0, 2), (1, 0), 1, None, "black", (0, 1, 2), ("a", "b")])
def test_unknown_range_is_refused(scorer: pscr.Scorer, value_range: Any) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(FLOATS, value_range=value_range)
    assert_refused(caught, Status.INVALID_ARGUMENT, "value_range", "(0, 1)", "(-1, 1)", "(0, 255)")


@pytest.mark.parametrize("thing", [None, 3, "photo.png", b"bytes", list(IMAGES), object()])
def test_what_is_no_array_is_refused(scorer: pscr.Scorer, thing: Any) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(thing)
    assert_refused(caught, Status.INVALID_ARGUMENT, f"a {type(thing).__name__}", "stack")


def test_what_can_become_an_array_is_told_how(scorer: pscr.Scorer) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(Interface(__array__=lambda: IMAGES))
    assert_refused(caught, Status.INVALID_ARGUMENT, "Interface", "pass numpy.asarray(pixels)")


def test_a_tensor_that_cannot_be_read_is_refused_with_what_would_do(scorer: pscr.Scorer) -> None:
    torch = pytest.importorskip("torch")
    tensors = {
        ".detach()": torch.zeros(1, 8, 8, 3, requires_grad=True),
        ".float()": torch.zeros(1, 8, 8, 3, dtype=torch.bfloat16),
        ".cpu()": torch.zeros(1, 8, 8, 3, device="meta"),
        "cannot be read": torch.zeros(8, 8).to_sparse(),
    }
    for word, tensor in tensors.items():
        with pytest.raises(PscrError) as caught:
            scorer.score_pixels(tensor)
        assert_refused(caught, Status.INVALID_ARGUMENT, word)


def test_too_large_images_are_refused_before_they_are_read(tiny_model: Path) -> None:
    with pscr.open(tiny_model, device="cpu", max_pixels=1000) as scorer, pytest.raises(PscrError) as caught:
        scorer.score_pixels(IMAGES)
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "64x48")


def test_a_closed_scorer_says_so(tiny_model: Path) -> None:
    scorer = pscr.open(tiny_model, device="cpu")
    scorer.close()
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(IMAGES)
    assert_refused(caught, Status.CLOSED, "open the model again")


# --- other devices ----------------------------------------------------------------------------------------------------


def on_cuda(shape: tuple[int, ...], **more: Any) -> Interface:
    """What torch and CuPy say of an array on a GPU; nothing here follows the pointer."""
    entry = {"shape": shape, "typestr": "<f4", "data": (0x7000, False), "version": 3, "strides": None, **more}
    return Interface(__cuda_array_interface__=entry)


def test_a_batch_on_a_gpu_says_where_it_lies_in_the_order_of_its_axes() -> None:
    tensor = on_cuda((2, 3, 4, 5), stream=7)
    batch = read(tensor, "NCHW", (0, 1))
    assert isinstance(batch, DeviceBatch)
    assert (batch.device, batch.pointer, batch.stream, batch.dtype) == ("cuda:0", 0x7000, 7, np.float32)
    assert (batch.shape, batch.strides) == ((2, 4, 5, 3), (240, 20, 4, 80))
    assert batch.owner is tensor
    strided = read(on_cuda((2, 4, 5, 3), strides=(960, 240, 48, 16)), "NHWC", (0, 1))
    assert isinstance(strided, DeviceBatch)
    assert (strided.strides, strided.stream) == ((960, 240, 48, 16), 0)  # which is not told


@pytest.mark.parametrize(
    ("tensor", "word"),
    [
        (on_cuda((2, 8, 8, 3)), "cuda:0"),
        (Interface(__dlpack__=None, __dlpack_device__=lambda: (8, 0)), "metal:0"),
        (Interface(__dlpack__=None, __dlpack_device__=lambda: (99, 1)), "kind 99:1"),
    ],
)
def test_a_batch_on_another_device_is_refused_with_the_way_to_the_host(
    scorer: pscr.Scorer, tensor: Any, word: str
) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(tensor, value_range=(0, 1))
    assert_refused(caught, Status.INVALID_ARGUMENT, word, "pass pixels.cpu()")


def test_a_batch_on_a_gpu_is_checked_like_any(scorer: pscr.Scorer) -> None:
    for tensor, word in ((on_cuda((2, 3, 8, 8)), "layout='NCHW'"), (on_cuda((2, 8, 8, 3), typestr="<V2"), "float32")):
        with pytest.raises(PscrError) as caught:
            scorer.score_pixels(tensor)
        assert_refused(caught, Status.INVALID_ARGUMENT, word)
