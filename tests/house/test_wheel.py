"""What the wheel contains, and that it works where nothing but the runtime's libraries is installed."""

import email
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import pscr
from pscr.runtime.models import packaged

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOUSES = {"app": "pscr", "runtime": "pscr/runtime", "export": "pscr/export", "training": "pscr/training"}


def tracked(*folders: str) -> list[str]:
    """The files that git tracks or would track, of the whole project or of some of its folders."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def built(source, folder, *words):
    """What `python -m build` makes of a source tree: the only file of the folder that its output goes to."""
    command = [sys.executable, "-m", "build", *words, "--no-isolation", "-o", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be ignored" not in done.stdout + done.stderr, "setuptools is not told of a folder"
    (made,) = folder.iterdir()
    return made


def contents(wheel):
    """The bytes of a wheel's files, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the files git tracks or would track."""
    copy = tmp_path_factory.mktemp("source")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    """The project's wheel."""
    return built(source, tmp_path_factory.mktemp("wheel"), "--wheel")


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    held = contents(wheel)
    information = {name for name in held if name.split("/")[0].endswith(".dist-info")}
    expected = {
        f"{package}/{Path(name).relative_to(house).as_posix()}": (ROOT / name).read_bytes()
        for house, package in HOUSES.items()
        for name in tracked(house)
    }
    assert {name: data for name, data in held.items() if name not in information} == expected
    assert not [name for name in held if "test" in Path(name).name or "benchmark" in name]
    for name in ("py.typed", "report/page.html", "runtime/backends/pixels.cu", "runtime/backends/pixels.ptx"):
        assert f"pscr/{name}" in held, "what the wheel cannot do without, whatever the tree has"


def test_the_wheel_says_what_it_is(wheel):
    held = contents(wheel)
    (information,) = {name.split("/")[0] for name in held if ".dist-info/" in name}
    metadata = held[f"{information}/METADATA"]
    said = email.message_from_bytes(metadata)
    assert (said["Name"], said["Version"]) == ("pscr", pscr.__version__)
    assert (said["License-Expression"], said["Requires-Python"]) == ("Apache-2.0", ">=3.10")
    assert held[f"{information}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert metadata.strip().endswith((ROOT / "README.md").read_bytes().strip())
    assert "Tag: py3-none-any" in held[f"{information}/WHEEL"].decode()


def test_the_source_archive_builds_the_same_wheel(source, wheel, tmp_path):
    archive = built(source, tmp_path / "archive", "--sdist")
    with tarfile.open(archive) as members:
        names = {name.partition("/")[2] for name in members.getnames()}
        members.extractall(tmp_path / "unpacked", filter="data")
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md"} <= names
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert contents(built(unpacked, tmp_path / "again", "--wheel")) == contents(wheel)


@pytest.mark.parametrize("name", packaged())
def test_the_wheel_carries_the_packaged_models_whole(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        folder = f"pscr/runtime/models/{name}/"
        manifest = json.loads(archive.read(folder + "manifest.json"))
        for beside in ("README.md", "diagnosis.npz"):
            assert folder + beside in archive.namelist(), "its model card, and what judges its images' looks"
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
