"""What is asked for is what runs, or an error says why not and what helps; only "auto" chooses."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from image_makers import assert_refused

import pscr
from pscr.runtime import devices, gpus
from pscr.runtime.backends.onnxruntime_backend import PROVIDERS, _missing, _trt_settings, describe
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.head import Signature
from pscr.runtime.libraries import load

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
def test_auto_says_nothing_where_nothing_better_could_be_expected(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpus, "find", lambda: gpus.Gpus(problem="no NVIDIA driver here"))
    for device in ("auto", "cpu"):
        with pscr.open(tiny_model, device, threads=1) as scorer:
            assert scorer.info["passed_over"] == []
    assert not caplog.records


@pytest.mark.skipif(not WITHOUT_CUDA, reason="this onnxruntime has CUDA")
def test_auto_says_why_a_gpu_that_is_there_is_not_used(
    own_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither with an engine, which is damaged, nor with onnxruntime, which is that for CPUs."""
    monkeypatch.setattr(gpus, "find", lambda: gpus.Gpus((gpus.Gpu(0, "Card", "8.9", 1 << 30),), "13.0"))
    (own_model / "engines").mkdir()
    (own_model / "engines" / "card.engine").write_bytes(b"plan")
    with pscr.open(own_model, threads=1) as scorer:
        engine, cuda = scorer.info["passed_over"]
    assert engine.startswith("tensorrt: ")
    assert "card.engine" in engine
    assert cuda.startswith("cuda: ")
    assert "pip install" in cuda
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("pscr")]
    assert [line for line in logged if engine.partition(": ")[2] in line]
    assert [line for line in logged if cuda.partition(": ")[2] in line]


def test_auto_takes_openvino_where_onnxruntime_is_not_installed(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pscr.open(tiny_model, threads=1) as scorer:
        assert scorer.info["device"] == "openvino"
        (reason,) = [one for one in scorer.info["passed_over"] if one.startswith("cpu: ")]
        assert "onnxruntime cannot be imported" in reason
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert_refused(refusal(tiny_model, "auto"), Status.DEVICE_UNAVAILABLE, "onnxruntime", "pip install 'pscr[cpu]'")


@pytest.mark.skipif(not WITHOUT_CUDA, reason="this onnxruntime has CUDA")
def test_auto_falls_back_where_cuda_is_listed_but_does_not_start(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "describe", lambda: ("0", ["CUDAExecutionProvider", "CPUExecutionProvider"]))
    with pscr.open(tiny_model, threads=1) as scorer:
        assert scorer.info["device"] == "cpu"
        assert scorer.info["passed_over"][0].startswith("cuda: ")


@pytest.mark.parametrize("kind", ["cuda", "onnxruntime-tensorrt"])
def test_fp32_on_cuda_is_fp32(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str) -> None:
    """What onnxruntime is asked for: no TF32, and no search for an algorithm at each size of a batch."""
    asked: list[Any] = []
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        sampling = scorer.manifest.sampling

    def session(graph: bytes, options: Any, providers: list[Any], **rest: Any) -> None:
        asked.extend(providers)
        raise RuntimeError("no CUDA in here")

    library = load("onnxruntime")
    monkeypatch.setattr(library, "get_available_providers", lambda: list(PROVIDERS.values()))
    monkeypatch.setattr(library, "InferenceSession", session)
    monkeypatch.setenv("PSCR_CACHE", str(tmp_path))
    assert_refused(refusal(tiny_model, f"{kind}:1"), Status.DEVICE_UNAVAILABLE, "no CUDA in here")
    settings = dict(asked)["CUDAExecutionProvider"]
    assert settings == {"device_id": 1, "use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}
    if kind == "onnxruntime-tensorrt":  # as many windows as the model's sampling cuts
        built = dict(asked)["TensorrtExecutionProvider"]
        side, most = f"{sampling.patch}x{sampling.patch}x3", min(sampling.most, 4 * sampling.count)
        assert built["trt_profile_opt_shapes"].startswith(f"patches:8x{sampling.count}x{side},")
        assert built["trt_profile_max_shapes"].startswith(f"patches:64x{most}x{side},")


def test_an_engine_of_onnxruntime_makes_no_tensor_above_what_tensorrt_can_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PSCR_CACHE", str(tmp_path))
    _, takes = _trt_settings(0, Signature(("score",)), 512, 1, 16)
    assert takes.patches == 4
    assert 16 <= takes.most * takes.patches <= 2**31 // (512 * 512 * 32)


def test_a_library_that_keeps_cuda_from_starting_is_named(tmp_path: Path) -> None:
    """Of the kind that onnxruntime loads: a shared object that needs another, which is not there."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    folder = tmp_path / "capi"
    folder.mkdir()

    def compiled(name: str, *more: str) -> str:
        made = str(folder / name)
        subprocess.run(["cc", "-shared", "-o", made, "-x", "c", "/dev/null", "-x", "none", *more], check=True)
        return made

    compiled("libonnxruntime_providers_shared.so")
    needed = compiled("libcublasLt.so.99", "-Wl,-soname,libcublasLt.so.99")
    compiled("libonnxruntime_providers_cuda.so", "-Wl,--no-as-needed", needed)
    Path(needed).unlink()
    library = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    assert _missing(library, "cuda") == " (libcublasLt.so.99 is missing)"


@pytest.mark.parametrize("cache", ["file/below", ""])
def test_an_engine_that_cannot_be_kept_says_where_it_may_be(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: str
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(load("onnxruntime"), "get_available_providers", lambda: list(PROVIDERS.values()))
    monkeypatch.setenv("PSCR_CACHE", str(tmp_path / cache) if cache else "")
    monkeypatch.setattr(Path, "home", homeless)
    assert_refused(refusal(tiny_model, "onnxruntime-tensorrt"), Status.DEVICE_UNAVAILABLE, "set PSCR_CACHE")


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


@pytest.mark.parametrize("name", devices.DEVICES)
def test_all_threads_decode_where_a_gpu_infers_and_at_most_four_elsewhere(name: str) -> None:
    device = devices.DEVICES[name]
    assert [device.decoders(threads) for threads in (1, 4, 16)] == ([1, 4, 16] if device.on_gpu else [1, 4, 4])
