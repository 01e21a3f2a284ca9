"""What the wheel contains, and that it works where nothing but the runtime's libraries is installed."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import pscr
from pscr.runtime.models import packaged

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOUSES = {"app": "pscr", "runtime": "pscr/runtime", "export": "pscr/export", "training": "pscr/training"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The project's wheel, built from a copy of the files git tracks or would track."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    source = folder / "source"
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pscr"}
    sources = {name for name in names if name.endswith(".py")}
    for house, package in HOUSES.items():
        for file in (ROOT / house).rglob("*.py"):
            assert f"{package}/{file.relative_to(ROOT / house).as_posix()}" in sources
    assert not [name for name in names if "test" in Path(name).name or "benchmark" in name]
    assert "pscr/py.typed" in names
    assert {"pscr/report/page.html", "pscr/report/page.css", "pscr/report/page.js"} <= set(names)
    assert {f"pscr/serve/static/{file.name}" for file in (ROOT / "app/serve/static").iterdir()} <= set(names)


@pytest.mark.parametrize("name", packaged())
def test_the_wheel_carries_the_packaged_models_whole(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        folder = f"pscr/runtime/models/{name}/"
        manifest = json.loads(archive.read(folder + "manifest.json"))
        assert f"{folder}README.md" in archive.namelist(), "its model card"
        assert sum(archive.getinfo(folder + part).file_size for part in ("model.onnx", "bank.npz")) < 25e6
        for name, entry in manifest["files"].items():
            assert hashlib.sha256(archive.read(folder + name)).hexdigest() == entry["sha256"]


def test_the_wheel_scores_from_its_own_folder(wheel, tmp_path):
    """Unpacked beside nothing of the source tree, with -I so that no other copy of pscr can be found first."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import numpy, pscr\n"
        f"assert pscr.__file__.startswith({str(tmp_path)!r}), pscr.__file__\n"
        "with pscr.open(device='cpu') as scorer:\n"
        "    pixels = numpy.arange(300 * 300 * 3).reshape(300, 300, 3) % 251\n"
        "    print(scorer.score(pixels.astype(numpy.uint8), pixel_format='rgb').score)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pixels = (np.arange(300 * 300 * 3).reshape(300, 300, 3) % 251).astype(np.uint8)
    with pscr.open(device="cpu") as scorer:
        expected = scorer.score(pixels, pixel_format="rgb").score
    assert 0 <= float(done.stdout) <= 5
    assert float(done.stdout) == pytest.approx(expected, abs=1e-4)


def test_a_checkout_does_not_stand_in_the_wheels_way(wheel, tmp_path):
    """Python puts the working folder first on its path; none in a checkout may be called like the package."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": ""}
    program = "import pscr.runtime; print(pscr.__file__)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(str(tmp_path)), done.stdout + done.stderr


def test_the_wheels_console_script_is_the_command_line(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from importlib.metadata import distributions\n"
        f"(script,) = (one for found in distributions(path=[{str(tmp_path)!r}]) for one in found.entry_points)\n"
        "assert script.name == 'pscr'\n"
        "raise SystemExit(script.load()(['--version']))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"pscr {pscr.__version__}\n"), done.stderr
