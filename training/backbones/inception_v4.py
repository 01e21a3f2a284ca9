"""InceptionV4 with the parameter names of Cadene's pretrained-models.pytorch.

Structure: Szegedy et al., arXiv 1602.07261, figures 3 to 9; names, the order of concatenation and the batch
normalisation's epsilon as in pretrainedmodels/models/inceptionv4.py, whose weights are TensorFlow's own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Backbone, Layers, conv_bn, initialise

Kernel = int | tuple[int, int]


class ConvBN(nn.Module):
    """Convolution, batch normalisation, ReLU; padded to keep the size unless `valid`."""

    def __init__(self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, valid: bool = False) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid else (height // 2, width // 2)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(conv_bn(x, self.conv, self.bn))


class Parallel(nn.Module):
    """Named branches on one input, concatenated along the channels in the order they are given."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], 1)


def _chain(inputs: int, *convs: tuple[int, Kernel]) -> Layers:
    """Size-keeping convolutions in a row; each is (outputs, kernel)."""
    layers: Layers = []
    for outputs, kernel in convs:
        layers.append(ConvBN(inputs, outputs, kernel))
        inputs = outputs
    return layers


def _down(inputs: int, outputs: int) -> ConvBN:
    """A convolution that halves the size."""
    return ConvBN(inputs, outputs, 3, 2, valid=True)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, 2)


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    """The branch that averages 3x3 neighbours and mixes channels."""
    return nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), ConvBN(inputs, outputs, 1))


def _mixed_4a() -> Parallel:
    return Parallel(
        branch0=nn.Sequential(*_chain(160, (64, 1)), ConvBN(64, 96, 3, valid=True)),
        branch1=nn.Sequential(*_chain(160, (64, 1), (64, (1, 7)), (64, (7, 1))), ConvBN(64, 96, 3, valid=True)),
    )


def _inception_a() -> Parallel:
    return Parallel(
        branch0=ConvBN(384, 96, 1),
        branch1=nn.Sequential(*_chain(384, (64, 1), (96, 3))),
        branch2=nn.Sequential(*_chain(384, (64, 1), (96, 3), (96, 3))),
        branch3=_pooled(384, 96),
    )


def _reduction_a() -> Parallel:
    return Parallel(
        branch0=_down(384, 384),
        branch1=nn.Sequential(*_chain(384, (192, 1), (224, 3)), _down(224, 256)),
        branch2=_pool(),
    )


def _inception_b() -> Parallel:
    row, column = (1, 7), (7, 1)
    return Parallel(
        branch0=ConvBN(1024, 384, 1),
        branch1=nn.Sequential(*_chain(1024, (192, 1), (224, row), (256, column))),
        branch2=nn.Sequential(*_chain(1024, (192, 1), (192, column), (224, row), (224, column), (256, row))),
        branch3=_pooled(1024, 128),
    )


def _reduction_b() -> Parallel:
    return Parallel(
        branch0=nn.Sequential(*_chain(1024, (192, 1)), _down(192, 192)),
        branch1=nn.Sequential(*_chain(1024, (256, 1), (256, (1, 7)), (320, (7, 1))), _down(320, 320)),
        branch2=_pool(),
    )


class InceptionC(nn.Module):
    """The block at the smallest size; two of its branches fork at their end."""

    def __init__(self) -> None:
        super().__init__()
        row, column = (1, 3), (3, 1)
        self.branch0 = ConvBN(1536, 256, 1)
        self.branch1_0 = ConvBN(1536, 384, 1)
        self.branch1_1a = ConvBN(384, 256, row)
        self.branch1_1b = ConvBN(384, 256, column)
        self.branch2_0 = ConvBN(1536, 384, 1)
        self.branch2_1 = ConvBN(384, 448, column)
        self.branch2_2 = ConvBN(448, 512, row)
        self.branch2_3a = ConvBN(512, 256, row)
        self.branch2_3b = ConvBN(512, 256, column)
        self.branch3 = _pooled(1536, 256)

    def forward(self, x: Tensor) -> Tensor:
        one = self.branch1_0(x)
        two = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        forks = [self.branch1_1a(one), self.branch1_1b(one), self.branch2_3a(two), self.branch2_3b(two)]
        return torch.cat([self.branch0(x), *forks, self.branch3(x)], 1)


class InceptionV4(Backbone):
    """22 parts, each a block, numbered as in the checkpoint. 1536 pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _down(3, 32),
            ConvBN(32, 32, 3, valid=True),
            ConvBN(32, 64, 3),
            Parallel(maxpool=_pool(), conv=_down(64, 96)),
            _mixed_4a(),
            Parallel(conv=_down(192, 192), maxpool=_pool()),
            *(_inception_a() for _ in range(4)),
            _reduction_a(),
            *(_inception_b() for _ in range(7)),
            _reduction_b(),
            *(InceptionC() for _ in range(3)),
        )
        initialise(self)

    def blocks(self) -> list[Layers]:
        """See Backbone."""
        return [[part] for part in self.features]
