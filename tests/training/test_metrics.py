"""Figures of agreement against examples that can be checked by hand, and intervals against the truth."""

import math

import numpy as np
import pytest

from pscr import PscrError, Status
from pscr.training.logistic import refit
from pscr.training.metrics import (
    MEASURES,
    Difference,
    Logistic,
    agreement,
    agreement_fitted,
    fit_logistic,
    intervals,
    paired,
    within_groups,
)

pytestmark = pytest.mark.slow


def test_a_small_example_by_hand():
    """x = 1 2 3 4, y = 1 3 2 4: two ranks are swapped; d = 0 1 1 0, one of six pairs is the wrong way round."""
    found = agreement([1, 2, 3, 4], [1, 3, 2, 4])
    assert found["srcc"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert found["krcc"] == pytest.approx((5 - 1) / 6)
    assert found["plcc"] == pytest.approx(0.8)
    assert found["rmse"] == pytest.approx(math.sqrt(2 / 4))


def test_ties_by_hand():
    """tau-b: of three pairs two agree and one is tied in x: 2 / sqrt(2 * 3). Average ranks 1.5 1.5 3 against 1 2 3."""
    found = agreement([1, 1, 2], [1, 2, 3])
    assert found["krcc"] == pytest.approx(2 / math.sqrt(6))
    assert found["srcc"] == pytest.approx(1.5 / math.sqrt(1.5 * 2))


def test_a_straight_line_has_plcc_one_and_the_rmse_of_its_offset():
    x = np.linspace(-1, 7, 30)
    assert agreement(x, x + 2) == pytest.approx({"srcc": 1, "krcc": 1, "plcc": 1, "rmse": 2})
    assert agreement(-x, x)["plcc"] == pytest.approx(-1)


def test_rank_correlations_do_not_see_a_monotone_change_and_plcc_does():
    rng = np.random.default_rng(3)
    x = rng.normal(size=80)
    y = x + rng.normal(size=80)
    plain, bent = agreement(x, y), agreement(np.exp(3 * x), y)
    assert bent["srcc"] == pytest.approx(plain["srcc"])
    assert bent["krcc"] == pytest.approx(plain["krcc"])
    assert bent["plcc"] < plain["plcc"] - 0.1


@pytest.mark.parametrize("truth", [Logistic(4.5, 0.5, 2.0, 0.6), Logistic(0.5, 4.5, 2.0, 0.6)])
def test_the_fit_finds_the_curve_that_made_the_scores(truth):
    x = np.random.default_rng(5).uniform(0, 4, 100)
    found = fit_logistic(x, truth(x))
    assert found is not None
    assert (found.b1, found.b2, found.b3, found.b4) == pytest.approx((truth.b1, truth.b2, truth.b3, truth.b4))


def test_the_curve_at_known_points():
    curve = Logistic(5.0, 1.0, 2.0, -0.5)
    np.testing.assert_allclose(curve([2.0, 2.5, -1e6, 1e6]), [3.0, 1 + 4 / (1 + math.exp(-1)), 1.0, 5.0])


def test_scores_in_other_units_are_fitted_as_well():
    rng = np.random.default_rng(6)
    x = rng.uniform(0, 5, 200)
    y = Logistic(4.0, 1.0, 2.0, 0.5)(x) + rng.normal(0, 0.2, 200)
    plain, scaled = agreement_fitted(x, y), agreement_fitted(1e5 * x - 3e6, y)
    assert scaled == pytest.approx(plain, rel=1e-4)


def test_plcc_gains_from_the_fit_on_a_logistic_relation():
    rng = np.random.default_rng(8)
    x = rng.uniform(-6, 6, 150)
    y = Logistic(5.0, 0.0, 1.0, 0.4)(x) + rng.normal(0, 0.1, 150)
    plain, fitted = agreement(x, y), agreement_fitted(x, y)
    assert fitted["plcc_fitted"] > plain["plcc"] + 0.02
    assert fitted["plcc_fitted"] > 0.99
    assert fitted["rmse_fitted"] == pytest.approx(0.1, rel=0.2)


def test_the_fit_is_never_worse_than_a_straight_line_by_much():
    """A logistic curve can be as straight as one likes."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=40)
        y = 0.5 * x + rng.normal(size=40)
        assert agreement_fitted(x, y)["plcc_fitted"] >= agreement(x, y)["plcc"] - 0.01


@pytest.mark.parametrize(
    ("x", "y"),
    [([1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6]), ([1, 2, 3, 4, 5, 6], [2, 2, 2, 2, 2, 2])],
    ids=["predictions", "opinions"],
)
def test_constants_have_no_correlation_and_no_fit(x, y):
    found = {**agreement(x, y), **agreement_fitted(x, y)}
    assert {name for name, value in found.items() if math.isnan(value)} == set(MEASURES) - {"rmse"}
    assert fit_logistic(x, y) is None
    bounds = intervals(x, y, resamples=50)
    assert all(math.isnan(bound) for name in ("srcc", "krcc", "plcc", "plcc_fitted") for bound in bounds[name])
    assert bounds["rmse"][0] < found["rmse"] < bounds["rmse"][1]


def test_too_few_images_for_the_curve_is_said_not_raised():
    assert fit_logistic([1, 2, 3, 4], [1, 3, 2, 4]) is None
    assert math.isnan(agreement_fitted([1, 2, 3, 4], [1, 3, 2, 4])["plcc_fitted"])


@pytest.mark.parametrize("function", [agreement, agreement_fitted, fit_logistic, intervals])
@pytest.mark.parametrize(
    ("x", "y"),
    [([], []), ([1], [2]), ([1, 2, 3], [1, 2]), ([[1, 2], [3, 4]], [[1, 2], [3, 4]]), ([1, np.nan], [1, 2])],
    ids=["none", "one", "lengths", "table", "nan"],
)
def test_what_cannot_be_compared_is_an_invalid_argument(function, x, y):
    with pytest.raises(PscrError) as caught:
        function(x, y)
    assert caught.value.status is Status.INVALID_ARGUMENT


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"level": 1.0}, {"measures": ("auc",)}])
def test_an_interval_of_something_else_is_an_invalid_argument(wrong):
    with pytest.raises(PscrError, match="expected 1 or more, 0 to 1, srcc"):
        intervals([1, 2, 3], [1, 2, 3], **wrong)


def test_intervals_hold_every_figure_and_depend_on_nothing_but_the_seed():
    rng = np.random.default_rng(2)
    x = rng.uniform(0, 5, 120)
    y = x + rng.normal(0, 0.7, 120)
    figures = {**agreement(x, y), **agreement_fitted(x, y)}
    bounds = intervals(x, y, resamples=300)
    assert set(bounds) == set(MEASURES)
    assert all(bounds[name][0] < figures[name] < bounds[name][1] for name in MEASURES)
    again, other = intervals(x, y, resamples=300), intervals(x, y, resamples=300, seed=1)
    assert all(again[name] == pytest.approx(bounds[name], rel=1e-6) != other[name] for name in MEASURES)
    assert intervals(x, y, resamples=300, measures=("plcc",))["plcc"] == pytest.approx(bounds["plcc"])
    narrow = intervals(x, y, resamples=300, level=0.5)
    assert all(narrow[name][0] > bounds[name][0] and narrow[name][1] < bounds[name][1] for name in MEASURES)


def test_chunks_do_not_change_the_interval(monkeypatch):
    rng = np.random.default_rng(4)
    x = rng.uniform(0, 5, 50)
    y = Logistic(4.0, 1.0, 2.0, 0.5)(x) + rng.normal(0, 0.2, 50)
    whole = intervals(x, y, resamples=100)
    monkeypatch.setattr("pscr.training.metrics._CHUNK", 700)
    chunked = intervals(x, y, resamples=100)
    for name in MEASURES:
        assert chunked[name] == pytest.approx(whole[name], rel=1e-6), name


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Bivariate normal, rho = 0.7: PLCC is rho, SRCC is 6 / pi * asin(rho / 2), in about 95 % of 300 databases."""
    rho, repeats = 0.7, 300
    truth = {"plcc": rho, "srcc": 6 / math.pi * math.asin(rho / 2)}
    covered = dict.fromkeys(truth, 0)
    rng = np.random.default_rng(11)
    for repeat in range(repeats):
        x, noise = rng.normal(size=(2, 150))
        y = rho * x + math.sqrt(1 - rho**2) * noise
        for name, (low, high) in intervals(x, y, resamples=300, seed=repeat, measures=tuple(truth)).items():
            covered[name] += low <= truth[name] <= high
    assert all(0.90 <= count / repeats <= 0.98 for count in covered.values()), covered


def test_a_paired_difference_is_that_of_the_figures_and_surer_than_two_intervals():
    """Two metrics that share most of their errors: what is common to both does not widen the interval."""
    rng = np.random.default_rng(1)
    y = rng.uniform(0, 5, 150)
    common = y + rng.normal(0, 1, 150)
    first, second = common + rng.normal(0, 0.1, 150), common + rng.normal(0, 0.4, 150)
    found = paired(first, second, y, resamples=300)
    assert set(found) == {"srcc", "krcc", "plcc"}
    a, b = agreement(first, y), agreement(second, y)
    alone = intervals(first, y, resamples=300)
    for name, one in found.items():
        assert one.value == pytest.approx(a[name] - b[name])
        assert one.low < one.value < one.high
        assert one.high - one.low < 0.7 * (alone[name][1] - alone[name][0])
    turned = paired(second, first, y, resamples=300)
    assert turned["srcc"].low == pytest.approx(-found["srcc"].high)
    assert paired(first, first, y, resamples=50)["plcc"] == Difference(0.0, 0.0, 0.0)


def test_a_paired_interval_covers_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(12)
    covered = 0
    for repeat in range(200):
        y = rng.normal(size=120)
        first = 0.8 * y + 0.6 * rng.normal(size=120)
        second = 0.6 * y + 0.8 * rng.normal(size=120)
        found = paired(first, second, y, resamples=200, seed=repeat, measures=("plcc",))["plcc"]
        covered += found.low <= 0.2 <= found.high
    assert 0.90 <= covered / 200 <= 0.985


def test_what_cannot_be_paired_is_an_invalid_argument():
    for wrong in (([1, 2, 3], [1, 2], [1, 2, 3]), ([1, 2, 3], [1, math.nan, 2], [1, 2, 3])):
        with pytest.raises(PscrError) as caught:
            paired(*wrong)
        assert caught.value.status is Status.INVALID_ARGUMENT


def test_within_groups_is_the_weighted_mean_by_hand():
    """Four images in the right order (1), three of which the last two are swapped (0.5): (4 * 1 + 3 * 0.5) / 7."""
    x, y = [1, 2, 3, 4, 11, 13, 12], [5, 6, 7, 8, 1, 2, 3]
    found = within_groups(x, y, list("aaaabbb"), resamples=50)
    assert found.value == pytest.approx(5.5 / 7)
    assert (found.groups, found.images) == (2, 7)
    assert found.low <= found.value <= found.high


def test_what_tells_groups_apart_does_not_count_within_them():
    """Order between groups right, within them none: SRCC is high, within groups it is near 0."""
    rng = np.random.default_rng(3)
    groups = [str(group) for group in range(5) for _ in range(60)]
    x = np.array([10 * float(group) for group in groups]) + rng.normal(size=300)
    y = np.array([10 * float(group) for group in groups]) + rng.normal(size=300)
    found = within_groups(x, y, groups, resamples=200)
    assert agreement(x, y)["srcc"] > 0.9
    assert abs(found.value) < 0.15
    assert found.low < 0 < found.high


def test_small_and_constant_groups_do_not_count():
    found = within_groups([1, 2, 3, 1, 2, 1, 1, 1], [1, 2, 3, 2, 1, 1, 2, 3], list("aaabbccc"), resamples=20)
    assert (found.value, found.groups, found.images) == (1, 1, 3)
    nothing = within_groups([1, 2], [1, 2], ["a", "b"], resamples=20)
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)
    assert (nothing.groups, nothing.images) == (0, 0)


def test_of_many_groups_whole_ones_are_drawn_and_the_interval_covers_the_truth():
    """Groups of five: drawing images with repeats would make each look too well ordered."""
    rng = np.random.default_rng(5)
    covered = 0
    truth = np.mean([agreement(*correlated(rng, 5))["srcc"] for _ in range(4000)])
    for repeat in range(100):
        pairs = [correlated(rng, 5) for _ in range(40)]
        x, y = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        groups = [str(group) for group in range(40) for _ in range(5)]
        found = within_groups(x, y, groups, resamples=200, seed=repeat)
        covered += found.low <= truth <= found.high
    assert covered >= 86


def correlated(rng, count, rho=0.6):
    x, noise = rng.normal(size=(2, count))
    return x, rho * x + math.sqrt(1 - rho**2) * noise


def test_a_difference_within_groups_is_paired():
    rng = np.random.default_rng(6)
    groups = [str(group) for group in range(4) for _ in range(30)]
    y = rng.normal(size=120)
    first, second = y + rng.normal(0, 0.5, 120), y + rng.normal(0, 2, 120)
    one, other = (within_groups(x, y, groups, resamples=100) for x in (first, second))
    found = within_groups(first, y, groups, resamples=100, minus=second)
    assert found.value == pytest.approx(one.value - other.value)
    assert found.low > 0
    same = within_groups(first, y, groups, resamples=100, minus=first)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_groups_that_do_not_fit_are_an_invalid_argument():
    for wrong in ({"groups": ["a"]}, {"groups": list("abc"), "fewest": 1}):
        with pytest.raises(PscrError, match="expected a group for each image, and 2 or more"):
            within_groups([1, 2, 3], [1, 2, 3], **wrong)


def test_the_refit_of_all_resamples_at_once_is_the_fit_of_each():
    rng = np.random.default_rng(7)
    x = rng.uniform(-4, 4, (30, 60))
    y = Logistic(90.0, 10.0, 0.5, 0.7)(x) + rng.normal(0, 8, (30, 60))
    plcc, rmse = refit(Logistic(90.0, 10.0, 0.5, 0.7), x, y)
    alone = [agreement_fitted(*row) for row in zip(x, y, strict=True)]
    np.testing.assert_allclose(plcc, [one["plcc_fitted"] for one in alone], rtol=1e-6)
    np.testing.assert_allclose(rmse, [one["rmse_fitted"] for one in alone], rtol=1e-6)
