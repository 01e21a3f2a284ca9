"""What is asked for is what runs, or an error says why not and what helps; only "auto" chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize("device", ["tensorrt", "tensorrt:1", "openvino"])
def test_a_device_of_later_versions_is_unavailable(tiny_model: Path, device: str) -> None:
    assert_refused(refusal(tiny_model, device), Status.DEVICE_UNAVAILABLE, repr(device), "use")


@pytest.mark.parametrize(
    "device", ["gpu", "", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:1234", "cuda:١", "cpu\n", None, 0, b"cpu"]
)
def test_another_word_is_an_invalid_argument_with_the_words_there_are(tiny_model: Path, device: Any) -> None:
    words = ("auto", "cpu", "cuda:N", "tensorrt", "openvino")
    assert_refused(refusal(tiny_model, device), Status.INVALID_ARGUMENT, repr(device), *words)
