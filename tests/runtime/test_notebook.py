"""What a notebook shows and takes: results as tables, columns of pandas and datasets, images that Pillow has opened."""

from __future__ import annotations

import dataclasses
import io
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import datasets
import numpy as np
import pandas
import pyarrow
import pytest
from image_makers import assert_refused, colours, encoded
from PIL import Image

import pscr
from pscr.runtime.calibration import Calibration
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest

CALIBRATION = Calibration((0.5, 0.9), (0.5, 2.0), (0.5, 0.9), 0.4, 0.1, 100, "made up")


@pytest.fixture
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    """The tiny model, open on the CPU."""
    with pscr.open(tiny_model, device="cpu", threads=1) as opened:
        yield opened


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Four images."""
    made = []
    for seed in range(4):
        coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
        made.append(tmp_path / f"{seed}.png")
        cv2.imwrite(str(made[-1]), cv2.resize(coarse, (80, 64)))
    return made


def cells(result: pscr.Result) -> dict[str, str]:
    """The rows of the table that Jupyter shows; it is well-formed."""
    table = ElementTree.fromstring(result._repr_html_())
    return {row[0].text or "": row[1].text or "" for row in table.iter("tr")}


# --- results ------------------------------------------------------------------------------------------------------


def test_a_result_shows_its_score_and_the_interval_of_a_calibrated_model(own_model: Path, files: list[Path]) -> None:
    manifest = dataclasses.replace(Manifest.read(own_model), calibration=CALIBRATION.to_dict())
    manifest.write(own_model, ["model.onnx", "bank.npz"])
    with pscr.open(own_model, device="cpu", threads=1) as scorer:
        result = scorer.score(files[0])
        assert (
            result.interval
            == scorer.interval(result)
            == (
                result.score - 2 * result.spread,
                result.score + 2 * result.spread,
            )
        )
        assert next(iter(scorer.score_many(files))).interval == pytest.approx(result.interval, abs=1e-5)
        assert pscr.rank(scorer, files[:1])[0].result.interval == result.interval
    shown = cells(result)
    assert shown["image"] == str(files[0])
    assert shown["score"] == f"{result.score:.3f}"
    assert shown["spread of the votes"] == f"{result.spread:.3f}"
    assert shown["90 % of opinion scores"] == "{:.3f} to {:.3f}".format(*result.interval)
    assert shown["size"] == "80 × 64"
    assert shown["status"] == "OK"


def test_without_a_calibration_no_interval_is_shown(scorer: pscr.Scorer, files: list[Path]) -> None:
    result = scorer.score(files[0])
    assert result.interval is None
    assert "90 % of opinion scores" not in cells(result)


def test_a_failed_result_shows_why_and_no_number(scorer: pscr.Scorer) -> None:
    (result,) = scorer.score_many(["none.png"])
    shown = cells(result)
    assert shown == {"image": "none.png", "status": "FILE_NOT_FOUND", "message": result.message}


@pytest.mark.parametrize("name", ["<script>alert(1)</script>.png", 'a"b&c.png', "caf\udce9.png", "日本.png"])
def test_no_name_becomes_markup_or_breaks_the_notebook_file(name: str) -> None:
    result = pscr.Result(math.nan, math.nan, 0, 0, Status.DECODE_FAILED, f"{name}: <b>bad</b>", name)
    shown = cells(result)
    plain = name.encode("utf-8", "backslashreplace").decode()
    assert shown["image"] == plain
    assert shown["message"] == f"{plain}: <b>bad</b>"
    assert "<script>" not in result._repr_html_()


# --- columns ------------------------------------------------------------------------------------------------------


def test_scores_of_a_pandas_column_go_back_beside_it(scorer: pscr.Scorer, files: list[Path]) -> None:
    frame = pandas.DataFrame({"path": [str(file) for file in files] + [None, math.nan, "none.png"]})
    frame.index = frame.index * 10 + 3
    results = list(scorer.score_many(frame["path"]))
    frame["score"] = [result.score for result in results]
    assert frame["score"].tolist()[:4] == pytest.approx([scorer.score(file).score for file in files], abs=1e-5)
    assert frame["score"].isna().tolist() == [False] * 4 + [True] * 3
    assert [result.status for result in results[4:]] == [Status.INVALID_ARGUMENT] * 2 + [Status.FILE_NOT_FOUND]
    objects = pandas.Series([Image.open(files[0]), files[1].read_bytes(), files[2]])
    assert [result.score for result in scorer.score_many(objects)] == pytest.approx(
        frame["score"].tolist()[:3], abs=1e-5
    )


@pytest.mark.parametrize("library", [pandas.DataFrame, datasets.Dataset.from_dict, pyarrow.table])
def test_a_whole_table_is_refused_before_its_column_names_are_taken_for_files(
    scorer: pscr.Scorer, library: Callable[[dict[str, list[str]]], Any]
) -> None:
    table = library({"path": ["a.png"]})
    name = type(table).__name__
    for call in (pscr.Scorer.score_many, pscr.rank):
        with pytest.raises(PscrError) as caught:
            call(scorer, table)
        assert_refused(caught, Status.INVALID_ARGUMENT, f"sources is a table ({name}); expected one column of it")


@pytest.mark.parametrize("decode", [True, False])
def test_scores_of_a_datasets_column_go_back_beside_it(scorer: pscr.Scorer, files: list[Path], decode: bool) -> None:
    names = [str(file) for file in files]
    table = datasets.Dataset.from_dict({"image": names, "prompt": list("abcd")})
    table = table.cast_column("image", datasets.Image(decode=decode))
    table = table.add_column("score", [result.score for result in scorer.score_many(table["image"])])
    assert table["score"][:] == pytest.approx([scorer.score(name).score for name in names], abs=1e-5)


def test_values_of_a_pyarrow_column_are_what_they_hold(scorer: pscr.Scorer, files: list[Path]) -> None:
    """Paths, files' bytes, and both together as datasets stores them; a missing one is that row's."""
    expected = [scorer.score(file).score for file in files]
    names, data = [str(file) for file in files], [file.read_bytes() for file in files]
    both = [{"bytes": one, "path": None} for one in data]
    for values in (names, data, both):
        column = pyarrow.table({"image": [*values, None]})["image"]
        *results, missing = scorer.score_many(column)
        assert [result.score for result in results] == pytest.approx(expected, abs=1e-5)
        assert missing.status is Status.INVALID_ARGUMENT
        assert scorer.score(column[0]) == results[0]
        if values is names:
            assert [result.path for result in results] == names


def test_an_image_of_datasets_that_is_not_decoded_is_its_bytes_or_its_file(
    scorer: pscr.Scorer, files: list[Path]
) -> None:
    expected = [scorer.score(file).score for file in files]
    stored = [{"bytes": file.read_bytes(), "path": None} for file in files]
    both = [{"bytes": file.read_bytes(), "path": "not-here.png"} for file in files]
    for column in (stored, both):
        assert [result.score for result in scorer.score_many(column)] == pytest.approx(expected, abs=1e-5)
    odd: dict[str, Any]
    for odd in ({}, {"bytes": None, "path": None}, {"image": 1}):
        (result,) = scorer.score_many([odd])
        assert result.status is Status.INVALID_ARGUMENT


# --- Pillow -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_pillow_image_is_read_as_its_file_is(file_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(colours(), file_format, exif=exif)
    image = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(load(image), load(data))
    assert load(image).shape == ((48, 64, 3) if orientation == 1 else (64, 48, 3))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_every_mode_of_a_pillow_image_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(colours())
    if mode == "I;16":
        image = Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21)
        assert np.abs(load(image) - np.asarray(image)[..., None] / 257).max() < 1
        return
    converted = image.convert(mode)
    np.testing.assert_array_equal(load(converted), np.asarray(converted.convert("RGB")))


def test_a_pillow_image_that_cannot_be_used_is_refused(files: list[Path]) -> None:
    data = encoded(colours(256, 256), "PNG")
    closed = Image.open(files[0])
    closed.close()
    for image, status, words in (
        (Image.open(io.BytesIO(data[: len(data) // 2])), Status.DECODE_FAILED, "Pillow says"),
        (closed, Status.DECODE_FAILED, "Pillow says"),
        (Image.new("F", (8, 8)), Status.DECODE_FAILED, "32-bit samples"),
    ):
        with pytest.raises(PscrError) as caught:
            load(image)
        assert_refused(caught, status, words)
    with pytest.raises(PscrError) as caught:
        load(Image.new("RGB", (100, 100)), max_pixels=9999)
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "100x100")
