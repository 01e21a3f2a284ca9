"""The network that is trained: an encoder, four local features of each view, and a projector that is left behind."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones import BackboneSpec

PROJECTED = 128
PARTS = 2  # along each side of a view


class ContrastiveNetwork(nn.Module):
    """`local` gives the encoder's features of the parts of a view, `projector` what the loss compares."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.encoder = spec.build()
        self.projector = nn.Sequential(
            nn.Linear(spec.channels, spec.channels, bias=False),
            nn.BatchNorm1d(spec.channels),
            nn.ReLU(),
            nn.Linear(spec.channels, PROJECTED, bias=False),
            nn.BatchNorm1d(PROJECTED),
        )
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def local(self, views: Tensor, frozen_blocks: int) -> Tensor:
        """[M,S,S,3] uint8 RGB to features of length 1 of each view's four quarters, [4*M,C] float32.

        The first `frozen_blocks` blocks keep nothing for gradients.
        """
        pixels = views.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last)
        with torch.set_grad_enabled(not frozen_blocks and torch.is_grad_enabled()):
            stem = self.encoder.stem((pixels - self.mean) / self.std, frozen_blocks)
        maps = self.encoder.maps(stem, frozen_blocks).float()
        pooled = F.adaptive_avg_pool2d(maps, PARTS).flatten(2)  # [M,C,4]
        return F.normalize(pooled.transpose(1, 2).flatten(0, 1), dim=1)
