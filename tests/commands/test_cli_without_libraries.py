"""Where NumPy or OpenCV cannot be imported the command line says so, and `pscr doctor` what would help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_testing import command

import pscr

REASON = "libGL.so.1: cannot open shared object file"
FAULTS = {"cv2": f"raise ImportError({REASON!r})", "numpy": f"raise ImportError({REASON!r})"}


def run(words: list[bytes], folder: Path, module: str, source: str) -> subprocess.CompletedProcess[str]:
    """Run a program that finds a module of this source before the real one."""
    (folder / f"{module}.py").write_text(source)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": path}
    )


@pytest.mark.parametrize("module", FAULTS)
def test_version_and_help_work(tmp_path: Path, module: str) -> None:
    version = run(command("--version"), tmp_path, module, FAULTS[module])
    assert (version.returncode, version.stdout, version.stderr) == (0, f"pscr {pscr.__version__}\n", "")
    shown = run(command("--help"), tmp_path, module, FAULTS[module])
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("usage: pscr")
    assert f"{module} cannot be imported ({REASON}" in shown.stdout


@pytest.mark.parametrize("module", FAULTS)
def test_doctor_names_the_library_the_reason_and_what_would_help(tmp_path: Path, module: str) -> None:
    done = run(command("doctor"), tmp_path, module, FAULTS[module])
    assert (done.returncode, done.stderr) == (3, "")
    (line,) = (line for line in done.stdout.splitlines() if line.split()[:1] == [module])
    assert line.split()[1] == "no"
    assert REASON in line
    assert "pip install" in line
    assert "images cannot be scored here" in done.stdout


@pytest.mark.parametrize("module", FAULTS)
def test_doctor_as_json_has_the_keys_that_it_always_has(tmp_path: Path, module: str) -> None:
    done = run(command("--debug", "doctor", "--json"), tmp_path, module, FAULTS[module])
    report = json.loads(done.stdout)
    assert done.returncode == 3
    assert (report["usable"], report["devices"]) == (False, [])
    found = {one["name"]: one for one in report["libraries"]}
    assert not found[module]["usable"]
    assert REASON in found[module]["detail"]


@pytest.mark.parametrize("words", [["score", "a.png"], ["score", "--help"], ["train"], []])
@pytest.mark.parametrize("module", FAULTS)
def test_every_other_verb_is_one_line_and_exit_code_3(tmp_path: Path, module: str, words: list[str]) -> None:
    done = run(command(*words), tmp_path, module, FAULTS[module])
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"pscr: error: {module} cannot be imported ({REASON}")
    assert "pscr doctor" in line


def test_an_empty_package_in_the_place_of_opencv_is_told_as_well(tmp_path: Path) -> None:
    done = run(command("score", "a.png"), tmp_path, "cv2", "")
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "cv2 is there in part only, without imdecode" in line


def test_the_console_script_says_the_same(tmp_path: Path) -> None:
    script = tmp_path / "pscr"
    script.write_text("import sys\nfrom pscr.commands.main import main\nsys.exit(main())\n")
    done = run([os.fsencode(sys.executable), bytes(script), b"score", b"a.png"], tmp_path, "cv2", FAULTS["cv2"])
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", FAULTS)
def test_in_a_program_the_import_fails_as_an_import_does(tmp_path: Path, module: str) -> None:
    program = f"""
try:
    import pscr
except ImportError as problem:
    assert {REASON!r} in str(problem), problem
else:
    raise SystemExit("imported")
"""
    words = [os.fsencode(sys.executable), b"-c", program.encode()]
    done = run(words, tmp_path, module, FAULTS[module])
    assert done.returncode == 0, done.stderr
