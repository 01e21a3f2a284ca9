"""Which training images become exemplars."""

import numpy as np
import pytest

from pscr import PscrError
from pscr.export.exemplar_choice import choose

SCORES = np.random.default_rng(0).uniform(0, 4.5, 100)


def test_all_takes_every_image():
    assert choose(SCORES, "all") == list(range(100))


def test_spread_represents_every_quality():
    chosen = choose(SCORES, "spread:10")
    assert len(set(chosen)) == 10
    deciles = np.searchsorted(np.quantile(SCORES, np.arange(0.1, 1, 0.1)), SCORES[chosen])
    assert sorted(deciles) == list(range(10))


def test_random_is_a_function_of_its_seed():
    assert choose(SCORES, "random:10", 1) == choose(SCORES, "random:10", 1)
    assert choose(SCORES, "random:10", 1) != choose(SCORES, "random:10", 2)
    assert len(set(choose(SCORES, "random:100", 1))) == 100


@pytest.mark.parametrize(
    "selection", ["", "all:3", "spread", "spread:0", "random:101", "random:-1", "best:3", "spread:x"]
)
def test_a_bank_that_cannot_be_chosen_is_refused(selection):
    with pytest.raises(PscrError, match="expected all, spread:K or random:K"):
        choose(SCORES, selection)
