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
        ("a.png,x,1,2", "row 2: has 4 cells, the header 3"),
        ("a.png,,1", "row 2: the prompt is empty"),
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
    with pytest.raises(PscrError, match="expected agiqa1k:DIR, agiqa3k:DIR, aigciqa2023:DIR or csv:FILE"):
        databases.load(spec)


def test_a_missing_label_file_is_named(tmp_path):
    with pytest.raises(PscrError, match=r"data\.csv: no such label file"):
        databases.load(f"agiqa3k:{tmp_path}")


def test_agiqa3k_has_two_labels(folder):
    (folder / "data.csv").write_text("name,prompt,mos_quality,mos_align\na.png,a cat,1.5,3\nb.png,a dog,4.25,2\n")
    quality = databases.load(f"agiqa3k:{folder}")
    alignment = databases.load(f"agiqa3k:{folder}", label="alignment")
    assert [item.score for item in quality.items] == [1.5, 4.25]
    assert [item.score for item in alignment.items] == [3, 2]
    assert (alignment.label, alignment.meaning) == ("mos_align", "mean opinion score of text-to-image alignment")
    assert quality.meaning == "mean opinion score of quality"


@pytest.mark.parametrize(
    ("kind", "label", "expected"),
    [
        ("agiqa1k", "alignment", "expected quality"),
        ("agiqa3k", "authenticity", "expected quality or alignment"),
        ("aigciqa2023", "alignment", "expected quality or authenticity or correspondence"),
    ],
)
def test_a_label_that_a_database_lacks_is_refused(tmp_path, kind, label, expected):
    with pytest.raises(PscrError, match=f"{kind} has no label '{label}'; {expected}") as caught:
        databases.load(f"{kind}:{tmp_path}", label=label)
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_a_csv_file_says_what_its_scores_judge_in_any_word(folder):
    (folder / "mine.csv").write_text("path,score\nimages/a.png,1\nimages/b.png,2\n")
    spec = f"csv:{folder / 'mine.csv'}"
    assert databases.load(spec).meaning == "mean opinion score of quality"
    assert databases.load(spec, label="sharpness").meaning == "mean opinion score of sharpness"
    with pytest.raises(PscrError, match="expected a word for what the scores judge"):
        databases.load(spec, label="a\nb")


def test_a_csv_file_in_another_encoding_is_refused(folder):
    (folder / "data.csv").write_bytes("name,prompt,mos_quality\na.png,café,1\n".encode("latin-1"))
    with pytest.raises(PscrError, match=r"data\.csv: row 1: not CSV in UTF-8"):
        databases.load(f"agiqa3k:{folder}")


def test_a_csv_file_of_equal_scores_is_refused(folder):
    (folder / "mine.csv").write_text("path,score\nimages/a.png,3\nimages/b.png,3.0\n")
    with pytest.raises(PscrError, match="every score is 3"):
        databases.load(f"csv:{folder / 'mine.csv'}")


def test_a_column_that_stands_twice_is_refused(folder):
    (folder / "mine.csv").write_text("path,score,score\nimages/a.png,3,4\n")
    with pytest.raises(PscrError, match="has more than one column 'score'"):
        databases.load(f"csv:{folder / 'mine.csv'}")
