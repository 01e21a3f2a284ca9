"""The figures of a comparison are the field's own, and their intervals hold as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pscr.report.statistics import Comparison, compare

pytestmark = pytest.mark.slow


def two(a: np.ndarray, b: np.ndarray, units: list[object] | None = None, **more: object) -> Comparison:
    """Groups "a" and "b", every image a unit of its own unless `units` says otherwise."""
    chosen = units if units is not None else list(range(len(a) + len(b)))
    return compare([*a, *b], ["a"] * len(a) + ["b"] * len(b), chosen, **more)


def test_the_probability_to_win_is_mann_whitneys_u_with_ties_as_halves() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 70).astype(float), rng.integers(1, 10, 40).astype(float)
    (pair,) = two(a, b, resamples=50).pairs
    assert (pair.first, pair.second) == ("b", "a")
    assert pair.beats.value == pytest.approx(stats.mannwhitneyu(b, a).statistic / (len(a) * len(b)), abs=1e-12)
    assert pair.beats.low < pair.beats.value < pair.beats.high
    assert pair.difference.value == pytest.approx(b.mean() - a.mean())


def test_the_probabilitys_interval_is_that_of_an_independent_bootstrap() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 60), rng.normal(0.4, 1, 80)
    (pair,) = two(a, b).pairs
    drawn = [
        stats.mannwhitneyu(rng.choice(a, len(a)), rng.choice(b, len(b))).statistic / (len(a) * len(b))
        for _ in range(2000)
    ]
    assert (pair.beats.low, pair.beats.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.015)


def test_a_better_score_can_be_a_lower_one() -> None:
    a, b = np.arange(30.0), np.arange(30.0) + 10
    (pair,) = two(a, b, higher_is_better=False, resamples=50).pairs
    assert pair.first == "a"
    assert pair.beats.value > 0.5
    assert pair.difference.value == -10
    assert pair.clear


def test_means_hold_in_95_of_100_experiments() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(300):
        group = compare(rng.gamma(4, 0.5, 80), ["all"] * 80, range(80), resamples=300).groups[0]
        held += group.mean.low <= 2 <= group.mean.high
    assert 0.90 < held / 300 < 0.985


def test_images_of_one_prompt_are_not_taken_as_independent() -> None:
    """40 prompts of 5 images that differ little within a prompt: as independent, they would seem to say far more."""
    rng = np.random.default_rng(3)
    held = {"prompt": 0, "image": 0}
    units = {"prompt": np.repeat(np.arange(40), 5).tolist(), "image": list(range(200))}
    for _ in range(150):
        scores = np.repeat(rng.normal(0, 1, 40), 5) + rng.normal(0, 0.2, 200)
        for kind, unit in units.items():
            group = compare(scores, ["all"] * 200, unit, resamples=300).groups[0]
            held[kind] += group.mean.low <= 0 <= group.mean.high
    assert held["prompt"] / 150 > 0.88
    assert held["image"] / 150 < 0.75


def test_differences_hold_for_all_pairs_together() -> None:
    """Six equal generators, 15 pairs: at most about one comparison in twenty calls any of them clear."""
    rng = np.random.default_rng(4)
    names = np.repeat(list("abcdef"), 50).tolist()
    wrong = sum(
        any(pair.clear for pair in compare(rng.normal(0, 1, 300), names, range(300), resamples=300).pairs)
        for _ in range(150)
    )
    assert wrong / 150 < 0.10


def test_common_prompts_pair_and_take_the_prompts_own_scatter_away() -> None:
    rng = np.random.default_rng(5)
    prompts = rng.normal(0, 1, 60)
    a, b = prompts + 0.3 + rng.normal(0, 0.1, 60), prompts + rng.normal(0, 0.1, 60)
    (pair,) = two(a, b, [*range(60), *range(60)]).pairs
    assert pair.shared == 60
    assert pair.paired.value == pytest.approx((a - b).mean())
    assert pair.won == (a > b).sum()
    error = (a - b).std(ddof=1) / math.sqrt(60)
    assert (pair.paired.high - pair.paired.low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert pair.clear
    alone = two(a, b).pairs[0]
    assert not alone.clear
    assert math.isnan(alone.paired.value)
    assert pair.difference.high - pair.difference.low < (alone.difference.high - alone.difference.low) / 3


def test_several_images_of_a_prompt_count_as_their_mean_in_pairs() -> None:
    (pair,) = two(
        np.array([1.0, 3.0, 5.0]), np.array([0.0, 1.0]), ["cat", "cat", "dog", "cat", "dog"], resamples=50
    ).pairs
    assert pair.shared == 2
    assert pair.paired.value == pytest.approx(((2 - 0) + (5 - 1)) / 2)
    assert pair.won == 2


def test_where_every_pair_went_one_way_the_interval_is_still_no_certainty() -> None:
    (pair,) = two(np.arange(8.0) + 100, np.arange(30.0), resamples=50).pairs
    assert pair.beats.value == pair.beats.high == 1
    assert pair.beats.low == pytest.approx(0.025 ** (1 / 8))


def test_one_image_has_a_mean_and_no_interval() -> None:
    found = two(np.array([2.0]), np.array([1.0, 1.5, 0.5]), resamples=50)
    assert [group.name for group in found.groups] == ["a", "b"]
    assert math.isnan(found.groups[0].mean.low)
    assert math.isnan(found.groups[0].deviation)
    assert math.isnan(found.pairs[0].difference.low)
    assert not found.pairs[0].clear


def test_equal_scores_give_a_tie_and_no_warning() -> None:
    (pair,) = two(np.full(20, 2.0), np.full(20, 2.0), resamples=50).pairs
    assert pair.beats.value == 0.5
    assert pair.difference == (0, 0, 0)
    assert not pair.clear


def test_the_same_scores_give_the_same_figures() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(0, 1, 50), rng.normal(0.1, 1, 50)
    assert repr(two(a, b)) == repr(two(a, b))


@pytest.mark.parametrize(("scores", "groups"), [([], []), ([1.0], ["a", "b"]), ([math.nan], ["a"])])
def test_what_cannot_be_compared_is_refused(scores: list[float], groups: list[str]) -> None:
    with pytest.raises(ValueError, match="expected as many each"):
        compare(scores, groups, list(range(len(scores))))
