"""ResNet18 and ResNet50 with torchvision's parameter names.

Structure: He et al., arXiv 1512.03385, table 1; as in torchvision/models/resnet.py the bottleneck strides in its 3x3
convolution, not in the first 1x1.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .base import Backbone, Layers, Residual, conv_bn, initialise, run

WIDTHS = (64, 128, 256, 512)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(Residual):
    """What both kinds have: a skip connection, with a strided 1x1 convolution on it where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def residual(self, x: Tensor) -> Tensor:
        """The block's own part, before it is added to the skip."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else run(self.downsample, x)
        return F.relu(self.dropped(self.residual(x)) + skip)


class BasicBlock(Block):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)

    def residual(self, x: Tensor) -> Tensor:
        """See Block."""
        return conv_bn(F.relu(conv_bn(x, self.conv1, self.bn1)), self.conv2, self.bn2)


class Bottleneck(Block):
    """1x1, 3x3, and 1x1 to four times the width."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, 4 * width, stride)
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, 4 * width, 1)
        self.bn3 = nn.BatchNorm2d(4 * width)

    def residual(self, x: Tensor) -> Tensor:
        """See Block."""
        x = F.relu(conv_bn(x, self.conv1, self.bn1))
        return conv_bn(F.relu(conv_bn(x, self.conv2, self.bn2)), self.conv3, self.bn3)


class ResNet(Backbone):
    """Four layers of residual blocks behind a 7x7 convolution. 512 pooled features, 2048 with bottlenecks.

    depths: blocks per layer.
    """

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], depths: tuple[int, ...]) -> None:
        super().__init__()
        self.conv1 = _conv(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for index, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True)):
            layer = nn.Sequential()
            for repeat in range(depth):
                layer.append(block(inputs, width, 2 if index and not repeat else 1))
                inputs = width * block.expansion
            self.add_module(f"layer{index + 1}", layer)
        initialise(self)

    def entry(self) -> Layers:
        """See Backbone."""
        return [self.conv1, self.bn1, self.relu, self.maxpool]

    def blocks(self) -> list[Layers]:
        """See Backbone."""
        return [[block] for index in range(1, 5) for block in self.get_submodule(f"layer{index}").children()]
