"""`pscr doctor`: what can be used here, tried for real, and what would help where it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy
import onnxruntime
import pytest
from cli_testing import Cli

import pscr
from pscr.installation import rivals
from pscr.runtime import golden, gpus

pytestmark = pytest.mark.slow


def test_doctor_tries_the_cpu_and_exits_0_where_it_works(cli: Cli, tiny_model: Path) -> None:
    done = cli("doctor", "--model", tiny_model)
    assert done.code == 0
    assert done.err == ""
    assert "images can be scored here on: cpu" in done.out
    assert "one 512x512 image scored in" in done.out


def test_doctor_exits_3_where_nothing_can_be_scored_and_says_why(cli: Cli, tmp_path: Path) -> None:
    done = cli("doctor", "--model", tmp_path)
    assert done.code == 3
    assert "images cannot be scored here" in done.out
    assert "MODEL_INVALID" in done.out


def test_doctor_names_versions_that_are_really_loaded(cli: Cli, tiny_model: Path) -> None:
    report = json.loads(cli("doctor", "--json", "--model", tiny_model).out)
    found = {library["name"]: library for library in report["libraries"]}
    assert f"numpy {numpy.__version__}" in found["numpy"]["version"]
    assert onnxruntime.__version__ in found["onnxruntime"]["version"]
    assert cv2.__version__ in found["cv2"]["version"]
    assert report["system"]["pscr"].startswith(pscr.__version__)
    assert sys.executable in report["system"]["python"]


def test_doctor_as_json_tells_for_every_library_and_device_whether_it_works(cli: Cli, tiny_model: Path) -> None:
    done = cli("doctor", "--json", "--model", tiny_model)
    report = json.loads(done.out)
    names = {finding["name"] for finding in report["libraries"] + report["devices"]}
    assert done.code == 0
    assert report["usable"] is True
    assert {"numpy", "cv2", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "openvino", "PIL", "torch"} <= names
    assert {"cpu", "cuda", "tensorrt", "openvino"} <= names
    for finding in report["libraries"] + report["devices"]:
        assert isinstance(finding["usable"], bool)
        assert finding["detail"], f"{finding['name']} comes without a word of why or what would help"


def test_doctor_does_not_believe_a_list_of_providers(cli: Cli, tiny_model: Path) -> None:
    report = json.loads(cli("doctor", "--json", "--model", tiny_model).out)
    cuda = next(finding for finding in report["devices"] if finding["name"] == "cuda")
    there = gpus.find()
    if there.found:
        assert cuda["usable"] == ("CUDAExecutionProvider" in cuda["version"])
    else:
        assert not cuda["usable"]
        assert "NVIDIA driver" in cuda["detail"]
        assert report["system"]["gpu"] == there.problem


def test_doctor_times_each_device_and_compares_its_scores_with_those_of_the_cpu(cli: Cli, tiny_model: Path) -> None:
    pytest.importorskip("openvino")
    report = json.loads(cli("doctor", "--json", "--model", tiny_model).out)
    devices = {one["name"]: one for one in report["devices"]}
    assert "openvino-bf16" in devices
    usable = {name: one for name, one in devices.items() if one["usable"]}
    assert {"cpu", "openvino"} <= set(usable)
    assert min(usable, key=lambda name: usable[name]["milliseconds"]) == report["fastest"]
    assert devices["cpu"]["difference"] is None
    with pscr.open(tiny_model, "cpu") as cpu, pscr.open(tiny_model, "openvino") as other:
        images = golden.golden_images().values()
        pairs = [[one.score(image, pixel_format="rgb").score for one in (cpu, other)] for image in images]
    assert devices["openvino"]["difference"] == pytest.approx(max(abs(a - b) for a, b in pairs), abs=1e-4)
    assert f"{devices['openvino']['difference']:.1e}" in devices["openvino"]["detail"]
    for one in devices.values():
        assert (one["milliseconds"] is not None) == one["usable"]


def test_doctor_says_what_auto_takes(cli: Cli, tiny_model: Path) -> None:
    done = cli("doctor", "--model", tiny_model)
    with pscr.open(tiny_model) as scorer:
        assert f"--device auto takes: {scorer.info['device']}" in done.out.splitlines()


def test_with_openvino_alone_images_can_be_scored_and_auto_says_why(
    cli: Cli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    done = cli("doctor", "--model", tiny_model)
    assert done.code == 0
    assert "--device auto takes: openvino" in done.out.splitlines()
    assert "  and not cpu: onnxruntime cannot be imported" in done.out
    report = json.loads(cli("doctor", "--json", "--model", tiny_model).out)
    assert (report["auto"], report["usable"]) == ("openvino", True)
    assert report["passed_over"][0].startswith("cpu: onnxruntime cannot be imported")
    shown = cli("info", tiny_model)
    assert shown.code == 0
    (line,) = (line for line in shown.out.splitlines() if line.startswith("and not cpu"))
    assert "onnxruntime cannot be imported" in line


@pytest.mark.parametrize(
    ("packages", "alone"),
    [
        (("opencv-python", "opencv-contrib-python"), "opencv-python-headless"),
        (("opencv-contrib-python-headless", "opencv-python"), "opencv-python-headless"),
        (("onnxruntime-gpu", "onnxruntime-openvino"), "onnxruntime"),
        (("onnxruntime-directml", "onnxruntime-openvino"), "onnxruntime"),
    ],
)
def test_packages_that_overwrite_each_other_are_told(
    packages: tuple[str, str], alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in packages:
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    told = [finding for finding in rivals() if set(packages) <= set(finding.name.split(" + "))]
    assert len(told) == 1
    assert not told[0].usable
    assert f"then install {alone}" in told[0].detail


def test_doctor_imports_neither_torch_nor_tensorrt(tiny_model: Path) -> None:
    code = (
        f"import sys; from pscr.commands.main import main; main(['doctor', '--model', {str(tiny_model)!r}]); "
        "sys.exit(any(m in sys.modules for m in ('torch', 'tensorrt', 'tensorrt_rtx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120).returncode == 0


@pytest.mark.gpu
@pytest.mark.skipif(not gpus.find().found, reason="no NVIDIA GPU here")
def test_doctor_names_the_gpu_with_its_compute_capability(cli: Cli, tiny_model: Path) -> None:
    assert "compute capability" in cli("doctor", "--model", tiny_model).out
