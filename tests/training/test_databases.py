"""Label files are checked on loading; every complaint names the file and the row."""

import cv2
import numpy as np
import pytest

from pscr import PscrError, Status
from pscr.training import databases


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "data.csv").write_text("name,prompt,mos_quality\na.png,a cat,1.5\nb.png,a dog,4.25\n")
    return tmp_path


def test_agiqa3k_gives_scores_and_prompts(folder):
    database = databases.load(f"agiqa3k:{folder}")
    assert [(item.name, item.score, item.group) for item in database.items] == [
        ("a.png", 1.5, "a cat"),
        ("b.png", 4.25, "a dog"),
    ]
    assert (database.name, database.label) == ("AGIQA-3K", "mos_quality")


def test_csv_columns_are_named_by_options(folder):
    file = folder / "mine.csv"
    file.write_text("file,points\nimages/a.png,-3\nimages/b.png,7\n")
    database = databases.load(f"csv:{file}", path_column="file", score_column="points")
    assert [item.score for item in database.items] == [-3, 7]
    assert database.scale == (-3, 7)
    assert len({item.group for item in database.items}) == 2


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ("a.png,x,nan", "row 2: the score is nan"),
        ("a.png,x,inf", "row 2: the score is inf"),
        ("a.png,x,good", "row 2: the score 'good' is not a number"),
        ("a.png,x,", "row 2: the score '' is not a number"),
        ("a.png,x", "row 2: the score None is not a number"),
        ("a.png,x,1\na.png,x,2", "row 3: a.png stands in row 2 already"),
        (",x,1", "row 2: the name is empty"),
        ("", "has no rows"),
    ],
)
def test_a_bad_row_is_refused(folder, rows, complaint):
    (folder / "data.csv").write_text("name,prompt,mos_quality\n" + rows)
    with pytest.raises(PscrError) as caught:
        databases.load(f"agiqa3k:{folder}")
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert complaint in str(caught.value)
    assert "data.csv" in str(caught.value)


def test_a_missing_image_is_named(folder):
    (folder / "data.csv").write_text("name,prompt,mos_quality\na.png,x,1\nc.png,x,1\n")
    with pytest.raises(PscrError, match=r"row 3: no image .*c\.png") as caught:
        databases.load(f"agiqa3k:{folder}")
    assert caught.value.status is Status.FILE_NOT_FOUND


def test_a_missing_column_is_named(folder):
    with pytest.raises(PscrError, match="no column 'quality'; it has name, prompt, mos_quality"):
        databases.load(f"csv:{folder / 'data.csv'}", path_column="name", score_column="quality")


@pytest.mark.parametrize("spec", ["agiqa3k", "agiqa3k:", "tid2013:somewhere", ""])
def test_an_unknown_database_is_refused(spec):
    with pytest.raises(PscrError, match="expected agiqa3k:DIR or csv:FILE"):
        databases.load(spec)


def test_a_missing_label_file_is_named(tmp_path):
    with pytest.raises(PscrError, match=r"data\.csv: no such label file"):
        databases.load(f"agiqa3k:{tmp_path}")
