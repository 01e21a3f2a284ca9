"""CONTRIQUE's loss: features of one class are drawn together, and apart from all others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(projected: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """The normalised, temperature-scaled cross entropy over classes (arXiv 2110.13266, equation 2).

    projected: [N,D] float32, scaled to length 1 here. classes: [N] int64, each of them at least twice.
    With s the cosines over the temperature: the mean over i of log(sum of exp(s_ik), k other than i) less the mean of
    s_ij over the others j of i's class. Returns a scalar.

        >>> two = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
        >>> contrastive_loss(two, torch.tensor([7, 7]), 0.1).item()
        0.0
    """
    unit = F.normalize(projected, dim=1)
    similar = unit @ unit.T / temperature
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    positive = (classes[:, None] == classes[None, :]) & ~itself
    everyone = similar.masked_fill(itself, -torch.inf).logsumexp(1)
    drawn = (similar * positive).sum(1) / positive.sum(1)
    return (everyone - drawn).mean()
