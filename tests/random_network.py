"""Networks with random weights whose activations have the scale that trained ones have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pscr.training.model import PSCR, build


def settled(backbone: str, seed: int = 0) -> PSCR:
    """The network in evaluation mode; its batch normalisations hold the statistics of `structure`."""
    torch.manual_seed(seed)
    model = build(backbone).train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = 1.0
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.2)
        model.backbone(structure(4, 128 if model.spec.patch < 299 else 203))
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
    return model.eval()


def structure(count: int, side: int) -> Tensor:
    """Normalised images [count,3,side,side] with as much in them at every scale."""
    scales = [torch.randn(count, 3, max(side // step, 1), max(side // step, 1)) for step in (1, 4, 16, 64)]
    return torch.stack([nn.functional.interpolate(scale, (side, side)) for scale in scales]).sum(0) / 2
