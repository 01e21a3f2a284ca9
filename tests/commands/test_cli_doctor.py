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
from pscr.runtime import gpus

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
