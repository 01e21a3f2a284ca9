"""Ridge regression is the textbook's, for every strength, and parts and samples keep groups whole."""

from __future__ import annotations

import numpy as np
import pytest

from pscr.runtime import ridge


def problem(images: int, features: int, seed: int = 0) -> tuple[ridge.Floats, ridge.Floats]:
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 2, (images, features)) * rng.uniform(0.1, 10, features)
    return values, values @ rng.normal(0, 1, features) + rng.normal(0, 1, images)


@pytest.mark.parametrize(("images", "features"), [(40, 7), (7, 40), (20, 20), (2, 3)])
@pytest.mark.parametrize("strength", [ridge.STRENGTHS[0], 0.1, ridge.STRENGTHS[-1]])
def test_a_line_solves_the_normal_equations_of_standardised_features(
    images: int, features: int, strength: float
) -> None:
    values, labels = problem(images, features)
    line = ridge.Ridge(values, labels).line(strength)
    standard = (values - values.mean(0)) / values.std(0)
    normal = standard.T @ standard + strength * images * np.eye(features)
    weights = np.linalg.solve(normal, standard.T @ (labels - labels.mean()))
    np.testing.assert_allclose(line(values), standard @ weights + labels.mean(), rtol=1e-8)


@pytest.mark.parametrize(("images", "features"), [(40, 7), (7, 40)])
def test_all_strengths_at_once_are_those_one_by_one(images: int, features: int) -> None:
    values, labels = problem(images, features)
    other, _ = problem(11, features, 1)
    found = ridge.Ridge(values, labels)
    expected = [found.line(strength)(other) for strength in ridge.STRENGTHS]
    np.testing.assert_allclose(found.predicted(other), expected, rtol=1e-8, atol=1e-8)


def test_a_feature_that_is_always_the_same_has_no_weight() -> None:
    values, labels = problem(30, 4)
    values[:, 2] = 3
    line = ridge.Ridge(values, labels).line(1e-5)
    assert line.weights[2] == 0
    assert np.isfinite(line.weights).all()


def test_more_noise_asks_for_a_stronger_penalty() -> None:
    values, _ = problem(60, 30)
    signal = values[:, 0] / values[:, 0].std()
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, 60)
    groups = np.arange(60)
    strengths = [
        ridge.strength_of(values, signal + level * noise, groups, np.random.default_rng(2)) for level in (0.01, 3)
    ]
    assert strengths[0] < strengths[1]


def test_parts_and_samples_keep_groups_whole() -> None:
    groups = np.repeat(np.arange(12), [1, 5, 2, 3, 1, 4, 2, 2, 6, 1, 3, 2])
    rng = np.random.default_rng(0)
    parts = ridge.folds(groups, rng)
    assert sorted(np.concatenate(parts)) == list(range(len(groups)))
    assert sum(len(set(groups[part])) for part in parts) == 12
    sample = ridge.resampled(groups, rng)
    drawn, counts = np.unique(groups[sample], return_counts=True)
    sizes = np.bincount(groups)[drawn]
    assert (counts % sizes == 0).all()
    assert sum(counts // sizes) == 12
