"""Figures of agreement against examples that can be checked by hand, and intervals against the truth."""

import math

import numpy as np
import pytest

from pscr import PscrError, Status
from pscr.training.metrics import MEASURES, Logistic, agreement, agreement_fitted, fit_logistic, intervals


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
