"""`pscr map`: one image in, a picture or numbers out."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_testing import Cli, Process

import pscr
from pscr.commands.main import main


def test_a_picture_and_a_line_of_what_it_shows(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    done = cli("map", image, "-o", tmp_path / "map.png", "--model", tiny_model)
    assert (done.code, done.out) == (0, "")
    assert "25 windows of 32 pixels, 16 apart: mean " in done.err
    assert done.err.endswith(f"wrote {tmp_path / 'map.png'}\n")
    picture = cv2.imread(str(tmp_path / "map.png"))
    assert picture is not None
    assert picture.shape[1] > 2 * 256, "the image and the map side by side"
    quiet = cli("map", image, "-o", tmp_path / "again.png", "--model", tiny_model, "-q")
    assert quiet.err == ""
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "map.png").read_bytes()


def test_numbers_are_those_of_the_library(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    words = ("--model", tiny_model, "--window", 24, "--stride", 20, "-q")
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        found = pscr.quality_map(scorer, image, window=24, stride=20)
    assert cli("map", image, "-o", tmp_path / "map.npy", *words).code == 0
    assert np.load(tmp_path / "map.npy", allow_pickle=False) == pytest.approx(found.dense(), abs=1e-5)
    assert cli("map", image, "-o", tmp_path / "map.csv", *words).code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "map.csv").read_text())))
    assert list(rows[0]) == ["top", "left", "height", "width", "score"]
    assert [float(row["score"]) for row in rows] == pytest.approx(found.values.ravel().tolist(), abs=1e-5)
    places = [(int(row["top"]), int(row["left"])) for row in rows]
    assert places == [(y, x) for y in found.corners_y for x in found.corners_x]


def test_standard_output_takes_what_format_names(process: Process, tiny_model: Path, image: Path) -> None:
    done = process("map", image, "-o", "-", "--format", "png", "--model", tiny_model)
    assert done.returncode == 0, done.stderr
    assert cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_COLOR) is not None
    assert b"wrote" not in done.stderr


def test_1_where_the_image_cannot_be_read(cli: Cli, tiny_model: Path, truncated: Path, tmp_path: Path) -> None:
    for path, says in ((truncated, "cut short"), (tmp_path / "none.png", "no such file")):
        done = cli("map", path, "-o", tmp_path / "map.png", "--model", tiny_model)
        assert done.code == 1
        assert says in done.error
        assert not (tmp_path / "map.png").exists()
    large = cli("map", truncated, "-o", tmp_path / "map.png", "--model", tiny_model, "--max-pixels", 100)
    assert (large.code, "expected at most 100" in large.error) == (1, True)


def test_2_for_what_cannot_be_meant(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    before = image.read_bytes()
    (tmp_path / "folder").mkdir()
    for words, says in (
        ((image,), "-o/--output"),
        ((image, "-o", image), "is the image itself"),
        ((image, "-o", tmp_path / "map.tif"), "expected one ending in .png, .npy, .csv, or --format"),
        ((image, "-o", "-"), "standard output: no format"),
        ((image, "-o", tmp_path / "none" / "map.png"), "there is no folder"),
        ((image, "-o", tmp_path / "map.png", "--window", 40), "window is 40; expected"),
        ((image, "-o", tmp_path / "map.png", "--stride", 33), "stride is 33; expected"),
        ((tmp_path / "folder", "-o", tmp_path / "map.png"), "a folder; expected an image file"),
    ):
        done = cli("map", *words, "--model", tiny_model)
        assert done.code == 2, done.err
        assert says in done.error
    assert image.read_bytes() == before
    assert not (tmp_path / "map.png").exists()


def test_3_where_the_model_cannot_be_used(cli: Cli, image: Path, tmp_path: Path) -> None:
    done = cli("map", image, "-o", tmp_path / "map.png", "--model", tmp_path / "no-model")
    assert done.code == 3
    assert not (tmp_path / "map.png").exists()


@pytest.mark.slow
def test_the_default_model_maps_an_example(tmp_path: Path) -> None:
    """The real model: its windows are 192 pixels, and a half that is damaged has the lowest one."""
    rng = np.random.default_rng(0)
    image = cv2.imread(str(Path(__file__).parents[2] / "examples" / "images" / "chelsea.jpg"))[:300, :400].copy()
    image[:, 200:] = np.clip(image[:, 200:] + rng.normal(0, 60, image[:, 200:].shape), 0, 255).astype(np.uint8)
    file = tmp_path / "half.png"
    cv2.imwrite(str(file), image)
    assert main(["map", str(file), "-o", str(tmp_path / "map.csv"), "--threads", "1", "--device", "cpu", "-q"]) == 0
    rows = list(csv.DictReader((tmp_path / "map.csv").open()))
    assert {(row["height"], row["width"]) for row in rows} == {("192", "192")}
    assert len(rows) == 12
    lowest = min(rows, key=lambda row: float(row["score"]))
    assert int(lowest["left"]) + 192 / 2 > 200, "more than half of it is in the damaged half"


def test_help_names_the_formats(cli: Cli) -> None:
    text = cli("map", "--help").out
    assert all(word in text for word in ("png", "npy", "csv", "--window", "--stride"))
