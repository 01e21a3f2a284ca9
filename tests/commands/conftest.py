"""Real images, and the command line run in this process or in one of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cli_testing import Cli, Outcome, Process, command, write_image

from pscr.commands.main import main


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run `pscr` in this process; the words are its arguments."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def process() -> Process:
    """Run `python -m pscr` in a process of its own; arguments may be bytes."""

    def run(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command(*words), input=stdin, capture_output=True, timeout=120)

    return run


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with img1.png, img2.png, img10.png and below/deep.JPG, and things that are no images."""
    folder = tmp_path / "images"
    for seed, name in enumerate(("img10.png", "img2.png", "img1.png", "below/deep.JPG")):
        write_image(folder / name, seed)
    (folder / "notes.txt").write_text("not an image")
    write_image(folder / ".hidden.png")
    write_image(folder / ".cache" / "thumbnail.png")
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "one.png", 7)


@pytest.fixture
def truncated(tmp_path: Path) -> Path:
    """A JPEG file that ends in the middle of its pixels."""
    path = write_image(tmp_path / "truncated.jpg", 3, 256)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path
