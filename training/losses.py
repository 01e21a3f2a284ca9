"""What a training step minimises."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .regressor import Regressor


def pair_loss(
    regressor: Regressor,
    features: Tensor,
    opinion: Tensor,
    rank_weight: float = 0.0,
    rank_scale: float = 1.0,
) -> Tensor:
    """The contrastive loss over all ordered pairs of a batch, and optionally a ranking loss on the same differences.

    features [B,C], opinion [B]. The first part is the mean squared error of the predicted differences (both orders of
    a pair count, PSCR equation 6). The second, times `rank_weight`, is the cross-entropy between the chances that a is
    preferred to b, logistic in the difference over `rank_scale`: it has the same minimum, but is moved by close pairs,
    which decide the rank correlation, and hardly by distant ones (RankNet, Burges et al. 2005).
    """
    found = regressor.differences(regressor.query_part(features), regressor.terms(features))
    wanted = opinion[:, None] - opinion[None]
    errors = (found - wanted) ** 2
    if rank_weight:
        errors = errors + rank_weight * _ranking(found, wanted, rank_scale)
    return _off_diagonal_mean(errors)


def mixture_loss(
    regressor: Regressor, features: Tensor, opinion: Tensor, images: Tensor, copies: Tensor, weight: float
) -> Tensor:
    """The contrastive loss over the pairs of images, and `weight` times that over pairs with a copy among them.

    features [B,C], opinion [B], standardised. images, copies: [B,B] bool, see `Mixture.pairs`.
    """
    found = regressor.differences(regressor.query_part(features), regressor.terms(features))
    errors = (found - (opinion[:, None] - opinion[None])) ** 2
    return _mean_of(errors, images) + weight * _mean_of(errors, copies)


def partner_loss(regressor: Regressor, features: Tensor, opinion: Tensor) -> Tensor:
    """The published loss: MSE(delta(a,b), y_a - y_b) + MSE(delta(b,a), y_b - y_a) for B images and a partner of each.

    features [2B,C] and opinion [2B]: the images, then their partners in the same order.
    """
    a, b = features.chunk(2)
    wanted = opinion[: len(a)] - opinion[len(a) :]
    mse = nn.functional.mse_loss
    return mse(regressor(a, b), wanted) + mse(regressor(b, a), -wanted)


def direct_loss(
    regressor: Regressor,
    features: Tensor,
    opinion: Tensor,
    centre: float,
    rank_weight: float = 0.0,
    rank_scale: float = 1.0,
) -> Tensor:
    """The mean squared error of scores that are regressed directly, for B images, and optionally the ranking loss.

    centre: the mean opinion of the training images, which is what the regressor's 0 stands for.
    """
    found = regressor(features, features)
    loss = nn.functional.mse_loss(found, opinion - centre)
    if rank_weight:
        ranking = _ranking(found[:, None] - found[None], opinion[:, None] - opinion[None], rank_scale)
        loss = loss + rank_weight * _off_diagonal_mean(ranking)
    return loss


def blend(features: Tensor, opinion: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Mixup of pooled features [B,C] and opinion scores [B], each with a random partner of the batch.

    Features are averages over patches, so a blend stands for an image that has patches of both.
    Source: mixup (arXiv 1710.09412) at the last hidden layer.
    """
    if not strength:
        return features, opinion
    own = torch.distributions.Beta(strength, strength).sample((len(opinion), 1)).clamp(1e-3, 1).to(features.device)
    partner = torch.randperm(len(opinion)).to(features.device)
    return own * features + (1 - own) * features[partner], own[:, 0] * opinion + (1 - own[:, 0]) * opinion[partner]


def _ranking(found: Tensor, wanted: Tensor, scale: float) -> Tensor:
    chance = torch.sigmoid(wanted / scale)
    return nn.functional.binary_cross_entropy_with_logits(found / scale, chance, reduction="none")


def _off_diagonal_mean(errors: Tensor) -> Tensor:
    """The mean over all pairs [B,B] of two different images."""
    count = len(errors)
    return (errors.sum() - errors.diagonal().sum()) / (count * (count - 1))


def _mean_of(errors: Tensor, pairs: Tensor) -> Tensor:
    """The mean over chosen pairs [B,B]; 0 where there are none."""
    return (errors * pairs).sum() / pairs.sum().clamp(min=1)
