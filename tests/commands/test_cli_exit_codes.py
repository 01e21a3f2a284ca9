"""The exit codes, and the one line that comes with each: what was found, what was expected, what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_testing import Cli, Outcome, Process, command


def assert_one_line(done: Outcome, code: int, *parts: str) -> None:
    assert done.code == code, done
    assert done.error.startswith("pscr: error: ")
    for part in parts:
        assert part in done.error


def flipped(model: Path, folder: Path, name: str) -> Path:
    """A copy of a model with one bit of one file flipped."""
    copy = folder / "flipped"
    shutil.copytree(model, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    return copy


def test_0_where_every_image_is_scored(cli: Cli, tiny_model: Path, images: Path) -> None:
    assert cli("score", images, "--model", tiny_model).code == 0


def test_1_where_a_path_does_not_exist(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    done = cli("score", tmp_path / "none.png", "--model", tiny_model, "--format", "jsonl", "-q")
    row = json.loads(done.out)
    assert done.code == 1
    assert done.err == ""
    assert row["status"] == "FILE_NOT_FOUND"
    assert "none.png" in row["message"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.jpg", b"this is no image\n"), ("empty.png", b""), ("zeros.png", bytes(64)), ("cut.png", b"\x89PNG\r\n")],
    ids=["text", "empty", "zeros", "signature only"],
)
def test_1_where_a_file_is_no_image(
    cli: Cli, tiny_model: Path, image: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    done = cli("score", tmp_path / name, image, "--model", tiny_model, "--format", "jsonl", "-q")
    bad, good = map(json.loads, done.out.splitlines())
    assert done.code == 1
    assert bad["status"] in ("DECODE_FAILED", "INVALID_ARGUMENT")
    assert bad["message"]
    assert "\n" not in bad["message"]
    assert good["status"] == "OK"


def test_1_where_a_jpeg_is_truncated(cli: Cli, tiny_model: Path, truncated: Path) -> None:
    done = cli("score", truncated, "--model", tiny_model, "--format", "jsonl", "-q")
    assert done.code == 1
    assert json.loads(done.out)["status"] == "DECODE_FAILED"


def test_2_where_a_folder_has_no_images(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    done = cli("score", tmp_path, "--model", tiny_model)
    assert_one_line(done, 2, str(tmp_path), "no images in this folder", "expected files ending in", ".jpg")


def test_2_where_a_pattern_matches_nothing(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    done = cli("score", tmp_path / "*.png", "--model", tiny_model)
    assert_one_line(done, 2, "no file matches this pattern", "check the folder")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--modle", "x", "a.png"], ["unknown option --modle", "did you mean --model?"]),
        (["a.png", "--format", "xml"], ["'xml'", "table", "csv", "jsonl"]),
        (["a.png", "--batch", "0"], ["--batch", "found '0'", "expected a whole number from 1"]),
        (["a.png", "--threads", "two"], ["--threads", "found 'two'"]),
        (["a.png", "--max-pixels", "-5"], ["--max-pixels"]),
        (["a.png", "--null"], ["--null", "expected '-'"]),
        (["-", "-"], ["'-' is given twice"]),
        (["a.png", "-o", "/no/such/folder/scores.csv"], ["there is no folder /no/such/folder"]),
        (["a.png", "-o", "/"], ["is a folder", "expected the name of a file"]),
        (["a.png", "-o", "scores.xlsx"], ["'.xlsx'", "expected .csv, .jsonl", "--format"]),
        ([], ["PATH"]),
    ],
)
def test_2_where_score_is_called_wrong(cli: Cli, words: list[str], parts: list[str]) -> None:
    assert_one_line(cli("score", *words), 2, *parts)


@pytest.mark.parametrize("words", [["scroe", "a.png"], ["models", "extra"], ["info"], ["--nonsense"]])
def test_2_where_the_command_line_is_wrong(cli: Cli, words: list[str]) -> None:
    assert_one_line(cli(*words), 2, "--help")


def test_2_where_a_list_on_standard_input_is_empty(process: Process, tiny_model: Path) -> None:
    done = process("score", "-", "--model", tiny_model, stdin=b"\n\n")
    assert done.returncode == 2
    assert done.stderr.startswith(b"pscr: error: no paths on standard input; expected one a line")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("verb", ["score", "info", "verify"])
def test_3_where_the_model_is_not_known(cli: Cli, image: Path, verb: str) -> None:
    words = ["score", image, "--model", "no-such-model"] if verb == "score" else [verb, "no-such-model"]
    assert_one_line(cli(*words), 3, "no-such-model")


def test_3_where_a_model_file_has_one_bit_flipped(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    copy = flipped(tiny_model, tmp_path, "model.onnx")
    assert_one_line(cli("score", image, "--model", copy), 3, "model.onnx", "sha256")


def test_3_where_the_manifest_is_missing(cli: Cli, image: Path, tmp_path: Path) -> None:
    assert_one_line(cli("score", image, "--model", tmp_path), 3, "manifest.json")


def test_2_where_the_device_is_no_device(cli: Cli, tiny_model: Path, image: Path) -> None:
    assert_one_line(cli("score", image, "--model", tiny_model, "--device", "toaster"), 2, "toaster", "cpu")


def test_3_where_the_device_is_not_here(cli: Cli, tiny_model: Path, image: Path) -> None:
    done = cli("score", image, "--model", tiny_model, "--device", "cuda:99")
    assert_one_line(done, 3, "CUDAExecutionProvider")


def test_fault_of_the_program_is_one_line_and_says_how_to_get_the_traceback(
    tiny_model: Path, image: Path, tmp_path: Path
) -> None:
    """A full disk is a real one: every write to /dev/full fails."""
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("no /dev/full here")
    words = command("score", image, "--model", tiny_model, "-q", "--format", "csv")
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, timeout=120)
        traced = subprocess.run([*words, b"--debug"], stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == traced.returncode == 3
    assert done.stderr.startswith(b"pscr: error: ")
    assert b"No space left" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert b"Traceback" in traced.stderr


def test_missing_library_of_a_training_verb_names_it_and_the_extra(tmp_path: Path) -> None:
    """A module that shadows torch as a missing one does: its import fails."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    (tmp_path / "labels.csv").write_text("path,score\n")
    work = {"train": ["--data", "csv:labels.csv", "-o", "run"], "export": ["onnx", "run", "-o", "model"]}
    for verb, more in work.items():
        words = [sys.executable, "-m", "pscr", verb, *more]
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 3, done
        assert f"'pscr {verb}' needs the Python module torch" in done.stderr
        assert f"pip install 'pscr[{verb}]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1
