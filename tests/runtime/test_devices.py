"""What is asked for is what runs, or an error says why not and what helps; only "auto" chooses."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_makers import assert_refused

import pscr
from pscr.runtime import devices
from pscr.runtime.backends.onnxruntime_backend import describe
from pscr.runtime.errors import PscrError, Status

WITHOUT_CUDA = "CUDAExecutionProvider" not in describe()[1]


def refusal(model: Path, device: Any) -> pytest.ExceptionInfo[PscrError]:
    """The error that opening on this device gives."""
    with pytest.raises(PscrError) as caught:
        pscr.open(model, device=device, threads=1)
    return caught


def test_cpu_runs_on_the_cpu(tiny_model: Path) -> None:
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        assert scorer.info["device"] == "cpu"
        assert scorer.info["provider"] == "CPUExecutionProvider"


@pytest.mark.skipif(not WITHOUT_CUDA, reason="this onnxruntime has CUDA")
def test_auto_falls_back_to_the_cpu_and_says_so(tiny_model: Path) -> None:
    with pscr.open(tiny_model, threads=1) as scorer:
        assert (scorer.info["device_asked"], scorer.info["device"]) == ("auto", "cpu")


@pytest.mark.skipif(not WITHOUT_CUDA, reason="this onnxruntime has CUDA")
def test_auto_falls_back_where_cuda_is_listed_but_does_not_start(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "describe", lambda: ("0", ["CUDAExecutionProvider", "CPUExecutionProvider"]))
    with pscr.open(tiny_model, threads=1) as scorer:
        assert scorer.info["device"] == "cpu"


@pytest.mark.skipif(not WITHOUT_CUDA, reason="this onnxruntime has CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_without_cuda_is_unavailable_and_names_the_remedy(tiny_model: Path, device: str) -> None:
    assert_refused(refusal(tiny_model, device), Status.DEVICE_UNAVAILABLE, "CUDAExecutionProvider", "pip install")


@pytest.mark.parametrize("device", ["tensorrt", "tensorrt:1"])
def test_tensorrt_without_a_gpu_is_unavailable(tiny_model: Path, device: str) -> None:
    assert_refused(refusal(tiny_model, device), Status.DEVICE_UNAVAILABLE, repr(device), "use")


@pytest.mark.parametrize(
    "device", ["gpu", "", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1234", "cuda:١", "cpu\n", None, 0, b"cpu"]
)
def test_another_word_is_an_invalid_argument_with_the_words_there_are(tiny_model: Path, device: Any) -> None:
    words = ("auto", "cpu", "cuda[:N]", "tensorrt", "openvino")
    assert_refused(refusal(tiny_model, device), Status.INVALID_ARGUMENT, repr(device), *words)


def test_openvino_scores_as_onnxruntime_does_and_info_says_what_runs(tiny_model: Path) -> None:
    pytest.importorskip("openvino")
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    with pscr.open(tiny_model, device="openvino", threads=1) as one, pscr.open(tiny_model, "cpu", threads=1) as other:
        assert one.info["device"] == "openvino"
        assert one.info["library"].startswith("openvino 2")
        found, expected = (scorer.score(noise, pixel_format="rgb").score for scorer in (one, other))
        assert found == pytest.approx(expected, abs=1e-5)


def test_openvino_that_is_not_installed_names_the_extra(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert_refused(refusal(tiny_model, "openvino"), Status.DEVICE_UNAVAILABLE, "pip install 'pscr[openvino]'", "use")


def test_bf16_is_a_device_of_its_own_where_the_processor_has_it(tiny_model: Path) -> None:
    pytest.importorskip("openvino")
    if not re.search("avx512_bf16|amx_bf16", Path("/proc/cpuinfo").read_text()):
        assert_refused(refusal(tiny_model, "openvino-bf16"), Status.DEVICE_UNAVAILABLE, "no bf16", "use openvino")
        return
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    with pscr.open(tiny_model, "openvino-bf16", threads=1) as one, pscr.open(tiny_model, "cpu", threads=1) as other:
        assert one.info["device"] == "openvino-bf16"
        found, expected = (scorer.score(noise, pixel_format="rgb").score for scorer in (one, other))
        assert found == pytest.approx(expected, abs=0.05)
        assert found != expected
