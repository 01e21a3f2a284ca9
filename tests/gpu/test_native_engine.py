"""On a real GPU: an engine is built, loaded and scores like onnxruntime on the CPU. Run by `make test-gpu`."""

from __future__ import annotations

import gc
import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest

import pscr
from pscr.export.to_trt import main as build
from pscr.runtime import gpus
from pscr.runtime.backends import cuda, cuda_bindings
from pscr.runtime.engines import LIBRARIES, Engine, files
from pscr.runtime.golden import golden_images

GPUS = gpus.find()
INSTALLED = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not GPUS.found, reason=GPUS.problem or "no GPU"),
    pytest.mark.skipif(not cuda.in_use(), reason="neither cuda-bindings nor pycuda is installed: pscr[trt]"),
]


@pytest.fixture(params=LIBRARIES)
def model(request: pytest.FixtureRequest, own_model: Path) -> Path:
    """The tiny model with an engine for this machine's GPU, whose own checks have passed."""
    if request.param not in INSTALLED:
        pytest.skip(f"{request.param} is not installed")
    code = build([str(own_model), "--library", request.param, "--batch", "1,2,8"])
    assert code == 0, "to_trt builds, inspects, compares with onnxruntime and tries every batch size"
    return own_model


def test_it_scores_like_the_cpu_and_says_what_runs(model: Path) -> None:
    with pscr.open(model, device="tensorrt") as native, pscr.open(model, device="cpu") as cpu:
        assert native.info["device"] == "tensorrt:0"
        for image in golden_images().values():
            found, expected = (s.score(image, pixel_format="rgb") for s in (native, cpu))
            assert found.score == pytest.approx(expected.score, abs=1e-3)
            assert found.spread == pytest.approx(expected.spread, abs=1e-3)


def test_every_batch_and_repeated_shapes_agree(model: Path) -> None:
    rng = np.random.default_rng(0)
    with pscr.open(model, device="tensorrt") as native, pscr.open(model, device="cpu") as cpu:
        for images in (1, 2, 3, 8, 8, 8, 5, 8, 1, 1, 1):
            patches = rng.integers(0, 256, (images, 9, 32, 32, 3), np.uint8)
            np.testing.assert_allclose(native.infer(patches).votes, cpu.infer(patches).votes, atol=1e-3)
            np.testing.assert_allclose(native.terms(patches), cpu.terms(patches), atol=1e-2)


def test_threads_share_a_scorer_and_any_may_close_it(model: Path) -> None:
    scorer = pscr.open(model, device="tensorrt")
    image = next(iter(golden_images().values()))
    expected, found = scorer.score(image, pixel_format="rgb").score, []

    def work() -> None:
        found.extend(scorer.score(image, pixel_format="rgb").score for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in [*threads]:
        thread.start()
    for thread in threads:
        thread.join()
    closer = threading.Thread(target=scorer.close)
    closer.start()
    closer.join()
    assert found == pytest.approx([expected] * 40, abs=1e-5)


def test_opening_and_closing_again_and_again_keeps_no_memory(model: Path) -> None:
    left = []
    for _ in range(6):
        with pscr.open(model, device="tensorrt") as scorer:
            scorer.infer(np.zeros((8, 9, 32, 32, 3), np.uint8))
        gc.collect()
        with cuda.Device(0).current():
            left.append(cuda_bindings.Driver().call("cuMemGetInfo"))  # free bytes, then all
    assert left[-1] >= left[1] - (1 << 20)


def test_a_damaged_engine_is_refused_and_auto_goes_on_without_it(model: Path) -> None:
    (path,) = files(model)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(pscr.PscrError) as caught:
        pscr.open(model, device="tensorrt")
    assert caught.value.status is pscr.Status.ENGINE_INCOMPATIBLE
    with pscr.open(model) as scorer:
        assert scorer.info["device"] != "tensorrt:0"


def test_torch_may_live_beside_it(model: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    before = torch.arange(5, device="cuda")
    with pscr.open(model, device="tensorrt") as scorer:
        scorer.infer(np.zeros((2, 9, 32, 32, 3), np.uint8))
        assert int((before * 2).sum()) == 20
    assert int(before.sum()) == 10


def test_the_engine_file_is_a_plain_plan(model: Path) -> None:
    (path,) = files(model)
    library = Engine.read(path).sidecar.library
    trt = pytest.importorskip(library)
    from pscr.runtime.backends.cuda import Device

    with Device(0).current():
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        assert runtime.deserialize_cuda_engine(path.read_bytes()) is not None


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_tensors_are_scored_where_they_are(model: Path, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch has no CUDA")
    levels = np.random.default_rng(0).integers(0, 256, (5, 70, 96, 3), np.uint8)
    value_range = (0, 255) if dtype == "uint8" else (0, 1)
    with pscr.open(model, device="tensorrt") as native:
        expected = [native.score(image, pixel_format="rgb") for image in levels]
        for stream in (torch.cuda.default_stream(), torch.cuda.Stream()):
            with torch.cuda.stream(stream):
                pixels = torch.from_numpy(levels).to("cuda", non_blocking=True).permute(0, 3, 1, 2)
                torch.cuda._sleep(50_000_000)  # the stream is still busy when score_pixels is called
                pixels = pixels if dtype == "uint8" else (pixels.float() / 255).to(getattr(torch, dtype))
                found = native.score_pixels(pixels, layout="NCHW", value_range=value_range)
            for one, other in zip(found, expected, strict=True):
                assert one.score == pytest.approx(other.score, abs=1e-3)
                assert one.message == other.message
