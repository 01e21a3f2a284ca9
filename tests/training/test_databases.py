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
    with pytest.raises(PscrError, match=f"expected agiqa1k:DIR, .*{databases.EXPECTED.rpartition(',')[2]}"):
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
        ("clive", "appeal", "expected quality"),
        ("avt_ai", "alignment", "expected quality or appeal or realism"),
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


def test_agiqa3k_knows_the_generator_by_the_beginning_of_the_name(folder):
    for name in ("sd1.5_lowcorr_000.png", "DALLE2_normal_001.png"):
        cv2.imwrite(str(folder / "images" / name), np.zeros((8, 8, 3), np.uint8))
    rows = "sd1.5_lowcorr_000.png,a cat,1\nDALLE2_normal_001.png,a dog,2\n"
    (folder / "data.csv").write_text(f"name,prompt,mos_quality\n{rows}")
    groups = [item.groups for item in databases.load(f"agiqa3k:{folder}").items]
    assert groups == [{"prompt": "a cat", "generator": "sd1.5"}, {"prompt": "a dog", "generator": "DALLE2"}]


def test_a_csv_file_has_a_group_to_split_by_and_others_to_compare_by(folder):
    file = folder / "mine.csv"
    file.write_text("path,score,text,made by\nimages/a.png,1,a cat,x\nimages/b.png,2,a cat,y\n")
    items = databases.load(f"csv:{file}", group_column="text", more_columns=("made by",)).items
    assert [item.group for item in items] == ["a cat", "a cat"]
    assert [item.groups["made by"] for item in items] == ["x", "y"]
    assert [item.groups["prompt"] for item in items] == ["a cat", "a cat"]
    with pytest.raises(PscrError, match="no column 'generator'; it has path, score, text, made by"):
        databases.load(f"csv:{file}", more_columns=("generator",))
    file.write_text("path,score,made by\nimages/a.png,1,\nimages/b.png,2,y\n")
    with pytest.raises(PscrError, match="row 2: the made by is empty"):
        databases.load(f"csv:{file}", more_columns=("made by",))


def test_items_with_groups_can_still_be_told_apart_by_a_set(folder):
    items = databases.load(f"agiqa3k:{folder}").items
    assert len({*items, *items}) == 2


@pytest.mark.parametrize(
    ("given", "spec", "label"),
    [
        ("avt_ai:DIR@appeal", "avt_ai:DIR", "appeal"),
        ("avt_ai:DIR", "avt_ai:DIR", "quality"),
        ("csv:me@home/labels.csv", "csv:me@home/labels.csv", "quality"),
        ("csv:me@home/labels.csv@sharpness", "csv:me@home/labels.csv", "sharpness"),
    ],
)
def test_a_spec_may_carry_its_label(given, spec, label):
    assert databases.with_label(given, "quality") == (spec, label)


def test_a_folder_whose_name_has_an_at_sign_is_taken_by_its_name(tmp_path):
    (tmp_path / "avt@2").mkdir()
    spec = f"avt_ai:{tmp_path / 'avt@2'}"
    assert databases.with_label(spec, "quality") == (spec, "quality")
    assert databases.with_label(f"{spec}@appeal", "quality") == (spec, "appeal")
