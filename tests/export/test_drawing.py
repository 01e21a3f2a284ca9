"""What calibrates int8 and what judges it are other images, drawn over everything that was given."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny_model as tiny

from pscr.export.drawing import draw, places
from pscr.export.model_options import CALIBRATION_IMAGES, JUDGING_IMAGES
from pscr.runtime.errors import PscrError, Status

IMAGES = Path(__file__).parents[2] / "examples" / "images"


@pytest.mark.parametrize("count", [2, 3, 8, 95, 96, 97, 2385])
def test_no_image_calibrates_and_judges(count: int) -> None:
    judging, calibrating = places(count, True)
    assert judging
    assert calibrating
    together = [*judging, *calibrating]
    assert len(set(together)) == len(together) == min(count, CALIBRATION_IMAGES + JUDGING_IMAGES)
    assert set(together) <= set(range(count))


def test_both_are_spread_over_all_that_is_given_and_always_the_same() -> None:
    """Sorted by name, a folder has one generator after the other: each of ten has its share of both."""
    judging, calibrating = places(2400, True)
    assert (judging, calibrating) == places(2400, True)
    for tenth in range(10):
        inside = range(240 * tenth, 240 * (tenth + 1))
        assert 5 <= len(set(judging) & set(inside)) <= 8
        assert 2 <= len(set(calibrating) & set(inside)) <= 5
    assert places(2400, False)[1] == []
    assert len(places(2400, False)[0]) == JUDGING_IMAGES


def test_what_was_drawn_is_said(tmp_path: Path) -> None:
    found = draw([str(IMAGES)], tiny.SAMPLING, "int8")
    assert (len(found.calibrating), len(found.judging)) == (3, 5)
    assert found.words == "calibrated on 3 and judged on 5 of 8 images, drawn over all of them (seed 0)"
    assert (
        draw([str(IMAGES)], tiny.SAMPLING, "fp16").words == "judged on 8 of 8 images, drawn over all of them (seed 0)"
    )
    assert draw([], tiny.SAMPLING, "fp16").words == "judged on the 4 golden images"
    shutil.copy(next(IMAGES.glob("*.jpg")), tmp_path)
    with pytest.raises(PscrError, match="calibrated on some and judged on others") as caught:
        draw([str(tmp_path)], tiny.SAMPLING, "int8")
    assert caught.value.status is Status.INVALID_ARGUMENT
