"""AIGCIQA2023: MATLAB files of labels in the order of the images' numbers."""

import numpy as np
import pytest
from scipy import io

from pscr import PscrError, Status
from pscr.training import databases

COUNT = 2400


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The public layout with stand-ins for its images."""
    folder = tmp_path_factory.mktemp("aigciqa2023")
    (folder / "Image" / "allimg").mkdir(parents=True)
    for number in range(COUNT):
        (folder / "Image" / "allimg" / f"{number}.png").touch()
    return folder


@pytest.fixture
def folder(images, tmp_path):
    """The same with label files of its own: quality, authenticity and correspondence count up from 0, 10 and 20."""
    (tmp_path / "Image").symlink_to(images / "Image")
    (tmp_path / "DATA" / "MOS").mkdir(parents=True)
    for kind in (1, 2, 3):
        write(tmp_path, 10 * (kind - 1) + np.arange(COUNT)[:, None] / 100, kind)
    return tmp_path


def write(folder, values, kind=1, variable="MOSz"):
    io.savemat(folder / "DATA" / "MOS" / f"mosz{kind}.mat", {variable: values})


@pytest.mark.parametrize(
    ("label", "first", "file", "meaning"),
    [
        ("quality", 0, "mosz1", "mean opinion score of quality"),
        ("authenticity", 10, "mosz2", "mean opinion score of authenticity"),
        ("correspondence", 20, "mosz3", "mean opinion score of text-to-image correspondence"),
    ],
)
def test_each_label_has_its_file(folder, label, first, file, meaning):
    database = databases.load(f"aigciqa2023:{folder}", label=label)
    assert [item.score for item in database.items[:3]] == pytest.approx([first, first + 0.01, first + 0.02])
    assert [item.name for item in database.items[::600]] == ["0.png", "600.png", "1200.png", "1800.png"]
    assert (database.name, database.label, database.meaning) == ("AIGCIQA2023", file, meaning)
    assert database.scale == (0, 100)


def test_the_24_images_of_a_prompt_are_one_group(folder):
    items = databases.load(f"aigciqa2023:{folder}").items
    groups = {}
    for number, item in enumerate(items):
        groups.setdefault(item.group, []).append(number)
    assert len(groups) == 100
    assert groups["prompt 1"] == [400 * generator + 4 + draw for generator in range(6) for draw in range(4)]


@pytest.mark.parametrize(
    ("value", "complaint"), [(np.nan, "row 8: the score is nan"), (-np.inf, "row 8: the score is -inf")]
)
def test_a_score_that_is_not_finite_is_refused_with_its_row(folder, value, complaint):
    values = np.full((COUNT, 1), 50.0)
    values[7] = value
    write(folder, values)
    with pytest.raises(PscrError, match=rf"mosz1\.mat: {complaint}") as caught:
        databases.load(f"aigciqa2023:{folder}")
    assert caught.value.status is Status.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.zeros((COUNT - 1, 1)), "2399x1 float64"),
        (np.zeros((1, COUNT)), "1x2400 float64"),
        (np.array(["good"] * COUNT, object)[:, None], "2400x1 object"),
        (np.zeros((COUNT, 1), complex), "2400x1 complex128"),
    ],
)
def test_anything_but_one_number_an_image_is_refused(folder, values, found):
    write(folder, values)
    with pytest.raises(PscrError, match=f"MOSz is {found}; expected 2400x1 numbers"):
        databases.load(f"aigciqa2023:{folder}")


def test_another_variable_is_refused(folder):
    write(folder, np.zeros((COUNT, 1)), variable="SD")
    with pytest.raises(PscrError, match=r"mosz1\.mat: has no variable 'MOSz'; it has SD"):
        databases.load(f"aigciqa2023:{folder}")


@pytest.mark.parametrize("data", [b"", b"not MATLAB" * 50])
def test_a_file_that_is_not_matlabs_is_refused(folder, data):
    (folder / "DATA" / "MOS" / "mosz1.mat").write_bytes(data)
    with pytest.raises(PscrError, match="is not a MATLAB file"):
        databases.load(f"aigciqa2023:{folder}")


def test_a_file_that_is_cut_short_is_refused(folder):
    file = folder / "DATA" / "MOS" / "mosz1.mat"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(PscrError, match="is not a MATLAB file"):
        databases.load(f"aigciqa2023:{folder}")


def test_a_missing_image_is_named(folder, images, tmp_path_factory):
    (folder / "Image").unlink()
    (folder / "Image" / "allimg").mkdir(parents=True)
    (folder / "Image" / "allimg" / "0.png").touch()
    with pytest.raises(PscrError, match=r"mosz1\.mat: row 2: no image .*1\.png") as caught:
        databases.load(f"aigciqa2023:{folder}")
    assert caught.value.status is Status.FILE_NOT_FOUND


def test_a_missing_label_file_is_named(folder):
    (folder / "DATA" / "MOS" / "mosz3.mat").unlink()
    with pytest.raises(PscrError, match=r"mosz3\.mat: no such label file"):
        databases.load(f"aigciqa2023:{folder}", label="correspondence")
