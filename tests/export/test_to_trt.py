"""`python export/to_trt.py`: an engine with its sidecar, or one clear line and no file. tensorrt_rtx really builds."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pscr.commands.main import main as pscr
from pscr.export import to_trt, trt_builder
from pscr.export.to_trt import main
from pscr.runtime import gpus
from pscr.runtime.engines import Engine, files
from pscr.runtime.errors import PscrError, Status

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx has no wheel for this platform")
ROOT = Path(__file__).parents[2]
without_gpu = pytest.mark.skipif(bool(gpus.find().found), reason="a GPU is here, and would be built for")


@without_gpu
def test_a_portable_engine_its_sidecar_and_what_is_said(own_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(own_model), "--library", "tensorrt_rtx", "--batch", "1,4,16"]) == 0
    (path,) = files(own_model)
    engine = Engine.read(path)
    car, printed = engine.sidecar, capsys.readouterr().out
    assert path.name == f"any-sm80+sm86+sm89+sm120-tensorrt_rtx{car.library_version}-fp32.engine"
    assert car.compute_capabilities == ["8.0", "8.6", "8.9", "12.0"]
    assert car.onnx_sha256 == hashlib.sha256((own_model / "model.onnx").read_bytes()).hexdigest()
    assert car.profile["patches"] == [[1, 1, 32, 32, 3], [4, 9, 32, 32, 3], [16, 9, 32, 32, 3]]
    assert car.profile["bank_scores"] == [[1], [5], [4096]]
    assert car.static == [[1, 9, 32, 32, 3], [4, 9, 32, 32, 3]]
    assert engine.plan() == path.read_bytes()
    for word in ("size", "build", "fp32", "1 4 16", "not inspected", "not run here"):
        assert word in printed
    assert not list((own_model / "engines").glob(".*")), "nothing is left of the build"


@without_gpu
def test_precision_is_converted_and_belongs_to_the_same_model(own_model: Path, tmp_path: Path) -> None:
    words = [str(own_model), "--precision", "fp16", "--compute-capability", "8.9", "-o", str(tmp_path / "out")]
    assert pscr(["export", "engine", *words]) == 0
    (path,) = (tmp_path / "out").glob("*.engine")
    car = Engine.read(path).sidecar
    digest = hashlib.sha256((own_model / "model.onnx").read_bytes()).hexdigest()
    assert (car.precision, car.onnx_sha256) == ("fp16", digest)
    assert car.graph_sha256 != digest
    card = gpus.Gpu(0, "Card", "8.9", 1)
    assert Engine.read(path).obstacle(digest, {"tensorrt_rtx": car.library_version}, card) == ""


@without_gpu
def test_which_images_calibrated_and_which_judged_is_said_and_kept(
    own_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--precision", "int8", "--compute-capability", "8.9", "--calibrate", str(ROOT / "examples" / "images")]
    assert main([str(own_model), *words, "--tolerance", "0.05"]) == 0
    (path,) = files(own_model)
    car = Engine.read(path).sidecar
    parity = car.parity
    assert car.static == [], "in int8 tensorrt_rtx would write large constants for them"
    assert parity["drawn"] == "calibrated on 3 and judged on 5 of 8 images, drawn over all of them (seed 0)"
    assert parity["drawn"] in capsys.readouterr().out
    assert (parity["tolerance_share"], parity["tolerance"]) == (0.05, 0.25)


@without_gpu
def test_the_bank_can_be_inside(own_model: Path) -> None:
    assert main([str(own_model), "--bake-bank", "--compute-capability", "8.9"]) == 0
    (path,) = files(own_model)
    assert path.name.endswith("-fp32-bank.engine")
    assert set(Engine.read(path).sidecar.profile) == {"patches"}


@without_gpu
def test_a_timing_cache_is_written_and_read_again(own_model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "timing"
    for _ in range(2):
        assert main([str(own_model), "--compute-capability", "8.9", "--timing-cache", str(cache)]) == 0
        assert cache.stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--compute-capability", "9.0"], 3, "it builds for"),
        (["--compute-capability", "hopper"], 2, "expected numbers such as 8.9"),
        (["--precision", "int8"], 2, "--calibrate IMAGES"),
    ],
)
def test_a_build_that_fails_is_one_line_and_leaves_no_file(
    own_model: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
) -> None:
    assert main([str(own_model), "--library", "tensorrt_rtx", *words]) == code
    errors = capsys.readouterr().err
    assert says in errors
    assert errors.count("\n") == 1
    assert not (own_model / "engines").exists()


def test_a_builder_that_gives_up_leaves_no_file(
    own_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorRT for RTX has no fp32 matrix products for compute capability 7.5: a real failure of a real builder."""
    assert main([str(own_model), "--library", "tensorrt_rtx", "--compute-capability", "7.5"]) == 3
    errors = capsys.readouterr().err
    assert "could not build the engine" in errors
    assert "SM75" in errors
    assert not (own_model / "engines").exists()


def test_a_batch_that_is_no_batch_is_refused(own_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("8", "8,4,16", "0,1,2", "1,2,x"):
        with pytest.raises(SystemExit):
            main([str(own_model), "--batch", text])
        assert "expected MIN,OPT,MAX" in capsys.readouterr().err


def refused(asked: str | None, there: gpus.Gpus) -> PscrError:
    with pytest.raises(PscrError) as caught:
        to_trt.choose_library(asked, there)
    assert caught.value.status is Status.DEVICE_UNAVAILABLE
    return caught.value


def test_tensorrt_without_a_gpu_says_that_rtx_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_trt.importlib.util, "find_spec", lambda name: object())
    message = refused("tensorrt", gpus.Gpus(problem="no NVIDIA driver here")).message
    assert "no NVIDIA driver here" in message
    assert "--library tensorrt_rtx" in message
    assert to_trt.choose_library(None, gpus.Gpus(problem="none")) == "tensorrt_rtx"
    assert to_trt.choose_library(None, gpus.Gpus((gpus.Gpu(0, "Card", "9.0", 1),))) == "tensorrt"


def test_a_library_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_trt.importlib.util, "find_spec", lambda name: None)
    assert "pscr[trt]" in refused("tensorrt", gpus.Gpus()).message
    assert "pscr[rtx-build]" in refused("tensorrt_rtx", gpus.Gpus()).message
    assert "pscr[rtx-build]" in refused(None, gpus.Gpus()).message


def test_a_gpu_that_is_not_there_is_refused() -> None:
    two = gpus.Gpus((gpus.Gpu(0, "Card", "9.0", 1), gpus.Gpu(1, "Other", "8.9", 1)))
    found = to_trt.choose_gpu(1, two)
    assert found is not None
    assert found.name == "Other"
    assert to_trt.choose_gpu(0, gpus.Gpus(problem="no driver")) is None
    for index, there, says in ((2, two, "the driver lists 2, from 0"), (1, gpus.Gpus(problem="none"), "none")):
        with pytest.raises(PscrError, match=says) as caught:
            to_trt.choose_gpu(index, there)
        assert caught.value.status is Status.DEVICE_UNAVAILABLE


class Machine:
    """Stands in for two GPUs: whose context is current when what is called."""

    found = gpus.Gpus((gpus.Gpu(0, "Card", "9.0", 1), gpus.Gpu(1, "Other", "8.9", 1)))

    def __init__(self) -> None:
        self.inside: list[int] = []
        self.calls: list[tuple[str, list[int]]] = []

    def device(self, index: int) -> Any:
        @contextmanager
        def current() -> Iterator[None]:
            self.inside.append(index)
            yield
            self.inside.pop()

        return SimpleNamespace(index=index, current=current)

    def called(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any) -> Any:
            self.calls.append((name, [*self.inside]))
            return work(*words)

        return call


def test_build_and_inspection_stand_in_the_context_of_the_gpu_that_is_meant(
    own_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CUDA_VISIBLE_DEVICES would come too late: the driver is up by then."""
    machine = Machine()
    monkeypatch.setattr(to_trt.gpus, "find", lambda: machine.found)
    monkeypatch.setattr(to_trt, "Device", machine.device)
    for name, work in (("build", trt_builder.build), ("inspected", lambda built, library: built)):
        monkeypatch.setattr(trt_builder, name, machine.called(name, work))
    words = [str(own_model), "--library", "tensorrt_rtx", "--device", "1", "--bake-bank"]
    assert main(words) == 0
    assert machine.calls == [("build", [1]), ("inspected", [1])]
    (path,) = files(own_model)
    assert Engine.read(path).sidecar.compute_capabilities == ["8.9"], "of GPU 1"
    assert "not run here: it takes no bank" in capsys.readouterr().out


def test_rtx_builds_for_a_gpu_that_cannot_be_opened_and_says_why_it_was_not_run(
    own_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(index: int) -> Any:
        raise PscrError(Status.DEVICE_UNAVAILABLE, "pycuda.driver cannot be imported")

    monkeypatch.setattr(to_trt.gpus, "find", lambda: gpus.Gpus((gpus.Gpu(0, "Card", "8.9", 1),)))
    monkeypatch.setattr(to_trt, "Device", missing)
    assert main([str(own_model), "--library", "tensorrt_rtx"]) == 0
    assert "not run here: pycuda.driver cannot be imported" in capsys.readouterr().out
    assert len(files(own_model)) == 1


def test_the_gpu_of_the_machine_is_built_for_unless_others_are_named() -> None:
    card = gpus.Gpu(0, "Card", "9.0", 1)
    assert to_trt.choose_target([], card) == ("9.0",)
    assert to_trt.choose_target(["8.9"], card) == ["8.9"]
    assert to_trt.choose_target([], None) == trt_builder.PORTABLE


class Config:
    """Stands in for a builder's configuration, which says nothing of what it was told."""

    num_compute_capabilities = 0

    def __init__(self) -> None:
        self.told: dict[int, str] = {}

    def set_compute_capability(self, capability: Any, index: int) -> None:
        self.told[index] = capability.name


@pytest.mark.parametrize(
    ("capabilities", "here", "told"),
    [
        (["8.6", "12.0"], "", {0: "SM86", 1: "SM120"}),
        (["8.9"], "8.9", {0: "SM89"}),
        (["9.0"], "9.0", {0: "CURRENT"}),  # on such a GPU: not listed, and the library's to refuse
    ],
)
def test_rtx_is_always_told_what_it_builds_for(capabilities: list[str], here: str, told: dict[int, str]) -> None:
    """Told nothing it builds for what it takes to be portable, also where there is a GPU."""
    config = Config()
    trt_builder._target(pytest.importorskip("tensorrt_rtx"), config, "tensorrt_rtx", capabilities, here)
    assert (config.num_compute_capabilities, config.told) == (len(told), told)


def test_tensorrt_builds_for_the_gpu_of_the_machine_alone() -> None:
    config = Config()
    trt_builder._target(None, config, "tensorrt", ["9.0"], "9.0")
    assert not config.told
    with pytest.raises(PscrError, match="is for --library tensorrt_rtx"):
        trt_builder._target(None, config, "tensorrt", ["8.9"], "9.0")


def test_the_extra_that_builds_needs_neither_torch_nor_a_compiler() -> None:
    """PyCUDA has no wheels; what runs engines has its own extra."""
    lines = re.findall(r'^([a-z-]+) = (\[".*"\])$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    declared = {extra: json.loads(needed) for extra, needed in lines}
    named = {re.split(r"[<>=]", one)[0] for one in declared["rtx-build"]}
    assert named == {"tensorrt-rtx-cu13", "onnx", "onnxruntime", "scipy"}
    versions = {one for extra in ("rtx", "export") for one in declared[extra]}
    assert set(declared["rtx-build"]) <= versions, "one version of each, whichever extra names it"


def test_it_needs_no_torch_and_runs_as_a_script_and_as_a_module(own_model: Path) -> None:
    wall = "import sys; sys.modules['torch'] = None; import pscr.export.to_trt as t; sys.exit(t.main(sys.argv[1:]))"
    for command in (["export/to_trt.py", "--help"], ["-m", "pscr.export.to_trt", "--help"], ["-c", wall, "--help"]):
        done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True)
        assert "--compute-capability" in done.stdout


@without_gpu
def test_pscr_engines_lists_them_with_why_they_do_not_run_here(
    own_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pscr(["engines", str(own_model)]) == 0
    assert "has no engines; build it again: pscr export engine" in capsys.readouterr().out
    assert main([str(own_model), "--compute-capability", "8.9"]) == 0
    capsys.readouterr()
    assert pscr(["engines", str(own_model)]) == 3
    listed = capsys.readouterr().out
    assert "any-sm89-tensorrt_rtx" in listed
    assert "found no NVIDIA GPU" in listed
    (path,) = files(own_model)
    path.write_bytes(b"cut short")
    assert pscr(["engines", str(own_model), "--json"]) == 3
    (entry,) = json.loads(capsys.readouterr().out)["engines"]
    assert not entry["usable"]
    assert entry["sidecar"]["precision"] == "fp32"
