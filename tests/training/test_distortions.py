"""The 25 distortions: each type and level changes an image, more at a higher level, the same for the same seed."""

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pscr import PscrError, Status
from pscr.runtime.image import load
from pscr.training import distortions
from pscr.training.distortions import GROUPS, LEVELS, TYPES, by_name, distort, severity

pytestmark = pytest.mark.slow

IMAGES = sorted((Path(__file__).parents[2] / "examples" / "images").iterdir())
LEVEL = range(1, LEVELS + 1)
each = pytest.mark.parametrize("one", TYPES, ids=[one.name.replace(" ", "_") for one in TYPES])


@pytest.fixture(scope="module")
def image():
    """[256,320,3]: a part of an example image."""
    found = load(IMAGES[0])
    return np.ascontiguousarray(found[100:356, 60:380])


@pytest.fixture(scope="module")
def made(image):
    """[25,5,256,320,3]: every type at every level."""
    return np.array([[distort(image, one.number, level, 7) for level in LEVEL] for one in TYPES])


def test_the_types_are_kadids_in_its_order():
    assert [one.number for one in TYPES] == list(range(1, 26))
    assert len({one.name for one in TYPES}) == 25
    assert {one.group for one in TYPES} == set(GROUPS)
    assert len(GROUPS) == 7
    assert all(len(one.parameters) == len(one.people) == LEVELS for one in TYPES)
    assert all(1 <= value <= 5 for one in TYPES for value in one.people)
    assert {one.number for one in TYPES if not one.rises} == {18, 25}
    for one in TYPES:
        falls = np.diff(one.people) < 0
        assert falls.all() == (one.rises and one.number != 5), "people see no difference between shifts of 6, 8 and 12"


def test_peoples_means_are_those_of_the_published_table():
    means = np.array([one.people for one in TYPES])
    assert means.sum() == pytest.approx(379.0789, abs=1e-4)  # sum and weighted sum of the column mean_dmos
    assert float((means.ravel() * np.arange(1, 126)).sum()) == pytest.approx(24528.5083, abs=1e-3)
    assert severity("gaussian blur", 1) == severity(1, 1) == 4.6122
    assert severity("Contrast Change", 5) == severity(np.int64(25), np.int64(5)) == 3.3238


@each
def test_every_level_changes_the_image_and_differs_from_the_others(one, image, made):
    before = image.copy()
    results = made[one.number - 1]
    assert results.dtype == np.uint8
    assert np.array_equal(image, before), "the image given is not written to"
    for place, result in enumerate(results):
        assert (result != image).any()
        assert not any(np.array_equal(result, other) for other in results[:place])


@each
def test_a_higher_level_changes_more(one, image, made):
    changes = np.abs(made[one.number - 1].astype(float) - image).mean((1, 2, 3))
    if one.rises:
        assert (np.diff(changes) > 0).all(), changes
    else:
        assert changes[0] > changes[1] > changes[2] <= changes[3] < changes[4], changes


def test_where_people_see_little_little_changes_and_where_they_see_much_much_does(image, made):
    changes = np.abs(made.astype(float) - image).mean((2, 3, 4))
    assert changes[0, 0] < 1  # sigma 0.4 in place of 0.1
    assert changes[2, 0] < 2
    assert changes[17, 2] < 4
    assert changes[0, 4] > 5
    assert changes[23, 4] > 20


@each
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others_where_there_is_chance(one, image, made):
    again = distort(image, one.name.upper(), 3, np.int64(7))
    assert again.tobytes() == made[one.number - 1, 2].tobytes()
    chance = one.group == "noise" or one.number in (3, 5, 19, 20, 23)
    assert (distort(image, one.number, 3, 8).tobytes() != again.tobytes()) == chance


def test_levels_differ_in_strength_alone(image, made):
    """What is random does not depend on the level: a mark that is there at one level is there at the next."""
    assert by_name("impulse noise").number == 13
    for low, high in zip(made[12][:-1], made[12][1:], strict=True):
        assert (high != image)[low != image].all()
    for low, high in zip(made[22][:-1], made[22][1:], strict=True):
        assert (high != image).any(2)[(low != image).all(2)].mean() > 0.95


@each
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (17, 33), (3, 700), (701, 2), (33, 64)])
def test_any_size_comes_back_in_its_size(one, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for level in LEVEL:
        result = distort(image, one.number, level, 0)
        assert (result.shape, result.dtype, result.flags.c_contiguous) == (image.shape, np.uint8, True)
        assert not np.shares_memory(result, image)


@each
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_images_stay_in_range(one, value):
    image = np.full((40, 48, 3), value, np.uint8)
    result = distort(image, one.number, 5, 1)
    noisy = one.group in ("noise", "spatial") or one.name in ("mean shift", "contrast change")
    assert noisy or np.abs(result.astype(int) - value).max() <= 3, "a value that leaves the range is not wrapped"
    assert np.abs(result.astype(int) - value).mean() < 128


def test_a_view_of_another_array_gives_what_its_copy_gives(image):
    part = image[::2, ::-1]
    for one in TYPES:
        expected = distort(np.ascontiguousarray(part), one.number, 4, 1)
        assert np.array_equal(distort(part, one.number, 4, 1), expected)


def test_grey_stays_grey_under_what_moves_no_colour():
    grey = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    for name in ("gaussian blur", "colour saturation 1", "colour saturation 2", "darken", "mean shift", "high sharpen"):
        result = distort(grey, name, 4, 0).astype(int)
        assert np.ptp(result, axis=2).max() <= 1, name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("no such", 1, 0), "distortion 'no such' is not known; expected one of: 1 gaussian blur, 2 lens blur"),
        ((0, 1, 0), "distortion 0 is not known"),
        ((26, 1, 0), "distortion 26 is not known"),
        ((None, 1, 0), "distortion None is not known"),
        ((1, 0, 0), "level 0; expected 1"),
        ((1, 6, 0), "level 6; expected 1"),
        ((1, 2.5, 0), r"level 2\.5; expected 1"),
        ((1, 1, -1), "seed -1; expected a whole number"),
        ((1, 1, 0.5), r"seed 0\.5; expected a whole number"),
    ],
)
def test_unknown_arguments_are_refused(arguments, says):
    with pytest.raises(PscrError, match=says) as caught:
        distort(np.zeros((8, 8, 3), np.uint8), *arguments)
    assert caught.value.status == Status.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "image",
    [
        None,
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((1, 40000, 3), np.uint8),
    ],
    ids=["none", "grey", "alpha", "float", "empty", "long"],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(PscrError, match="expected") as caught:
        distort(image, 1, 1, 0)
    assert caught.value.status == Status.INVALID_ARGUMENT


def test_severity_refuses_what_is_unknown():
    for arguments in (("no such", 1), (1, 0), (1, 6)):
        with pytest.raises(PscrError, match="expected"):
            severity(*arguments)


def test_the_example_of_the_module_is_right():
    assert doctest.testmod(distortions).failed == 0


def test_it_needs_numpy_and_opencv_alone():
    code = "import sys, pscr.training.distortions; print(*{'torch','scipy','PIL','onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
