"""Inference libraries keep quiet, and one that cannot be had is DEVICE_UNAVAILABLE with what would help."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from image_makers import assert_refused, colours, encoded

import pscr
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.libraries import LIBRARIES, load

pytestmark = pytest.mark.slow

MODULES = {"cpu": "onnxruntime", "openvino": "openvino"}
# onnxruntime reports from two seconds after it has loaded
SCORES = """
import sys, time
import numpy, pscr
for device in sys.argv[2:]:
    with pscr.open(sys.argv[1], device=device, threads=1) as scorer:
        assert scorer.score(numpy.zeros((64, 64), numpy.uint8)).ok
time.sleep(3)
"""
HOMELESS = """
import pwd
def unknown(number):
    raise KeyError(number)
pwd.getpwuid = unknown
"""


def run(program: str, *words: str, before: tuple[str, ...] = (), **changed: str | None) -> str:
    """Run a program in a process of its own with a changed environment; what it wrote, which must be no error."""
    environment = {key: value for key, value in {**os.environ, **changed}.items() if value is not None}
    command = [*before, sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def works(*command: str) -> bool:
    """Whether a tool is there and may do what it does."""
    return (
        shutil.which(command[0]) is not None and not subprocess.run([*command, "true"], capture_output=True).returncode
    )


@pytest.mark.parametrize("device", MODULES)
def test_nothing_is_sent_and_the_home_folder_stays_empty(tiny_model: Path, tmp_path: Path, device: str) -> None:
    pytest.importorskip(MODULES[device])
    home, log = tmp_path / "home", tmp_path / "calls"
    home.mkdir()
    watch = ("strace", "-f", "-qq", "-e", "trace=%network", "-o", str(log)) if works("strace", "-f") else ()
    said = run(SCORES, str(tiny_model), device, before=watch, HOME=str(home), ORT_DISABLE_TELEMETRY=None)
    assert said == ""
    assert not list(home.rglob("*"))
    assert not watch or log.read_text() == ""


@pytest.mark.parametrize(
    "words",
    [
        ["score", "{image}", "--format", "csv"],
        ["rank", "{image}", "{image}"],
        ["report", "{image}", "-o", "{folder}/report.html"],
        ["doctor"],
        ["info", "agiqa3k-lite0"],
    ],
    ids=lambda words: words[0],
)
def test_no_verb_opens_a_socket_or_leaves_anything_but_measurements_in_a_fresh_home(
    tiny_model: Path, tmp_path: Path, words: list[str]
) -> None:
    if words[0] == "report":
        pytest.importorskip("jinja2")
        pytest.importorskip("matplotlib")
    home, log, image = tmp_path / "home", tmp_path / "calls", tmp_path / "image.png"
    home.mkdir()
    image.write_bytes(encoded(colours(), "PNG"))
    watch = ("strace", "-f", "-qq", "-e", "trace=%network", "-o", str(log)) if works("strace", "-f") else ()
    given = [word.format(image=image, folder=tmp_path) for word in words]
    given += [] if words[0] == "info" else ["--model", str(tiny_model)]
    unset = dict.fromkeys(("PSCR_CACHE", "ORT_DISABLE_TELEMETRY", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"))
    program = "import sys; from pscr.commands.main import main; sys.exit(main(sys.argv[1:]))"
    run(program, *given, before=watch, **{**unset, "HOME": str(home)})
    left = [path.relative_to(home) for path in home.rglob("*") if path.is_file()]
    assert left in ([], [Path(".cache/pscr/devices.json")])  # which device is the fastest, where two are installed
    assert not watch or [line for line in log.read_text().splitlines() if "AF_INET" in line] == []


def test_what_the_user_has_set_stays() -> None:
    found = "import pscr.runtime.libraries, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert run(found, ORT_DISABLE_TELEMETRY="0").strip() == "0"
    assert run(found, ORT_DISABLE_TELEMETRY=None).strip() == "1"


def test_the_package_through_which_openvino_reports_can_be_imported_afterwards(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("openvino_telemetry")
    told = "from pscr.runtime.libraries import load; load('openvino'); import openvino_telemetry; print('there')"
    assert run(told, HOME=str(tmp_path)).strip() == "there"


@pytest.mark.parametrize("device", MODULES)
def test_a_machine_without_home_folders_scores(tiny_model: Path, device: str) -> None:
    pytest.importorskip(MODULES[device])
    run(HOMELESS + SCORES.replace("time.sleep(3)", ""), str(tiny_model), device, HOME=None)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_of_which_pip_has_left_an_empty_folder_is_unavailable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with pytest.raises(PscrError) as caught:
        load(name)
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, name, LIBRARIES[name].needed, "pip uninstall", "pip install")


@pytest.mark.parametrize(
    "error", ["RuntimeError", "OSError", "ImportError", "AttributeError", "SystemError", "KeyError"]
)
@pytest.mark.parametrize(("device", "name"), MODULES.items())
def test_a_library_whose_import_fails_is_unavailable_whatever_it_raises(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, name: str, error: str
) -> None:
    (tmp_path / f"{name}.py").write_text(f"raise {error}('torn\\nin two')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(PscrError) as caught:
        pscr.open(tiny_model, device=device, threads=1)
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, f"{name} cannot be imported", "torn", "pip install")


def test_ctrl_c_during_an_import_is_no_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pybind11 makes an ImportError of whatever comes while a module starts."""
    lines = "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt as error:\n    raise ImportError from error\n"
    (tmp_path / "openvino.py").write_text(lines)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    with pytest.raises(KeyboardInterrupt):
        load("openvino")
