"""What is said of times is true of times whose answer is known."""

import numpy as np
import pytest

from pscr.bench.statistics import PERCENTILES, Timings, arrivals, is_stable, percentile, repeat, summary


def test_a_percentile_is_the_nearest_rank_and_a_value_that_occurred():
    values = [float(value) for value in range(1000, 0, -1)]
    assert [percentile(values, share) for share in PERCENTILES] == [500, 900, 950, 990, 999]
    assert percentile([3.0, 1.0, 2.0], 99.9) == 3
    assert percentile([7.0], 50) == 7
    rng = np.random.default_rng(3)
    drawn = rng.gamma(2, 10, 777).tolist()
    for share in PERCENTILES:
        assert percentile(drawn, share) == np.percentile(drawn, share, method="inverted_cdf")


@pytest.mark.parametrize(("values", "share"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_a_percentile_of_nothing_is_refused(values, share):
    with pytest.raises(ValueError, match="expected one value or more"):
        percentile(values, share)


def test_stable_means_that_the_last_three_of_six_windows_agree_within_a_tenth():
    early, late = [50.0] * 30, [10.0] * 10 + [10.5] * 10
    assert is_stable(early + late + [10.9] * 10)
    assert not is_stable(early + late + [11.2] * 10)
    assert not is_stable([10.0] * 50 + [12.0] * 10)
    assert is_stable([10.0] * 50 + [10.0] * 9 + [500.0]), "one outlier does not move a median"
    assert not is_stable([10.0] * 11), "too few to say so"
    assert is_stable([10.0] * 12)


def test_a_drift_that_has_not_ended_is_not_stable():
    assert not is_stable(np.linspace(100, 60, 120).tolist())


def test_warm_up_counts_in_no_figure():
    row = summary(Timings([900.0, 5.0], [1.0, 2.0, 3.0]))
    assert (row["first_ms"], row["p50_ms"], row["p99.9_ms"], row["mean_ms"], row["count"]) == (900, 2, 3, 2, 3)


def test_repeat_calls_in_turns_and_at_least_so_often():
    seen = []
    timings = repeat(seen.append, seconds=0, warm_up=3, least=12)
    assert seen == list(range(15))
    assert (len(timings.warm_up), len(timings.ms)) == (3, 12)


def test_arrivals_are_a_poisson_process_of_the_rate():
    due = np.array(arrivals(20.0, 20_001, seed=1))
    gaps = np.diff(due)
    assert due[0] == 0
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03), "exponential: deviation is the mean"
    a_second = np.bincount(due.astype(int))[:-1]
    assert a_second.var() == pytest.approx(20, rel=0.15), "Poisson: variance is the mean"
    assert arrivals(20.0, 50, seed=1) == arrivals(20.0, 50, seed=1) != arrivals(20.0, 50, seed=2)


@pytest.mark.parametrize(("rate", "count"), [(0.0, 3), (-1.0, 3), (float("nan"), 3), (1.0, 0)])
def test_a_rate_that_is_none_is_refused(rate, count):
    with pytest.raises(ValueError, match="expected a rate above 0"):
        arrivals(rate, count)
