"""The losses are the formulas of the paper, whatever form they are computed in."""

import torch

from pscr.training.losses import direct_loss, pair_loss, partner_loss
from pscr.training.regressor import DirectRegressor, Regressor

torch.manual_seed(0)
FEATURES, OPINION = torch.randn(6, 8), torch.rand(6) * 5


def test_the_partner_loss_is_the_published_one():
    regressor = Regressor(8)
    a, b, ya, yb = FEATURES[:3], FEATURES[3:], OPINION[:3], OPINION[3:]
    expected = ((regressor(a, b) - (ya - yb)) ** 2).mean() + ((regressor(b, a) - (yb - ya)) ** 2).mean()
    torch.testing.assert_close(partner_loss(regressor, FEATURES, OPINION), expected)


def test_the_pair_loss_is_the_mean_over_every_two_different_images():
    regressor = Regressor(8)
    errors = [
        (regressor(FEATURES[i : i + 1], FEATURES[j : j + 1]) - (OPINION[i] - OPINION[j])) ** 2
        for i in range(6)
        for j in range(6)
        if i != j
    ]
    torch.testing.assert_close(pair_loss(regressor, FEATURES, OPINION), torch.cat(errors).mean())


def test_the_direct_loss_is_the_mean_squared_error_from_the_centre():
    regressor = DirectRegressor(8)
    scores = 2.5 + regressor(FEATURES, FEATURES)
    torch.testing.assert_close(direct_loss(regressor, FEATURES, OPINION, 2.5), ((scores - OPINION) ** 2).mean())
