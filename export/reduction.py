"""A regressor of fewer parameters: what of the features its first layer looks at, as few dimensions.

The first layer meets the features of images only, and those vary in few directions; the rest of its weights multiply
what is nearly constant. So the layer's outputs are projected on the directions in which they vary most over some
images, and the layer becomes two thin ones: C*R + 2*R*H weights in place of 2*C*H.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ..runtime.errors import PscrError, Status
from ..training.model import PSCR


def reduce(model: PSCR, features: Tensor, rank: int) -> PSCR:
    """A copy of the network whose regressor's first layer has rank `rank`; `ScoreGraph` writes it as two layers.

    features: [n,C] of images, by which the directions are found; their mean output is kept exactly.

    Raises:
        PscrError: INVALID_ARGUMENT for direct regression, or a rank that is not below 2 * H, C and the images.
    """
    regressor = model.regressor
    most = min(2 * regressor.hidden, regressor.channels, len(features)) - 1
    if model.direct:
        raise PscrError(Status.INVALID_ARGUMENT, f"--rank {rank}: direct regression (nr) has no halves to be reduced")
    if not 1 <= rank <= most:
        raise PscrError(Status.INVALID_ARGUMENT, f"--rank {rank}: expected 1 to {most} for this network and images")
    result = copy.deepcopy(model)
    weight, bias = result.regressor.fc1.weight, result.regressor.fc1.bias
    with torch.no_grad():
        halves = torch.cat(weight.double().split(regressor.channels, 1))  # [2H,C]: the query's, the exemplar's
        outputs = features.double() @ halves.T
        mean = outputs.mean(0)
        directions = torch.linalg.svd(outputs - mean, full_matrices=False)[2][:rank]
        kept = directions.T @ directions
        constant = (mean - kept @ mean).reshape(2, -1).sum(0)
        weight.copy_(torch.cat((kept @ halves).split(regressor.hidden), 1))
        bias.add_(constant.float())
    return result


def factors(model: PSCR, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The first layer of a network that was reduced to `rank`, as basis [C,R], query [R,H] and exemplar [R,H]."""
    regressor = model.regressor
    halves = torch.cat(regressor.fc1.weight.detach().double().split(regressor.channels, 1))
    left, scale, right = torch.linalg.svd(halves, full_matrices=False)
    root = scale[:rank].sqrt()
    query, exemplar = (left[:, :rank] * root).float().split(regressor.hidden)
    return (right[:rank].T * root).float().contiguous(), query.T.contiguous(), exemplar.T.contiguous()
