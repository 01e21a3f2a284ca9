"""Paths: what is no file says so, and every message names the file on one line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from image_makers import assert_refused, colours, encoded

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


@pytest.mark.parametrize("name", ["", "nul\0byte.png", "/dev/null"])
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


def test_named_pipe_is_read(tmp_path: Path) -> None:
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(encoded(colours(), "PNG"),))
    writer.start()
    np.testing.assert_array_equal(load(pipe), colours())
    writer.join()
