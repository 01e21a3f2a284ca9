"""VGG16 and VGG19 without batch normalisation, with torchvision's parameter names.

Structure: Simonyan and Zisserman, arXiv 1409.1556, table 1, columns D and E; names as in torchvision/models/vgg.py.
"""

from __future__ import annotations

from torch import nn

from .base import Backbone, Layers, initialise

WIDTHS = (64, 128, 256, 512, 512)
VGG16 = (2, 2, 3, 3, 3)
VGG19 = (2, 2, 4, 4, 4)


class VGG(Backbone):
    """The `features` part: 3x3 convolutions in five groups, each closed by a max pool. 512 pooled features.

    depths: convolutions per group. Every convolution (with the pool behind it, if any) is a block.
    """

    def __init__(self, depths: tuple[int, ...]) -> None:
        super().__init__()
        layers: Layers = []
        inputs = 3
        for depth, width in zip(depths, WIDTHS, strict=True):
            for _ in range(depth):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        initialise(self)

    def blocks(self) -> list[Layers]:
        """See Backbone."""
        result: list[Layers] = []
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                result.append([])
            result[-1].append(layer)
        return result
