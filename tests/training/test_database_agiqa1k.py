"""AGIQA-1K: an Excel workbook of labels, checked cell by cell, and the published file itself."""

import os
import shutil
from pathlib import Path

import openpyxl
import pytest

from pscr import PscrError, Status
from pscr.training import databases

SHARED = Path(os.environ.get("PSCR_SHARED", Path(__file__).parents[3] / "shared"))
PUBLISHED = SHARED / "data" / "labels" / "AGIQA-1K_AIGC_MOS_Zscore.xlsx"
HEADER = ("Image", "Prompt", "MOS")
GOOD = [("a.jpg", "a cat", 1.5), ("b.jpg", "a dog", 5), ("c.jpg", "a cat", 0)]


def write(folder, rows, header=HEADER, sheet="Sheet1", images="abc"):
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in (header, *rows):
        book.active.append(row)
    book.save(folder / "AIGC_MOS_Zscore.xlsx")
    (folder / "file").mkdir(exist_ok=True)
    for name in images:
        (folder / "file" / f"{name}.jpg").touch()
    return f"agiqa1k:{folder}"


def test_scores_prompts_and_whole_numbers_are_read(tmp_path):
    database = databases.load(write(tmp_path, GOOD))
    assert [(item.name, item.group, item.score) for item in database.items] == GOOD
    assert [item.path for item in database.items] == [tmp_path / "file" / f"{name}.jpg" for name in "abc"]
    assert (database.name, database.label, database.scale) == ("AGIQA-1K", "MOS", (0, 5))
    assert not database.notes


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (("a.jpg", "x", "good"), "row 3: the score 'good' is not a number"),
        (("a.jpg", "x", "nan"), "row 3: the score is nan; expected a finite number"),
        (("a.jpg", "x", "#N/A"), "row 3: the score '#N/A' is not a number"),
        (("a.jpg", "x", True), "row 3: the score True is not a number"),
        (("a.jpg", "x", None), "row 3: the score None is not a number"),
        ((None, "x", 1), "row 3: the Image is empty"),
        ((7, "x", 1), "row 3: the Image is 7; expected the name of a file"),
        (("a.jpg", None, 1), "row 3: the prompt is empty"),
        (("b.jpg", "x", 1), "row 3: b.jpg stands in row 2 already"),
    ],
)
def test_a_bad_cell_is_refused_with_its_row(tmp_path, row, complaint):
    with pytest.raises(PscrError) as caught:
        databases.load(write(tmp_path, [GOOD[1], row]))
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert str(caught.value) == f"{tmp_path / 'AIGC_MOS_Zscore.xlsx'}: {complaint}"


def test_blank_rows_do_not_count_and_do_not_shift_the_numbers(tmp_path):
    rows = [GOOD[0], (None, None, None), GOOD[1], ("c.jpg", "x", "good"), (None,)]
    with pytest.raises(PscrError, match="row 5: the score 'good'"):
        databases.load(write(tmp_path, rows))


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(PscrError, match=r"row 4: no image .*c\.jpg") as caught:
        databases.load(write(tmp_path, GOOD, images="ab"))
    assert caught.value.status is Status.FILE_NOT_FOUND


def test_another_sheet_is_refused(tmp_path):
    with pytest.raises(PscrError, match="has no sheet 'Sheet1'; it has Ratings"):
        databases.load(write(tmp_path, GOOD, sheet="Ratings"))


def test_another_column_is_refused(tmp_path):
    with pytest.raises(PscrError, match="has no column 'MOS'; it has Image, Prompt, Mean"):
        databases.load(write(tmp_path, GOOD, header=("Image", "Prompt", "Mean")))


def test_an_empty_sheet_is_refused(tmp_path):
    with pytest.raises(PscrError, match="has no column 'Image'; it has none"):
        databases.load(write(tmp_path, [], header=()))
    with pytest.raises(PscrError, match="has no rows"):
        databases.load(write(tmp_path, []))


def test_a_file_that_is_no_workbook_is_refused(tmp_path):
    spec = write(tmp_path, GOOD)
    file = tmp_path / "AIGC_MOS_Zscore.xlsx"
    for damage in (b"", b"Image,Prompt,MOS\n", file.read_bytes()[:2000]):
        file.write_bytes(damage)
        with pytest.raises(PscrError, match="is not an Excel workbook") as caught:
            databases.load(spec)
        assert caught.value.status is Status.INVALID_ARGUMENT


def test_a_missing_workbook_is_named(tmp_path):
    with pytest.raises(PscrError, match=r"AIGC_MOS_Zscore\.xlsx: no such label file"):
        databases.load(f"agiqa1k:{tmp_path}")


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"no {PUBLISHED.name} below PSCR_SHARED or ../shared/data/labels")
def test_the_published_label_file_is_read_and_its_one_ambiguous_name_left_out(tmp_path):
    shutil.copy(PUBLISHED, tmp_path / "AIGC_MOS_Zscore.xlsx")
    rows = list(openpyxl.load_workbook(PUBLISHED, read_only=True).active.values)[1:]
    (tmp_path / "file").mkdir()
    for name, *_ in rows:
        (tmp_path / "file" / name).touch()
    database = databases.load(f"agiqa1k:{tmp_path}")
    assert len(rows) == 1080
    assert len(database.items) == 1078
    assert {name for name, *_ in rows} - {item.name for item in database.items} == {"dreamStudio_8_9_1_1.jpg"}
    (note,) = database.notes
    assert "rows 1080 and 1081" in note
    assert {(item.name, item.group, item.score) for item in database.items} <= set(rows)
    assert min(item.score for item in database.items) == 0
    assert max(item.score for item in database.items) == 5
    assert len({item.group for item in database.items}) == 720
