"""What a training step minimises."""

from __future__ import annotations

from torch import Tensor, nn

from .regressor import Regressor


def pair_loss(regressor: Regressor, features: Tensor, opinion: Tensor) -> Tensor:
    """The contrastive loss over all ordered pairs of two different images of a batch.

    features [B,C], opinion [B]. It is the mean squared error of the predicted differences; both orders of a pair count
    (PSCR equation 6).
    """
    errors, count = _errors(regressor, features, opinion), len(opinion)
    return (errors.sum() - errors.diagonal().sum()) / (count * (count - 1))


def mixture_loss(
    regressor: Regressor, features: Tensor, opinion: Tensor, images: Tensor, copies: Tensor, weight: float
) -> Tensor:
    """The contrastive loss over the pairs of images, and `weight` times that over pairs with a copy among them.

    features [B,C], opinion [B], standardised. images, copies: [B,B] bool, see `Mixture.pairs`.
    """
    errors = _errors(regressor, features, opinion)
    return _mean_of(errors, images) + weight * _mean_of(errors, copies)


def partner_loss(regressor: Regressor, features: Tensor, opinion: Tensor) -> Tensor:
    """The published loss: MSE(delta(a,b), y_a - y_b) + MSE(delta(b,a), y_b - y_a) for B images and a partner of each.

    features [2B,C] and opinion [2B]: the images, then their partners in the same order.
    """
    a, b = features.chunk(2)
    wanted = opinion[: len(a)] - opinion[len(a) :]
    mse = nn.functional.mse_loss
    return mse(regressor(a, b), wanted) + mse(regressor(b, a), -wanted)


def direct_loss(regressor: Regressor, features: Tensor, opinion: Tensor, centre: float) -> Tensor:
    """The mean squared error of scores that are regressed directly, for B images.

    centre: the mean opinion of the training images, which is what the regressor's 0 stands for.
    """
    return nn.functional.mse_loss(regressor(features, features), opinion - centre)


def _errors(regressor: Regressor, features: Tensor, opinion: Tensor) -> Tensor:
    """The squared errors [B,B] of the differences of every two images."""
    found = regressor.differences(regressor.query_part(features), regressor.terms(features))
    return (found - (opinion[:, None] - opinion[None])) ** 2


def _mean_of(errors: Tensor, pairs: Tensor) -> Tensor:
    """The mean over chosen pairs [B,B]; 0 where there are none."""
    return (errors * pairs).sum() / pairs.sum().clamp(min=1)
