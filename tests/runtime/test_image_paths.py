"""Paths: what is no file says so, and every message names the file on one line."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli_testing import Process, write_image
from image_makers import assert_refused, colours, encoded

from pscr.runtime import capi
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import load, read_file


@pytest.mark.parametrize("name", ["plain.png", "no-extension", "wrong.jpg", "naïve 図.png", "new\nline.png"])
def test_any_name_is_read_by_what_the_file_holds(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(encoded(colours(), "PNG"))
    np.testing.assert_array_equal(load(path), colours())
    np.testing.assert_array_equal(load(str(path)), colours())


def test_bytes_are_a_path_to_read_file_and_an_image_to_load(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(colours(), "PNG"))
    data = read_file(os.fsencode(path))
    np.testing.assert_array_equal(load(data), colours())


@pytest.mark.parametrize("name", ["missing.png", "file.txt/missing.png"])
def test_missing_file_is_file_not_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(PscrError) as caught:
        load(tmp_path / name)
    assert_refused(caught, Status.FILE_NOT_FOUND, str(tmp_path / name), "no such file")


def test_folder_is_an_invalid_argument(tmp_path: Path) -> None:
    with pytest.raises(PscrError) as caught:
        load(tmp_path)
    assert_refused(caught, Status.INVALID_ARGUMENT, str(tmp_path), "folder")


@pytest.mark.parametrize("name", ["", "nul\0byte.png"])
def test_what_cannot_be_a_file_is_an_invalid_argument(name: str) -> None:
    with pytest.raises(PscrError) as caught:
        load(name)
    assert_refused(caught, Status.INVALID_ARGUMENT)


def test_file_without_permission_gives_the_systems_reason(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(encoded(colours(), "PNG"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user reads every file")
    with pytest.raises(PscrError) as caught:
        load(path)
    assert_refused(caught, Status.DECODE_FAILED, "locked.png", "Permission denied")


def test_name_too_long_gives_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(PscrError) as caught:
        load(tmp_path / ("x" * 300))
    assert_refused(caught, Status.DECODE_FAILED, "File name too long")


@pytest.mark.parametrize("name", [b"line\nbreak.png", b"not-utf8-\xff.png"])
def test_odd_names_are_shown_on_one_printable_line(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(PscrError) as caught:
        read_file(os.fsencode(tmp_path) + b"/" + name)
    assert_refused(caught, Status.FILE_NOT_FOUND)
    assert str(caught.value).isprintable()


@pytest.fixture(params=["pipe", "device", "socket"])
def special(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What looks like a file and is none; nobody writes into the pipe, and the device has no end."""
    path = tmp_path / "image.png"
    if request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "pipe":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            with monkeypatch.context() as patch:
                patch.chdir(tmp_path)  # the name of a socket is short
                server.bind(path.name)
            yield path
        return
    yield path


def test_what_is_no_regular_file_is_refused_and_not_waited_for(special: Path) -> None:
    with pytest.raises(PscrError) as caught:
        load(special)
    assert_refused(caught, Status.DECODE_FAILED, str(special), "expected a regular file")


def test_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at it and its opening."""
    pipe = tmp_path / "image.png"
    os.mkfifo(pipe)
    regular = Path(__file__).stat()
    monkeypatch.setattr(Path, "stat", lambda self, **_: regular)
    with pytest.raises(PscrError) as caught:
        load(pipe)
    assert_refused(caught, Status.DECODE_FAILED, "a pipe; expected a regular file")


@pytest.mark.slow
def test_every_way_to_score_a_file_refuses_it(
    special: Path, tiny_model: Path, process: Process, tmp_path: Path
) -> None:
    good = write_image(tmp_path / "good.png")
    for words in (
        ["score", special, good],
        ["rank", special, good],
        ["map", special, "-o", tmp_path / "map.png"],
        ["report", special, good, "-o", tmp_path / "report.html"],
    ):
        done = process(*words, "--model", tiny_model, "--device", "cpu")
        assert done.returncode == 1, done.stderr
        assert b"Traceback" not in done.stderr
    handle, score = array.array("q", [0]), array.array("d", [0.0, 0.0])
    assert capi.pscr_open(str(tiny_model), "cpu", 1, handle) == Status.OK
    assert capi.pscr_score_file(handle[0], str(special), score) == Status.DECODE_FAILED
    assert "expected a regular file" in capi.pscr_last_error(handle[0])
    capi.pscr_close(handle[0])
