"""The regressor trained alone, on features that do not change: seconds on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 64


def cosine(progress: float) -> float:
    """The cosine schedule: 1 at 0, 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def train_head(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor, Tensor], Tensor],
    views: Tensor,
    opinion: Tensor,
    rng: np.random.Generator,
    *,
    epochs: int,
    rate: float,
    weight_decay: float,
    dropout: float,
) -> None:
    """Change the parameters by AdamW, in `epochs` passes through the images.

    loss: of the features [B,C] and the opinions [B] of a batch. views [V,N,C]: the features of each image, such as
    those of it and of its mirror image; a step takes one view of all its images. opinion [N]. rate: the learning rate
    that the first epoch begins with; it falls to zero as a cosine.
    """
    optimizer, size = torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay), min(BATCH, len(opinion))
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = rate * cosine(epoch / epochs)
        order = rng.permutation(len(opinion))
        for start in range(0, len(order) - size + 1, size):
            chosen = order[start : start + size]
            features = nn.functional.dropout(views[rng.integers(0, len(views)), chosen], dropout)
            found = loss(features, opinion[chosen])
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
