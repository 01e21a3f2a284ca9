"""CLIVE: as published, with MATLAB files, and as a folder with labels.csv."""

import numpy as np
import pytest
from scipy import io

from pscr import PscrError, Status
from pscr.training import databases

COUNT = 1169


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Stand-ins for the published images, of which seven lie in a folder of their own."""
    folder = tmp_path_factory.mktemp("clive") / "Images"
    (folder / "trainingImages").mkdir(parents=True)
    for number in range(1, COUNT + 1):
        (folder / ("trainingImages" if number <= 7 else "") / f"{number}.bmp").touch()
    return folder


@pytest.fixture
def folder(images, tmp_path):
    """The published layout; image number k has the score k / 20."""
    (tmp_path / "Images").symlink_to(images)
    (tmp_path / "Data").mkdir()
    write(tmp_path, names=[f"{number}.bmp" for number in range(1, COUNT + 1)])
    write(tmp_path, scores=np.arange(1, COUNT + 1)[None] / 20)
    return tmp_path


def write(folder, names=None, scores=None):
    if names is not None:
        cells = np.empty((len(names), 1), object)
        cells[:, 0] = names
        io.savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    if scores is not None:
        io.savemat(folder / "Data" / "AllMOS_release.mat", {"AllMOS_release": scores})


def test_the_published_layout_has_1162_images_the_seven_of_the_training_left_out_and_said(folder):
    database = databases.load(f"clive:{folder}")
    assert len(database.items) == 1162
    assert [(item.name, item.score) for item in database.items[:2]] == [("8.bmp", 0.4), ("9.bmp", 0.45)]
    assert (database.name, database.scale, database.declared) == ("CLIVE", (0, 100), True)
    assert len(database.notes) == 1
    assert "the first 7 images, on which people were trained, are left out" in database.notes[0]


def test_a_folder_with_a_table_is_read_too(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "images" / name).touch()
    rows = "images/1.jpg,80.5,12,1.bmp\nimages/2.jpg,20.25,13,2.JPG"
    (tmp_path / "labels.csv").write_text(f"path,score,std,original_name\n{rows}\n")
    database = databases.load(f"clive:{tmp_path}")
    assert [(item.name, item.score) for item in database.items] == [("images/1.jpg", 80.5), ("images/2.jpg", 20.25)]
    assert (database.name, database.scale, database.notes) == ("CLIVE", (0, 100), ())


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"scores": np.zeros((1, 1162))}, "AllMOS_release is 1x1162 float64; expected 1x1169 numbers"),
        ({"scores": np.full((1, COUNT), np.nan)}, "row 8: the score is nan"),
        ({"names": ["a.bmp"] * 3}, "AllImages_release is 3x1 object; expected 1169x1 names"),
        ({"names": [1.0] * COUNT}, "AllImages_release is 1169x1 object; expected 1169x1 names"),
        ({"names": ["8.bmp"] * COUNT}, "row 9: 8.bmp stands in row 8 already"),
    ],
)
def test_label_files_that_are_not_clives_are_refused(folder, wrong, complaint):
    write(folder, **wrong)
    with pytest.raises(PscrError, match=complaint) as caught:
        databases.load(f"clive:{folder}")
    assert caught.value.status is Status.INVALID_ARGUMENT


def test_a_missing_file_is_named(folder, tmp_path):
    (folder / "Data" / "AllMOS_release.mat").unlink()
    with pytest.raises(PscrError, match=r"AllMOS_release\.mat: no such label file"):
        databases.load(f"clive:{folder}")
    with pytest.raises(PscrError, match=r"AllImages_release\.mat: no such label file") as caught:
        databases.load(f"clive:{tmp_path / 'nowhere'}")
    assert caught.value.status is Status.FILE_NOT_FOUND


def test_the_table_of_another_database_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("path,quality,generator,prompt\na.jpg,1,x,y\n")
    with pytest.raises(PscrError, match="has no column 'score'; it has path, quality, generator, prompt"):
        databases.load(f"clive:{tmp_path}")
