"""The three formats, where they go, and what happens when the reader or the writer leaves early."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cli_testing import Cli, Process, command, write_image

from pscr.tables.results_file import ResultsFile

COLUMNS = ["path", "score", "spread", "width", "height", "status", "message", "low", "high"]


def test_csv_columns_are_exactly_these(cli: Cli, tiny_model: Path, image: Path) -> None:
    done = cli("score", image, "--model", tiny_model, "--format", "csv")
    assert done.out.splitlines()[0] == ",".join(COLUMNS)


def test_jsonl_keys_are_exactly_these(cli: Cli, tiny_model: Path, image: Path) -> None:
    done = cli("score", image, "--model", tiny_model, "--format", "jsonl")
    assert [list(json.loads(line)) for line in done.out.splitlines()] == [COLUMNS]


def test_failed_row_has_empty_numbers_in_csv_and_null_in_jsonl(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"
    as_csv = cli("score", missing, "--model", tiny_model, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(as_csv.out))
    assert [row[key] for key in COLUMNS[:6]] == [str(missing), "", "", "", "", "FILE_NOT_FOUND"]
    as_json = json.loads(cli("score", missing, "--model", tiny_model, "--format", "jsonl").out)
    assert [as_json[key] for key in COLUMNS[:6]] == [str(missing), None, None, None, None, "FILE_NOT_FOUND"]
    assert row["message"] == as_json["message"] != ""


def test_table_says_what_scores_and_how_to_read_it(cli: Cli, tiny_model: Path, images: Path) -> None:
    done = cli("score", images, "--model", tiny_model, "--device", "cpu")
    title, _, header, *table, _, footer = done.out.splitlines()
    assert "higher is better" in title
    assert "onnxruntime" in title
    assert "cpu" in title.lower()
    assert header.split() == ["score", "spread", "size", "status", "path"]
    assert len(table) == 4
    assert footer.startswith("4 scored, 0 failed, ")
    assert footer.endswith(" images/s")
    assert done.err == ""


def test_table_columns_stand_under_each_other_however_long_the_paths(
    cli: Cli, tiny_model: Path, images: Path, truncated: Path
) -> None:
    write_image(images / f"{'very ' * 30}long 画像.png")
    lines = cli("score", images, truncated, "--model", tiny_model, "--quiet").out.splitlines()
    assert len(lines) == 7
    assert {line.index(str(images.parent)) for line in lines[1:]} == {lines[0].index("path")}
    assert lines[-1].count(str(truncated)) == 1


def test_quiet_leaves_rows_only(cli: Cli, tiny_model: Path, image: Path) -> None:
    table = cli("score", image, "--model", tiny_model, "--quiet")
    assert len(table.out.splitlines()) == 2
    assert cli("score", image, "--model", tiny_model, "--format", "csv", "--quiet").err == ""


def test_summary_of_csv_and_jsonl_goes_to_stderr(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    done = cli("score", image, "--model", tiny_model, "-o", out)
    assert done.out == ""
    assert done.error.startswith("pscr: 1 scored, 0 failed, ")
    assert done.error.endswith(f" to {out}")


@pytest.mark.parametrize(
    ("ending", "start"), [(".csv", "path,"), (".jsonl", "{"), (".ndjson", "{"), (".txt", "model ")]
)
def test_ending_of_the_output_file_picks_the_format(
    cli: Cli, tiny_model: Path, image: Path, tmp_path: Path, ending: str, start: str
) -> None:
    out = tmp_path / f"scores{ending}"
    assert cli("score", image, "--model", tiny_model, "-o", out).code == 0
    assert out.read_text().startswith(start)


def test_format_option_wins_over_the_ending(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.dat"
    assert cli("score", image, "--model", tiny_model, "-o", out, "--format", "jsonl").code == 0
    assert json.loads(out.read_text())["status"] == "OK"


def test_output_file_is_left_alone_where_nothing_can_be_scored(cli: Cli, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    out.write_text("earlier results")
    assert cli("score", image, "--model", tmp_path / "no-model", "-o", out, "--overwrite").code == 3
    assert out.read_text() == "earlier results"


def test_results_are_not_written_over_an_image(cli: Cli, tiny_model: Path, image: Path) -> None:
    before = image.read_bytes()
    done = cli("score", image, "--model", tiny_model, "--format", "csv", "-o", image)
    assert done.code == 2
    assert "over an image" in done.error
    assert image.read_bytes() == before


@pytest.mark.parametrize("form", ["csv", "jsonl", "table"])
def test_path_of_any_bytes_survives(process: Process, tiny_model: Path, tmp_path: Path, form: str) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9 \xff.png"
    Path(os.fsdecode(path)).write_bytes(write_image(tmp_path / "plain.png").read_bytes())
    done = process("score", path, "--model", tiny_model, "--format", form)
    assert done.returncode == 0
    assert done.stderr.startswith(b"" if form == "table" else b"pscr: 1 scored")
    if form == "jsonl":
        assert os.fsencode(json.loads(done.stdout)["path"]) == path
    else:
        assert path in done.stdout


def test_path_cannot_steer_the_terminal(process: Process, tiny_model: Path, tmp_path: Path) -> None:
    path = write_image(tmp_path / "red\x1b[31m\nline.png")
    done = process("score", path, "--model", tiny_model, "--quiet")
    assert b"\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 2


def test_broken_pipe_ends_quietly(tiny_model: Path, images: Path) -> None:
    words = command("score", *[images] * 50, "--model", tiny_model, "--format", "csv", "--batch", 1)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline() == b"path,score,spread,width,height,status,message,low,high\n"
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait(120) == 141


def test_ctrl_c_keeps_what_is_written_and_says_how_much(tiny_model: Path, image: Path, tmp_path: Path) -> None:
    """The list stays open, so the run waits for more paths when the signal comes."""
    out = tmp_path / "scores.csv"
    words = command("score", "-", "--model", tiny_model, "-o", out, "--batch", 1)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stderr is not None
        run.stdin.write((os.fsencode(image) + b"\n") * 40)
        run.stdin.flush()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (out.exists() and out.read_bytes().count(b"\n") > 10):
            time.sleep(0.02)
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
        lines = run.stderr.read().decode().splitlines()
    written = len(out.read_text().splitlines()) - 1
    again = "the same command with --resume goes on"
    assert lines == [f"pscr: interrupted: {written} results written to {out}; {again}"]
    assert written >= 10


def on_terminal(*words: object, output: int | None = None) -> tuple[int, str]:
    """Run with stderr, and stdout unless `output` is a file, on a terminal; returns the exit code and what it shows."""
    control, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    out = terminal if output is None else output
    with subprocess.Popen(command(*words), stdin=terminal, stdout=out, stderr=terminal, env=environment) as run:
        os.close(terminal)
        shown = b""
        while select.select([control], [], [], 60)[0]:
            try:
                chunk = os.read(control, 65536)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
        code = run.wait(60)
    os.close(control)
    return code, shown.decode()


def test_progress_shows_on_a_terminal_and_is_cleared(tiny_model: Path, images: Path, tmp_path: Path) -> None:
    with (tmp_path / "out.csv").open("wb") as out:
        code, shown = on_terminal("score", images, "--model", tiny_model, "--format", "csv", output=out.fileno())
    assert code == 0
    assert "4/4" in shown
    assert "images/s" in shown
    assert shown.removesuffix("\r\n").rpartition("\r")[2].startswith("pscr: 4 scored, 0 failed")
    assert "\x1b" not in shown, "not every terminal on Windows takes orders"
    assert "\x1b" not in (tmp_path / "out.csv").read_text()


def test_progress_and_rows_share_a_terminal(tiny_model: Path, images: Path) -> None:
    code, shown = on_terminal("score", images, "--model", tiny_model)
    assert code == 0
    for line in shown.split("\r\n"):
        visible = ""
        for drawn in line.split("\r"):  # each from the line's start, over what stands there
            visible = drawn + visible[len(drawn) :]
        assert not ("images/s" in visible and "OK" in visible), "a row stands on the progress line"


def test_quiet_shows_no_progress_on_a_terminal(tiny_model: Path, images: Path) -> None:
    _, shown = on_terminal("score", images, "--model", tiny_model, "--quiet")
    assert "images/s" not in shown


def test_no_progress_without_a_terminal(process: Process, tiny_model: Path, images: Path) -> None:
    done = process("score", images, "--model", tiny_model, "--format", "csv")
    assert len(done.stderr.splitlines()) == 1
    assert b"\r" not in done.stderr


def test_pipe_closed_before_the_first_line_ends_quietly() -> None:
    with subprocess.Popen(command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait(60) in (0, 141)


@pytest.mark.parametrize("verb", ["score", "map", "report", "bank"])
def test_output_to_a_device_leaves_the_device(cli: Cli, tiny_model: Path, images: Path, verb: str) -> None:
    image = images / "img1.png"
    labels = images / "labels.csv"
    labels.write_text("path,score\n" + "".join(f"img{n}.png,{-n}\n" for n in (1, 2, 10)))
    words = {
        "score": ("score", images),
        "map": ("map", image, "--format", "csv"),
        "report": ("report", images, "--no-maps"),
        "bank": ("bank", "build", labels),
    }[verb]
    assert cli(*words, "-o", "/dev/null", "--model", tiny_model, "-q").code == 0
    assert Path("/dev/null").is_char_device()


def test_a_results_file_that_holds_something_is_begun_anew_only_when_asked(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    words = ("score", images, "--model", tiny_model, "-o", out)
    assert cli(*words).code == 0
    whole = out.read_bytes()
    done = cli("score", images / "img1.png", "--model", tiny_model, "-o", out)
    assert done.code == 2
    for part in ("--resume", "--overwrite", f"holds {len(whole)} bytes"):
        assert part in done.error
    assert out.read_bytes() == whole
    assert cli("score", images / "img1.png", "--model", tiny_model, "-o", out, "--overwrite").code == 0
    assert len(out.read_text().splitlines()) == 2
    assert cli(*words, "--overwrite", "--resume").code == 2


def test_two_runs_do_not_write_to_one_file(cli: Cli, tiny_model: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    with ResultsFile(out) as first:
        first.write(b"half")
        for more in ("--overwrite", "--resume"):
            done = cli("score", images, "--model", tiny_model, "-o", out, more)
            assert done.code == 2
            assert "another run is writing there" in done.error
    assert out.read_bytes() == b"half"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_images_that_failed_are_tried_again_when_asked(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path, form: str
) -> None:
    out, image = tmp_path / f"scores.{form}", images / "img2.png"
    good = image.read_bytes()
    image.write_bytes(b"not yet")
    words = ("score", images, "--model", tiny_model, "-o", out)
    assert cli(*words).code == 1
    before = out.read_bytes()
    image.write_bytes(good)
    assert cli(*words, "--resume").code == 1
    assert out.read_bytes() == before
    done = cli(*words, "--resume", "--retry-failed")
    assert done.code == 0
    assert "4 scored, 0 failed" in done.error
    rows = out.read_text().splitlines()[form == "csv" :]
    assert len(rows) == 4
    assert "img2.png" in rows[-1]
    assert cli(*words, "--retry-failed").code == 2


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), ("<&-", 0), (">&- 2>&- <&-", 0)])
def test_closed_streams_that_are_not_needed_are_not_missed(
    tiny_model: Path, images: Path, tmp_path: Path, closed: str, code: int
) -> None:
    out = tmp_path / "scores.csv"
    line = shlex.join(map(os.fsdecode, command("score", images, "--model", tiny_model, "-o", out)))
    assert subprocess.run(["sh", "-c", f"{line} {closed}"], capture_output=True).returncode == code
    assert len(out.read_text().splitlines()) == 5


@pytest.mark.parametrize(("words", "closed"), [(["{}"], ">&-"), (["-"], "<&-")])
def test_closed_streams_that_are_needed_are_a_wrong_call(
    tiny_model: Path, images: Path, words: list[str], closed: str
) -> None:
    given = [word.format(images) for word in words]
    line = shlex.join(map(os.fsdecode, command("score", *given, "--model", tiny_model)))
    done = subprocess.run(["sh", "-c", f"{line} {closed}"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("pscr: error: ")
    assert "standard" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_a_folder_holds_besides_is_counted_in_the_summary(cli: Cli, tiny_model: Path, images: Path) -> None:
    (images / "photo.svg").touch()
    done = cli("score", images, "--model", tiny_model)
    assert "2 left out (1 .svg, 1 .txt)" in done.out or "2 left out (1 .txt, 1 .svg)" in done.out
