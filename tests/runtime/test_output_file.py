"""Output goes where it was meant to go: whole, through links, and never in the place of what is no regular file."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from image_makers import assert_refused

from pscr.runtime import output_file
from pscr.runtime.errors import PscrError, Status


def test_a_file_is_replaced_whole_with_its_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("old")
    file.chmod(0o640)
    before = file.stat().st_ino
    output_file.check(file)
    assert file.read_text() == "old"
    output_file.write(file, b"new")
    assert file.read_bytes() == b"new"
    assert file.stat().st_ino != before
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_has_the_modes_that_the_user_wants(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        output_file.write(tmp_path / "out", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_a_link_goes_on_pointing_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to(Path("folder", "target"))
    for data in (b"first", b"second"):
        output_file.check(link)
        output_file.write(link, data)
        assert link.is_symlink()
        assert target.read_bytes() == data
    assert [one.name for one in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_is_written_to_and_stays_one(device: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(device)
    before = os.stat(device)  # noqa: PTH116
    for name in (device, link):
        output_file.check(name)
        if device == "/dev/full":
            with pytest.raises(OSError, match="No space left") as caught:
                output_file.write(name, b"data")
            assert caught.value.filename == os.fspath(name)
        else:
            output_file.write(name, b"data")
    assert os.path.samestat(before, os.stat(device))  # noqa: PTH116
    assert stat.S_ISCHR(before.st_mode)


def test_a_fifo_is_written_to_by_whoever_reads_and_checking_does_not_wait(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    output_file.check(fifo)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()))
    reader.start()
    output_file.write(fifo, b"data")
    reader.join()
    assert found == [b"data"]
    assert fifo.is_fifo()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_name_of_standard_output_writes_there(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    output_file.check(name)
    output_file.write(name, b"data\n")
    assert capfd.readouterr().out == "data\n"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("", ["is a folder"]),
        ("no/out", ["there is no folder", "make it first"]),
        ("file/out", ["there is no folder"]),
        ("circle", ["cannot be written", "Too many levels"]),
        ("nul\0byte", ["cannot be written"]),
        ("x" * 300, ["cannot be written", "too long"]),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path, name: str, parts: list[str]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(PscrError) as caught:
        output_file.check(f"{tmp_path}/{name}", "--csv")
    assert_refused(caught, Status.INVALID_ARGUMENT, "--csv", *parts)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["circle", "file"]


def test_names_that_a_program_might_write_to_first_are_not_touched(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    for name in ("out.tmp", ".out", ".out.tmp", "out~"):
        (tmp_path / name).symlink_to(target)
    output_file.write(tmp_path / "out", b"new")
    assert target.read_text() == "precious"


def test_a_file_that_becomes_something_else_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "out"
    file.touch()
    fsync = os.fsync

    def swap(descriptor: int) -> None:
        fsync(descriptor)
        file.unlink()
        os.mkfifo(file)

    monkeypatch.setattr(os, "fsync", swap)
    with pytest.raises(OSError, match="taken its place"):
        output_file.write(file, b"new")
    assert file.is_fifo()
    assert list(tmp_path.iterdir()) == [file]
