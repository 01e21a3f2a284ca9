"""Images in a GPU's memory: read there, in their producer's order, with the scores of the same pixels on the host.

The kernels are those of pixels.cu, compiled for this machine; the rest of the GPU is a stand-in (cuda_stand_in.py).
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_model as tiny
from cuda_stand_in import Event, StandIn, Stream, kernels
from image_makers import assert_refused, colours
from numpy.typing import NDArray
from tensorrt_stand_in import install
from test_pixels import FORMS, RANGES
from test_tensorrt_order import written

import pscr
from pscr.export import ptx
from pscr.runtime import capi, gpus
from pscr.runtime.backends import cuda
from pscr.runtime.backends.cuda_pixels import PTX, Job
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.regressor import Regressor
from pscr.runtime.samplings import Dense, Nops, Ops, Plan, Resize, Rps, Sampling, Whole
from pscr.runtime.score_scale import ScoreScale

IMAGES = np.stack([np.roll(colours(70, 96), 5 * turn, 1) for turn in range(5)])  # one more than two parts of two
VIEWED = Ops(32, (0, 4, 9), 64, view=64, windows=3)  # so that images of 96x70 are scaled, and give two windows


@pytest.fixture(params=["pycuda", "cuda-bindings"])
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> StandIn:
    result = StandIn()
    result.patches = 27
    install(result, monkeypatch, pycuda=request.param == "pycuda")
    monkeypatch.setenv("PSCR_CACHE", str(tmp_path / "cache"))
    there = gpus.Gpus((gpus.Gpu(0, "Card", "8.9", 1 << 30), gpus.Gpu(1, "Card", "8.9", 1 << 30)), "13.0")
    monkeypatch.setattr(gpus, "find", lambda: there)
    return result


def opened(machine: StandIn, folder: Path, sampling: Sampling = VIEWED, **more: Any) -> pscr.Scorer:
    """A tiny model on the stand-in's GPU."""
    if not folder.exists():
        written(tiny.write(folder, sampling=sampling), (folder / "model.onnx").read_bytes())
    return pscr.open(folder, device="tensorrt", threads=1, **more)


@pytest.fixture
def scorer(machine: StandIn, tmp_path: Path) -> Iterator[pscr.Scorer]:
    with opened(machine, tmp_path / "model") as found:
        yield found


class Tensor:
    """Values [N,H,W,3] in "device" memory, which a stream has still to write when they are passed on.

    by: how the producer tells of that: "version 3" names its stream, "dlpack" has the reader's stream wait, "nothing"
    works in the legacy default stream.
    """

    def __init__(self, machine: StandIn, values: NDArray[Any], by: str = "version 3", gpu: int = 0) -> None:
        self._memory = np.zeros_like(values)
        self.device = SimpleNamespace(index=gpu)
        with cuda.Device(gpu).current():
            stream = Stream(machine)
            stream.add(lambda: np.copyto(self._memory, values))
            if by == "dlpack":
                event = Event(machine)
                event.record(stream)
                self.__dlpack__ = lambda stream: machine.streams[stream].wait_for_event(event)
            if by == "nothing":
                machine.streams[1] = stream
        told = {"version": 3, "stream": stream.handle} if by == "version 3" else {"version": 2}
        self.__cuda_array_interface__ = {**self._memory.__array_interface__, **told}


def valued(dtype: str, value_range: tuple[int, int], layout: str = "NHWC") -> NDArray[Any]:
    factor, offset = RANGES[value_range]
    batch = IMAGES if dtype == "uint8" else (IMAGES * factor + offset).astype(dtype)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) if layout == "NCHW" else batch


def expected(scorer: pscr.Scorer, images: NDArray[np.uint8] = IMAGES) -> list[pscr.Result]:
    return [scorer.score(image, pixel_format="rgb") for image in images]


def assert_same(found: list[pscr.Result], wanted: list[pscr.Result]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.spread == pytest.approx(other.spread, abs=1e-5)
        assert (one.width, one.height, one.status, one.message, one.path) == (
            *(other.width, other.height, other.status, other.message, other.path),
        )


# --- the scores -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("dtype", "value_range"), FORMS)
def test_every_form_of_a_batch_has_the_results_of_its_images(machine, scorer, dtype, value_range, layout):
    tensor = Tensor(machine, valued(dtype, value_range, layout))
    found = scorer.score_pixels(tensor, layout=layout, value_range=value_range)
    assert_same(found, expected(scorer))
    assert "scaled from 96x70 to 88x64" in found[0].message


def test_views_of_a_tensor_keep_their_pixels(machine, scorer):
    whole = Tensor(machine, np.repeat(IMAGES, 2, axis=2))
    whole.__cuda_array_interface__ |= {"shape": IMAGES.shape, "strides": (70 * 192 * 3, 192 * 3, 6, 1)}
    assert_same(scorer.score_pixels(whole), expected(scorer))
    last = Tensor(machine, IMAGES)
    size = IMAGES[0].nbytes
    at = last.__cuda_array_interface__["data"][0] + 4 * size
    last.__cuda_array_interface__ |= {"data": (at, False), "strides": (-size, 96 * 3, 3, 1)}
    assert_same(scorer.score_pixels(last), expected(scorer)[::-1])


@pytest.mark.parametrize("shape", [(20, 31), (64, 64), (33, 150), (256, 256), (70, 1), (9, 200)])
def test_padded_scaled_and_long_images_have_the_scores_of_the_host(machine, scorer, shape):
    images = np.random.default_rng(3).integers(0, 256, (3, *shape, 3), np.uint8)
    assert_same(scorer.score_pixels(Tensor(machine, images)), expected(scorer, images))


def test_a_head_on_the_models_terms_scores_there_as_well(machine, tmp_path):
    weights = np.random.default_rng(0).standard_normal((3, tiny.WIDTH)).astype(np.float32)
    head = Regressor(weights, np.zeros(3, np.float32), ScoreScale("quality", "own", (0.0, 5.0), True))
    with opened(machine, tmp_path / "model", head=head) as scorer:
        assert_same(scorer.score_pixels(Tensor(machine, IMAGES)), expected(scorer))


def test_no_images_give_no_results(machine, scorer):
    assert scorer.score_pixels(Tensor(machine, IMAGES[:0])) == []


# --- order and ownership ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["version 3", "dlpack", "nothing"])
def test_the_producers_work_is_waited_for(machine, scorer, by):
    assert_same(scorer.score_pixels(Tensor(machine, IMAGES, by)), expected(scorer))


def test_a_producer_that_cannot_say_when_it_is_done_is_refused(machine, scorer):
    tensor = Tensor(machine, IMAGES, "dlpack")
    tensor.__dlpack__ = failing
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(tensor)
    assert_refused(caught, Status.INVALID_ARGUMENT, "cuda:0", "not exported", "pixels.cpu()")


def failing(stream: int) -> None:
    raise BufferError("not exported")


def test_no_pixel_touches_the_host_and_nothing_is_allocated_twice(machine, scorer):
    images = Tensor(machine, valued("float32", (0, 1)))
    scorer.score_pixels(images, value_range=(0, 1))
    machine.events.clear()
    scorer.score_pixels(images, value_range=(0, 1))
    sizes = [int(event.split()[1]) for event in machine.events if event.startswith(("upload", "download"))]
    assert max(sizes) < 1000 < IMAGES.nbytes
    assert not [event for event in machine.events if event.startswith(("allocate", "free", "retain"))]
    assert machine.events.count("kernel windows") == machine.events.count("kernel extremes") == 3  # parts of two


def test_kernels_and_computation_are_one_streams_without_a_wait_between_the_parts(machine, scorer):
    machine.computed.clear()
    machine.events.clear()
    scorer.score_pixels(Tensor(machine, IMAGES[:4]))
    words = [event.split()[0] for event in machine.events]
    assert words[: words.index("wait")].count("kernel") == 2, "both slots have work before the first is waited for"
    assert len({stream for stream, _ in machine.computed}) == 1


def test_the_tensor_is_kept_for_the_call_and_let_go_after_it(machine, scorer):
    tensor = Tensor(machine, IMAGES, "dlpack")
    gone = weakref.ref(tensor)
    scorer.score_pixels(tensor)
    del tensor
    gc.collect()
    assert gone() is None
    bad = Tensor(machine, np.full((2, 8, 8, 3), np.nan, np.float32))
    gone = weakref.ref(bad)
    with pytest.raises(PscrError):
        scorer.score_pixels(bad)
    del bad
    gc.collect()
    assert gone() is None


def test_close_gives_the_kernels_and_their_memory_back(machine, tmp_path):
    scorer = opened(machine, tmp_path / "model")
    scorer.score_pixels(Tensor(machine, IMAGES))
    scorer.close()
    assert (machine.live, machine.pinned, machine.modules) == ({}, {}, 0)


def test_a_run_that_fails_is_an_error_and_the_next_one_is_right(machine, scorer):
    wanted = expected(scorer)
    machine.fail_run = next(machine.runs) + 2
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(Tensor(machine, IMAGES))
    assert_refused(caught, Status.INTERNAL, "failed", "open the model again")
    assert_same(scorer.score_pixels(Tensor(machine, IMAGES)), wanted)


def test_memory_for_the_plan_that_cannot_be_had_is_an_error_of_the_call(machine, scorer):
    machine.fail_allocation = next(machine.allocations) + 1
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(Tensor(machine, IMAGES))
    assert_refused(caught, Status.OUT_OF_MEMORY, "GPU 0")
    assert_same(scorer.score_pixels(Tensor(machine, IMAGES)), expected(scorer))


# --- what is refused --------------------------------------------------------------------------------------------------

BAD: list[tuple[str, Callable[[NDArray[Any]], None], str]] = [
    ("float32", lambda batch: batch.__setitem__((3, 1, 2, 0), np.nan), "image 3 of 5 has NaN"),
    ("float16", lambda batch: batch.__setitem__((4, 5, 5, 1), np.inf), "to inf"),
    ("float32", lambda batch: batch.__setitem__((1, 5, 5, 1), 1.5), "to 1.5 with value_range=(0, 1)"),
    ("float32", lambda batch: batch.__setitem__((1, 5, 5, 1), -0.9), "from -0.9"),
]


@pytest.mark.parametrize(("dtype", "spoil", "words"), BAD)
def test_values_that_are_wrong_are_refused_in_the_words_of_the_host(machine, scorer, dtype, spoil, words):
    batch = valued(dtype, (0, 1)).copy()
    spoil(batch)
    said = []
    for pixels in (batch, Tensor(machine, batch)):
        with pytest.raises(PscrError) as caught:
            scorer.score_pixels(pixels, value_range=(0, 1))
        assert_refused(caught, Status.INVALID_ARGUMENT, words)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert_same(scorer.score_pixels(Tensor(machine, IMAGES)), expected(scorer))


def test_floats_without_a_range_are_refused_where_all_are_dark(machine, scorer):
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(Tensor(machine, valued("float32", (0, 1))))
    assert_refused(caught, Status.INVALID_ARGUMENT, "pass value_range=(0, 1)")


def test_another_gpus_memory_is_refused_with_both_names(machine, scorer):
    with pytest.raises(PscrError) as caught:
        scorer.score_pixels(Tensor(machine, IMAGES, gpu=1))
    assert_refused(caught, Status.INVALID_ARGUMENT, "cuda:1", "tensorrt:0 reads cuda:0", "pixels.cpu()")


def test_a_model_that_reads_host_memory_refuses(machine, tiny_model):
    with pscr.open(tiny_model, device="cpu") as scorer, pytest.raises(PscrError) as caught:
        scorer.score_pixels(Tensor(machine, IMAGES))
    assert_refused(caught, Status.INVALID_ARGUMENT, "cuda:0", "cpu reads host memory", "pixels.cpu()")


def test_images_that_need_more_patches_than_the_engine_takes_are_refused(machine, tmp_path):
    machine.patches = 9
    with opened(machine, tmp_path / "model") as scorer, pytest.raises(PscrError) as caught:
        scorer.score_pixels(Tensor(machine, IMAGES))
    assert_refused(caught, Status.INVALID_ARGUMENT, "18 patches", "up to 9")


def test_a_sampling_that_looks_at_pixels_is_refused(machine, tmp_path):
    with opened(machine, tmp_path / "model", Rps(32, draws=9)) as scorer, pytest.raises(PscrError) as caught:
        scorer.score_pixels(Tensor(machine, IMAGES))
    assert_refused(caught, Status.INVALID_ARGUMENT, "rps", "pixels.cpu()")


# --- the flat form ----------------------------------------------------------------------------------------------------


def test_the_flat_form_scores_a_pointer(machine, scorer, tmp_path):
    status, handle = pscr_open(tmp_path / "model")
    assert status == Status.OK
    tensor = Tensor(machine, IMAGES)
    entry = tensor.__cuda_array_interface__
    scores, statuses = np.empty(5), np.empty(5, np.int32)
    where = entry["data"][0], 0, entry["stream"]
    form = IMAGES.shape, "NHWC", "uint8", (0, 255)
    assert capi.pscr_score_device_tensor(handle, *where, *form, scores, statuses) == Status.OK
    np.testing.assert_allclose(scores, [result.score for result in expected(scorer)], atol=1e-5)
    assert not statuses.any()
    assert capi.pscr_score_device_tensor(handle, -1, 0, 0, *form, scores, statuses) == Status.INVALID_ARGUMENT
    assert capi.pscr_score_device_tensor(handle, 0, 1, 0, *form, scores, statuses) == Status.INVALID_ARGUMENT
    capi.pscr_close(handle)


def pscr_open(folder: Path) -> tuple[int, int]:
    handle = np.zeros(1, np.int64)
    status = capi.pscr_open(str(folder), "tensorrt", 1, handle)
    return status, int(handle[0])


# --- the kernels ------------------------------------------------------------------------------------------------------

SAMPLINGS = [
    Ops(32, (0, 4, 9), 64),
    VIEWED,
    Nops(30, (0, 30), 64, view=64, windows=4),
    Dense(64, (0,), 64, view=64, windows=5),
    Dense(64, (0,), 64),
    Whole(),
    Resize(32, (4,), 40, resized=40),
]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda one: f"{one.method}-{one.view}")
def test_patches_are_those_of_the_sampling_to_the_bit_whatever_the_size(sampling):
    random = np.random.default_rng(1)
    shapes = [*random.integers(1, 400, (60, 2)), (128, 128), (192, 256), (64, 640), (1, 900), (320, 320)]
    made = 0
    for height, width in ((int(tall), int(wide)) for tall, wide in shapes):
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        plan = sampling.plan(height, width)
        if plan is None:  # it makes the image larger
            assert min(sampling.view_size(height, width)) > min(height, width)
            continue
        np.testing.assert_array_equal(cut(image, plan), sampling.cut(image))
        made += 1
    assert made > 40


def cut(image: NDArray[np.uint8], plan: Plan) -> NDArray[np.uint8]:
    """The patches of an image by the kernel."""
    out = np.empty((len(plan.corners), *plan.patch, 3), np.uint8)
    corners = np.array(plan.corners, np.int32)
    places = image.ctypes.data, out.ctypes.data, corners.ctypes.data, 0
    sizes = 1, *image.shape[:2], *plan.view, *plan.padding, len(corners), *plan.patch
    job = Job(*places, image.nbytes, *image.strides, 0, 0, *sizes)
    kernels().windows(ctypes.byref(job))
    return out


def test_every_half_is_read_as_numpy_reads_it():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    levels = finite[: finite.size // 3 * 3].reshape(1, 1, -1, 3)
    out = np.empty(levels.shape, np.uint8)
    width, corners = levels.shape[2], np.zeros(2, np.int32)
    places = levels.ctypes.data, out.ctypes.data, corners.ctypes.data, 0
    job = Job(*places, *levels.strides, 1, 0, 1, 1, width, 1, width, 0, 0, 1, 1, width)
    kernels().windows(ctypes.byref(job))
    wanted = np.clip(np.rint(levels.astype(np.float32)), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(out, wanted)


def test_samplings_that_depend_on_pixels_have_no_plan():
    assert Rps(32, draws=9).plan(64, 64) is None
    assert Resize(32, (4,), 40, resized=40).plan(20, 90) is None
    for sampling, size in itertools.product(SAMPLINGS[:-1], ((1, 1), (64, 64), (500, 90))):
        assert sampling.plan(*size) is not None


# --- what is shipped --------------------------------------------------------------------------------------------------


def test_the_shipped_kernels_are_made_of_their_source():
    assert PTX.read_text().startswith(ptx.heading(PTX.with_suffix(".cu"))), "run python -m pscr.export.ptx"


@pytest.mark.skipif(not ptx.installed(), reason=f"{ptx.PACKAGE} {ptx.VERSION} is not installed")
def test_the_compiler_makes_them_so():
    assert PTX.read_text() == ptx.compiled(PTX.with_suffix(".cu"))


def test_they_are_for_any_gpu_and_driver_of_cuda_12():
    lines = PTX.read_text().splitlines()
    assert ".version 8.0" in lines
    assert ".target sm_75" in lines
    assert {name for line in lines if ".entry" in line for name in line.split() if "(" in name} == {
        "windows(",
        "extremes(",
    }
