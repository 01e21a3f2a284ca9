"""The damage experiment judges maps as it says: a map that points there is a hit, an empty one is at chance."""

import map_damage
import numpy as np
import pytest

import pscr
from pscr.runtime.quality_map import starts

SQUARE = (100, 300, 128)


def made(values=None, window=128):
    corners = starts(map_damage.SIDE, window, window // 2)
    if values is None:
        values = np.full((len(corners), len(corners)), 3.0, np.float32)
    return pscr.QualityMap(values, corners, corners, window, window // 2, map_damage.SIDE, map_damage.SIDE)


def test_overlaps_are_counted_pixel_by_pixel():
    found = made()
    mask = np.zeros((map_damage.SIDE, map_damage.SIDE), int)
    mask[100:228, 300:428] = 1
    expected = [[mask[y : y + 128, x : x + 128].sum() for x in found.corners_x] for y in found.corners_y]
    assert np.array_equal(map_damage.overlaps(found, SQUARE), expected)


def test_a_map_that_falls_where_the_damage_is_hits_it():
    before = made(np.random.default_rng(0).normal(3, 0.1, (7, 7)).astype(np.float32))
    before.values[6, 0] = 2
    share = map_damage.overlaps(before, SQUARE) / 128**2
    after = made((before.values - 2 * share).astype(np.float32))
    row = map_damage.judge(before, after, SQUARE)
    assert (row["worst"], row["pixel"]) == (1, 1)
    assert row["auc"] > 0.95
    assert row["chance"] == pytest.approx((share > 0.5).mean())
    assert (row["worst_before"], row["pixel_before"]) == (0, 0)
    assert row["auc_before"] < row["auc"]
    assert row["fall"] == pytest.approx(2 * share[share > 0.5].mean(), abs=1e-5)


def test_a_map_that_rises_there_misses_and_one_that_says_nothing_is_at_chance():
    before = made()
    share = map_damage.overlaps(before, SQUARE) / 128**2
    row = map_damage.judge(before, made((3 + share).astype(np.float32)), SQUARE)
    assert (row["worst"], row["auc"] < 0.2, row["fall"] < 0) == (0, True, True)
    rng = np.random.default_rng(1)
    rows = [map_damage.judge(before, made(rng.normal(3, 1, (7, 7)).astype(np.float32)), SQUARE) for _ in range(400)]
    mean = {name: np.mean([row[name] for row in rows]) for name in ("worst", "chance", "auc")}
    assert mean["worst"] == pytest.approx(mean["chance"], abs=0.04)
    assert mean["auc"] == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("kind", map_damage.KINDS)
def test_damage_stays_in_its_square_and_strong_is_more_than_weak(kind):
    rng = np.random.default_rng(2)
    image = np.asarray(rng.integers(0, 256, (512, 512, 3)), np.uint8)
    changes = []
    for strength in ("weak", "strong"):
        worse = map_damage.damaged(image, kind, strength, SQUARE, rng)
        changed = (worse != image).any(2)
        assert not changed[:100].any()
        assert not changed[228:].any()
        assert not changed[:, :300].any()
        assert not changed[:, 428:].any()
        inside = np.s_[100:228, 300:428]
        changes.append(np.abs(worse[inside].astype(int) - image[inside]).mean())
    assert 0 < changes[0] < changes[1]


def test_the_map_after_damage_is_that_of_the_damaged_image(tiny_model):
    rng = np.random.default_rng(3)
    image = np.asarray(rng.integers(0, 256, (512, 512, 3)), np.uint8)
    worse = map_damage.damaged(image, "blur", "strong", SQUARE, rng)
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        before = pscr.quality_map(scorer, image, pixel_format="rgb")
        after = map_damage.again(scorer, before, worse, SQUARE)
        whole = pscr.quality_map(scorer, worse, pixel_format="rgb")
    assert after.values == pytest.approx(whole.values, abs=1e-5)
    assert np.abs(after.values - before.values).max() > 0.01
