"""Which images a report is about, what group and prompt they have, and which of them are the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pscr.console import UsageError
from pscr.report.data import Image, Named, by_folder, gather, identical, labelled, match
from pscr.report.labels import Labels
from pscr.report.pictures import digest, in_words, limits, look
from pscr.runtime.quality_map import QualityMap
from pscr.runtime.scorer import Result
from pscr.tables.inputs import Item


def put(path: Path, seed: int = 0) -> Path:
    """A small picture of noise in the format of the name's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """Two generators with two common names, one of them with another ending, and one name of its own each."""
    for seed, name in enumerate(
        ["a/cat.png", "a/sub/dog.png", "a/own.png", "b/cat.bmp", "b/sub/dog.png", "b/other.png"]
    ):
        put(tmp_path / name, seed)
    return [str(tmp_path / "a"), str(tmp_path / "b")]


def groups(named: list[Named]) -> list[str]:
    return [one.group for one in named]


def test_each_of_several_folders_is_a_group_and_one_folder_is_none(folders: list[str]) -> None:
    assert groups(gather(folders)) == ["a"] * 3 + ["b"] * 3
    assert groups(gather(folders[:1])) == [""] * 3
    assert groups(gather([f"{folder}/*.png" for folder in folders])) == ["a/*.png"] * 2 + ["b/*.png"]


def test_files_named_one_by_one_make_no_groups(folders: list[str]) -> None:
    assert groups(gather([f"{folders[0]}/cat.png", f"{folders[0]}/own.png"])) == ["", ""]
    assert groups(gather([folders[0], f"{folders[1]}/cat.bmp"])) == [""] * 4


def test_groups_of_the_same_last_name_are_told_apart(tmp_path: Path) -> None:
    for run in ("one", "two"):
        put(tmp_path / run / "images" / "x.png")
    assert groups(gather([str(tmp_path / run / "images") for run in ("one", "two")])) == ["one/images", "two/images"]


def test_by_folder_makes_a_group_of_each_folder_below(folders: list[str], tmp_path: Path) -> None:
    named = by_folder(gather([str(tmp_path)]))
    assert sorted(set(groups(named))) == ["a", "a/sub", "b", "b/sub"]
    assert [one.key for one in named if one.group == "a"] == ["cat", "own"]


def test_files_called_alike_in_different_folders_are_drawn_together(folders: list[str]) -> None:
    units, matching = match(gather(folders), by_name=True)
    assert (matching.by, matching.units, matching.without) == ("name", 2, 2)
    assert len(set(units)) == 4
    units, matching = match(gather(folders), by_name=False)
    assert matching.by == "nothing"
    assert len(set(units)) == 6


def test_prompts_count_before_names_and_an_image_without_one_stands_alone(folders: list[str], tmp_path: Path) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text("path,prompt\na/cat.png,a cat\nb/cat.bmp,a cat\nown.png,\na/sub/dog.png,a dog\n")
    named = labelled(gather(folders), None, Labels(table, "path", "prompt"))
    units, matching = match(named, by_name=True)
    assert (matching.by, matching.units, matching.without) == ("prompt", 2, 3)
    assert len(set(units)) == 5
    assert units[0] == units[3]


def test_a_bare_name_speaks_of_every_image_of_that_name_unless_a_path_says_otherwise(
    folders: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file,style\nown.png,x\ncat.png,y\nb/sub/dog.png,z\ndog.png,w\n")
    labels = Labels(table, "file", "style")
    assert [labels.of(one.item.path) for one in gather(folders)] == ["y", "x", "w", "", "", "z"]


def test_rows_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,group\nx.png,a\nx.png,b\n")
    with pytest.raises(UsageError, match=r"x\.png is 'a' in one row and 'b' in row 3"):
        Labels(table, "path", "group")


def test_a_table_without_the_column_or_without_rows_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,generator\nx.png,a\n")
    with pytest.raises(UsageError, match="has no column 'group'; it has path, generator"):
        Labels(table, "path", "group")
    table.write_text("path,group\nx.png,\n")
    with pytest.raises(UsageError, match="no row has both"):
        Labels(table, "path", "group")
    with pytest.raises(UsageError, match="no such label file"):
        Labels(tmp_path / "none.csv", "path", "group")


def test_the_same_pixels_in_other_files_are_identical_and_nothing_else_is(tmp_path: Path) -> None:
    names = ["one.png", "copy.bmp", "again.tiff"]
    paths = [*(put(tmp_path / name, 1) for name in names), put(tmp_path / "other.png", 2)]
    images = [
        Image(Result(1.0, 0.1, 32, 24, path=str(path)), "", "", str(path), look(str(path), 0, 10**6)[0])
        for path in paths
    ]
    (alike,) = identical(images)
    assert [Path(str(image.result.path)).name for image in alike] == names
    assert identical([Image(Result(1.0, 0.1, 1, 1, path="gone"), "", "", "x")] * 2) == []
    flat = np.zeros((4, 6, 3), np.uint8)
    assert digest(flat) != digest(flat.reshape(6, 4, 3))


def test_thumbnails_are_small_webp_files_of_the_right_shape(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((200, 800, 3), 90, np.uint8))
    thumbnail = look(str(tmp_path / "wide.png"), 64, 10**6)[1]
    assert cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR).shape == (16, 64, 3)
    assert thumbnail[8:12] == b"WEBP"
    assert len(thumbnail) < 2000


def test_a_folder_without_images_keeps_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (named,) = gather([str(tmp_path / "empty")])
    assert named.item == Item(str(tmp_path / "empty"), named.item.problem)
    assert "no images" in named.item.problem


def test_a_map_says_in_words_where_it_is_worst_and_best() -> None:
    values = np.array([[2.0, 2.5, 3.0], [2.2, 2.4, 2.6], [1.0, 2.0, 2.9]], np.float32)
    corners = np.array([0, 40, 80])
    found = QualityMap(values, corners, corners, 60, 40, 140, 140)
    assert in_words(found) == "worst at the lower left (1.00), best at the upper right (3.00)"
    assert in_words(found, -1) == "worst at the upper right (3.00), best at the lower left (1.00)"
    row = QualityMap(values[1:2], np.array([0]), corners, 60, 40, 140, 50)
    assert in_words(row) == "worst at the left (2.20), best at the right (2.60)"
    column = QualityMap(values[:, 1:2], corners, np.array([0]), 60, 40, 50, 140)
    assert in_words(column) == "worst in the lower middle (2.00), best in the upper middle (2.50)"
    assert in_words(QualityMap(values[:1, :1], np.array([0]), np.array([0]), 60, 40, 50, 50)) == "the same everywhere"
    assert limits([found, row]) == (1.0, 3.0)
    assert limits([row]) == pytest.approx((1.9, 2.9))
