"""Fixtures for the whole tree."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_model as tiny
from cli_testing import Cli, Outcome, Process, command, write_image

from pscr.commands.main import main

# No sandbox of its own, since CI runs as root; and nothing that asks the network.
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
CHROMIUM_FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

# Which device `auto` takes on a CPU follows from a measurement, where one can be kept: tests of other things shall not
# depend on it, nor wait for it.
os.environ["PSCR_CACHE"] = str(Path(os.devnull, "none"))

# A shell starts its background jobs with Ctrl-C ignored, and the programs that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real model folder; do not change it."""
    return tiny.write(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def own_model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model for a test that damages it."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by playwright.

    Of one module: while it is there the main thread has an event loop that runs, and asyncio.run() refuses to.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


# --- the command line, and images to give it --------------------------------------------------------------------------


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
