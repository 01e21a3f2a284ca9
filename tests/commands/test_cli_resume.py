"""An interrupted run goes on from its output: no gap, no duplicate, whole rows only; the end says what came out."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_testing import Cli, Process, command, write_image

from pscr.tables.fields import COLUMNS
from pscr.tables.formats import CsvRows
from pscr.tables.results_file import Earlier, ResultsFile

pytestmark = pytest.mark.slow

FORMATS = ["csv", "jsonl"]


def paths_in(out: Path) -> list[bytes]:
    """The path of every row, in order; fails where anything is not a whole row."""
    data = out.read_bytes()
    assert data.endswith(b"\n")
    if out.suffix == ".jsonl":
        return [os.fsencode(json.loads(line)["path"]) for line in data.splitlines()]
    with out.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
        header, *rows = csv.reader(stream)
    assert tuple(header) == COLUMNS
    assert all(len(row) == len(COLUMNS) for row in rows)
    return [os.fsencode(row[0]) for row in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images, some with names that need care, and one file that is none."""
    names = [*(f"{n}.png" for n in range(8)), 'a,"b".png', "line\nfeed.png", "carriage\rreturn.png", "größe 画像.png"]
    for seed, name in enumerate(names):
        write_image(tmp_path / "images" / name, seed)
    write_image(tmp_path / "plain.png").rename(tmp_path / "images" / os.fsdecode(b"caf\xe9 \xff.png"))
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    return tmp_path / "images"


@pytest.mark.parametrize("form", FORMATS)
def test_going_on_after_any_cut_gives_the_file_of_a_whole_run(
    cli: Cli, tiny_model: Path, folder: Path, tmp_path: Path, form: str
) -> None:
    whole, out = tmp_path / f"whole.{form}", tmp_path / f"cut.{form}"
    assert cli("score", folder, "--model", tiny_model, "-o", whole).code == 1
    data = whole.read_bytes()
    assert len(paths_in(whole)) == 14
    for cut in sorted({0, 1, len(data), *np.random.default_rng(0).integers(0, len(data), 12).tolist()}):
        out.write_bytes(data[:cut])
        assert cli("score", folder, "--model", tiny_model, "-o", out, "--resume").code == 1
        assert out.read_bytes() == data, cut


@pytest.mark.parametrize("form", FORMATS)
def test_a_missing_output_is_begun_and_a_finished_one_left_as_it_is(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path, form: str
) -> None:
    out = tmp_path / f"scores.{form}"
    first = cli("score", images, "--model", tiny_model, "-o", out, "--resume")
    data = out.read_bytes()
    second = cli("score", images, "--model", tiny_model, "-o", out, "--resume")
    assert (first.code, second.code) == (0, 0)
    assert out.read_bytes() == data
    assert "4 scored, 0 failed" in second.error
    assert "(4 of them before)" in second.error


def test_a_path_given_twice_gets_its_second_row(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    cli("score", image, "--model", tiny_model, "-o", out)
    cli("score", image, image, "--model", tiny_model, "-o", out, "--resume")
    assert paths_in(out) == [os.fsencode(image)] * 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["-o", "scores.txt"], "csv or jsonl"),
        ([], "-o FILE"),
        (["-o", "-", "--format", "csv"], "-o FILE"),
    ],
)
def test_resuming_needs_a_file_of_rows(cli: Cli, tiny_model: Path, image: Path, words: list[str], part: str) -> None:
    done = cli("score", image, "--model", tiny_model, "--resume", *words)
    assert done.code == 2
    assert part in done.error


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"x,y\n1,2\n"),
        ("a.csv", b"path,score,spread,width,height,status,message,low,high\na.png,1,1,1,1\n"),
        ("a.csv", b"path,score,spread,width,height,status,message,low,high\na.png,one,1,1,1,OK,\n"),
        ("a.csv", b"path,score,spread,width,height,status,message,low,high\na.png,1,1,1,1,GOOD,\n"),
        ("a.jsonl", b"[]\n"),
        ("a.jsonl", b'{"path": 1, "score": 1, "status": "OK"}\n'),
        ("a.jsonl", b"path,score,spread,width,height,status,message,low,high\n"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_alone(
    cli: Cli, tiny_model: Path, image: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    done = cli("score", image, "--model", tiny_model, "-o", tmp_path / name, "--resume")
    assert done.code == 2
    assert "is not what pscr score" in done.error
    assert (tmp_path / name).read_bytes() == content


def test_rows_of_another_model_are_not_added_to(cli: Cli, tiny_model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    cli("score", images, "--model", tiny_model, "-o", out)
    rows = out.read_text().splitlines()
    cells = rows[2].split(",")
    cells[1] = f"{float(cells[1]) + 1:.6f}"
    out.write_text("\n".join([*rows[:2], ",".join(cells)]) + "\n")
    done = cli("score", images, "--model", tiny_model, "-o", out, "--resume")
    assert done.code == 2
    assert "another model" in done.error
    assert len(out.read_text().splitlines()) == 3


# --- interruptions for real -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
@pytest.mark.parametrize("form", FORMATS)
def test_a_run_that_is_ended_holds_whole_rows_and_goes_on(
    tiny_model: Path, image: Path, tmp_path: Path, number: int, code: int, form: str, process: Process
) -> None:
    """The list stays open, so the run waits for more paths when the signal comes."""
    many = []
    for place in range(60):
        many.append(tmp_path / f"{place}.png")
        many[-1].write_bytes(image.read_bytes())
    listed = b"".join(os.fsencode(path) + b"\n" for path in many)
    out = tmp_path / f"scores.{form}"
    words = command("score", "-", "--model", tiny_model, "-o", out, "--batch", 1)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdin is not None
        run.stdin.write(listed[: len(listed) // 2])
        run.stdin.flush()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (out.exists() and out.read_bytes().count(b"\n") > 5):
            time.sleep(0.02)
        run.send_signal(number)
        assert run.wait(60) == code
    assert 5 <= len(paths_in(out)) < 60
    done = process("score", "-", "--model", tiny_model, "-o", out, "--resume", stdin=listed)
    assert done.returncode == 0, done.stderr
    assert paths_in(out) == [os.fsencode(path) for path in many]


def limited(size: int) -> Callable[[], None]:
    """To be run in a child: no file may grow beyond `size` bytes, as on a disk that is full."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_is_one_message_and_leaves_whole_rows(
    tiny_model: Path, images: Path, tmp_path: Path, form: str, process: Process
) -> None:
    out = tmp_path / f"scores.{form}"
    words = command("score", *[images] * 5, "--model", tiny_model, "-o", out)
    done = subprocess.run(words, capture_output=True, timeout=120, preexec_fn=limited(700))
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert os.fsencode(out) in done.stderr
    assert b"what was written before is kept" in done.stderr
    written = len(paths_in(out))
    assert 1 <= written < 20
    assert process("score", *[images] * 5, "--model", tiny_model, "-o", out, "--resume").returncode == 0
    assert len(paths_in(out)) == 20


def test_a_write_that_is_interrupted_half_way_is_taken_back(tmp_path: Path) -> None:
    """The limit lets a part of the row through."""
    path = tmp_path / "rows"
    with ResultsFile(path) as file:
        file.write(b"one\n")
        resource.setrlimit(resource.RLIMIT_FSIZE, (6, resource.RLIM_INFINITY))
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            with pytest.raises(OSError, match="too large") as caught:
                file.write(b"second\n")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            signal.signal(signal.SIGXFSZ, before)
        assert caught.value.filename == str(path)
        assert path.read_bytes() == b"one\n"
        file.write(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


# --- the end ----------------------------------------------------------------------------------------------------------


def test_the_summary_has_count_mean_and_quantiles_of_the_rows(
    cli: Cli, tiny_model: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.jsonl"
    done = cli("score", folder, "--model", tiny_model, "-o", out)
    scores = sorted(row["score"] for row in map(json.loads, out.read_text().splitlines()) if row["score"] is not None)
    assert "13 scored, 1 failed" in done.error
    assert f"mean {np.mean(scores):.3f}" in done.error
    assert f"5 % {scores[1]:.3f}, 25 % {scores[3]:.3f}, 50 % {scores[6]:.3f}, 75 % {scores[9]:.3f}" in done.error


def test_a_long_file_is_read_back_quickly_and_whole(tmp_path: Path) -> None:
    row = '"x""{},\n.png",1.5,0.5,64,64,OK,,1.0,2.0\n'
    out = tmp_path / "long.csv"
    out.write_text(",".join(COLUMNS) + "\n" + "".join(row.format(n) for n in range(20_000)) + '"half a row')
    earlier = Earlier.read(out, CsvRows())
    assert (earlier.tally.count, len(earlier.done)) == (20_000, 20_000)
    assert earlier.size == out.stat().st_size - len('"half a row')
    assert earlier.promised == (('x"19999,\n.png', 1.5),)
