"""Splits keep apart what must be kept apart."""

import cv2
import numpy as np
import pytest

from pscr import PscrError
from pscr.training.databases import Item
from pscr.training.splits import split


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """40 images of 10 prompts; images 0 and 39 have the same pixels in different files."""
    folder = tmp_path_factory.mktemp("images")
    result = []
    for index in range(40):
        path = folder / f"{index}.png"
        shade = 0 if index == 39 else index
        level = 1 if index == 39 else 9  # another compression, other bytes, the same pixels
        cv2.imwrite(str(path), np.full((8, 8, 3), shade, np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, level])
        result.append(Item(path.name, path, float(index), f"prompt {index // 4}"))
    return result


@pytest.mark.parametrize("by", ["image", "prompt"])
@pytest.mark.parametrize("seed", range(12))
def test_every_image_is_on_one_side_and_identical_images_on_the_same(items, by, seed):
    larger, smaller = split(items, by, 0.2, seed)
    assert sorted(larger + smaller) == list(range(40))
    assert 8 <= len(smaller) <= 15
    assert (0 in larger) == (39 in larger)


@pytest.mark.parametrize("seed", range(6))
def test_a_prompt_never_stands_on_both_sides(items, seed):
    larger, smaller = split(items, "prompt", 0.2, seed)
    assert not {items[i].group for i in larger} & {items[i].group for i in smaller}


def test_a_seed_gives_the_same_split_and_another_seed_another(items):
    assert split(items, "image", 0.2, 5) == split(items, "image", 0.2, 5)
    assert split(items, "image", 0.2, 5) != split(items, "image", 0.2, 6)


def test_nothing_is_taken_for_a_fraction_of_zero(items):
    assert split(items, "image", 0.0, 1) == (list(range(40)), [])


@pytest.mark.parametrize(("by", "fraction"), [("colour", 0.2), ("image", 1.0), ("image", -0.1)])
def test_a_split_that_makes_no_sense_is_refused(items, by, fraction):
    with pytest.raises(PscrError):
        split(items, by, fraction, 1)
