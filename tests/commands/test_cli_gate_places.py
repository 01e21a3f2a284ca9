"""`pscr score --move-to` onto other, full and read-only file systems, and into folders that hold something: no loss."""

from __future__ import annotations

import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import Cli, command

SIDE = 100  # of noise, which no format packs: some 30,000 bytes a file
ROOM = 1 << 16  # bytes of the file system that is too small for more than two of them

Contents = dict[str, bytes]


@pytest.fixture
def contents(images: Path) -> Contents:
    """Six images of noise, by name."""
    rng = np.random.default_rng(0)
    found = {}
    for number in range(6):
        encoded = cv2.imencode(".png", rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8))[1].tobytes()
        found[f"{number}.png"] = encoded
        (images / f"{number}.png").write_bytes(encoded)
    return found


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory, with options; skips where this user may not."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        try:
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("no file system may be mounted here")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder of another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def held_in(folder: Path) -> Contents:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_another_file_system_gets_whole_files_and_none_is_left_behind(
    cli: Cli, tiny_model: Path, images: Path, contents: Contents, elsewhere: Path
) -> None:
    done = cli("score", images, "--model", tiny_model, "--min-score", 1000, "--move-to", elsewhere / "low", "-q")
    assert done.code == 0, done.err
    assert held_in(elsewhere / "low") == contents
    assert held_in(images) == {}


def test_a_full_file_system_takes_what_has_room_and_each_other_image_is_named_and_stays(
    cli: Cli, tiny_model: Path, images: Path, contents: Contents, mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    aside, output = mounted(f"size={ROOM}"), tmp_path / "scores.csv"
    done = cli("score", images, "--model", tiny_model, "--min-score", 1000, "--move-to", aside, "-q", "-o", output)
    moved, left = held_in(aside), held_in(images)
    assert done.code == 1
    assert moved
    assert left
    assert moved | left == contents
    assert not moved.keys() & left.keys()
    assert sorted(done.err.splitlines()) == sorted(
        f"pscr: {images / name} stays where it is: No space left on device" for name in left
    )
    assert len(output.read_text().splitlines()) == 1 + len(contents)


def test_a_copy_that_is_cut_off_leaves_no_part_of_a_file(
    tiny_model: Path, images: Path, contents: Contents, elsewhere: Path
) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    words = command("score", images, "--model", tiny_model, "--min-score", 1000, "--move-to", elsewhere, "-q")
    done = subprocess.run(words, capture_output=True, preexec_fn=limited, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count(b"stays where it is: File too large") == len(contents)
    assert held_in(elsewhere) == {}
    assert held_in(images) == contents


def test_a_read_only_folder_is_refused_before_anything_is_scored(
    cli: Cli, tiny_model: Path, images: Path, contents: Contents, mounted: Callable[[str], Path], tmp_path: Path
) -> None:
    aside, output = mounted("ro"), tmp_path / "scores.csv"
    done = cli("score", images, "--model", tiny_model, "--min-score", 1000, "--move-to", aside, "-o", output)
    assert done.code == 2
    assert f"--move-to {aside} cannot be written to" in done.error
    assert not output.exists() or not output.read_bytes()
    assert held_in(images) == contents


def test_a_file_in_place_of_the_folder_is_refused_and_stays(
    cli: Cli, tiny_model: Path, images: Path, contents: Contents, tmp_path: Path
) -> None:
    taken = tmp_path / "low"
    taken.write_text("mine")
    done = cli("score", images, "--model", tiny_model, "--min-score", 1000, "--move-to", taken)
    assert done.code == 2
    assert "File exists" in done.error
    assert taken.read_text() == "mine"
    assert held_in(images) == contents


@pytest.mark.parametrize("place", ["the same", "another"])
def test_whatever_has_the_name_already_stays_as_it_is(
    cli: Cli, tiny_model: Path, images: Path, contents: Contents, place: str, request: pytest.FixtureRequest
) -> None:
    parent: Path = request.getfixturevalue("elsewhere" if place == "another" else "tmp_path")
    aside = parent / "low"
    (aside / "0.png").mkdir(parents=True)
    (aside / "1.png").symlink_to("nowhere")
    (aside / "2.png").write_text("mine")
    done = cli("score", images, "--model", tiny_model, "--min-score", 1000, "--move-to", aside, "-q")
    assert done.code == 0, done.err
    assert list((aside / "0.png").iterdir()) == []
    assert (aside / "1.png").readlink() == Path("nowhere")
    assert (aside / "2.png").read_text() == "mine"
    for name in ("0-2.png", "1-2.png", "2-2.png", "3.png", "4.png", "5.png"):
        assert (aside / name).read_bytes() == contents[name.replace("-2", "")]
    assert held_in(images) == {}
