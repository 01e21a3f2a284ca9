"""What every backbone is: a chain of layers that training can freeze from the front and export can fuse."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn

Layers = list[nn.Module]


class Backbone(nn.Module):
    """A network without its classifier: an entry, blocks, a tail, and a global average pool.

    `forward` maps normalised images [N,3,H,W] float32 to pooled features [N,C]. A subclass names its layers as the
    public checkpoint does and says in `blocks`, and in `entry` and `tail` where it has them, in which order they run.
    Every BatchNorm2d is registered right behind its Conv2d, which has no bias; `fuse` relies on it.
    """

    def entry(self) -> Layers:
        """The layers ahead of the first block."""
        return []

    def blocks(self) -> list[Layers]:
        """The blocks: where the chain may be cut into a frozen and a trained part."""
        raise NotImplementedError

    def tail(self) -> Layers:
        """The layers between the last block and the pool."""
        return []

    def stages(self) -> list[tuple[int, int]]:
        """The depths that features may also be taken from: (blocks done, channels), where a stage ends at stride 8 or
        more. None where a backbone does not say.
        """
        return []

    def stem(self, x: Tensor, blocks: int) -> Tensor:
        """The entry and the first `blocks` blocks: the part that training may freeze and cache."""
        return run([*self.entry(), *_joined(self.blocks()[:blocks])], x)

    def trunk(self, x: Tensor, blocks: int) -> Tensor:
        """All that follows `stem(x, blocks)`, to the pooled features [N,C]."""
        return self.maps(x, blocks).mean((2, 3))

    def maps(self, x: Tensor, blocks: int) -> Tensor:
        """What follows `stem(x, blocks)`, to the features [N,C,h,w] of every place, which `trunk` pools."""
        return run([*_joined(self.blocks()[blocks:]), *self.tail()], x)

    def depths(self, x: Tensor, blocks: int) -> Tensor:
        """Features of several depths behind `stem(x, blocks)`: [N, 2 * (channels of all stages + C)] float32.

        Mean and standard deviation over the positions of each stage's end, and of the tail's output. `blocks` is at
        most the first stage's.
        """
        ends, maps = {done for done, _ in self.stages()}, []
        for done, layers in enumerate([[], *self.blocks()[blocks:]], blocks):
            x = run(layers, x)
            if done in ends:
                maps.append(x)
        maps.append(run(self.tail(), x))
        return torch.cat([statistic for found in maps for statistic in _statistics(found.float())], 1)

    def after(self, blocks: int) -> list[nn.Parameter]:
        """The parameters that `trunk(x, blocks)` uses."""
        layers = [*_joined(self.blocks()[blocks:]), *self.tail()]
        return [parameter for layer in layers for parameter in layer.parameters()]

    def named(self) -> nn.Module:
        """The module whose parameters have the names of the public checkpoint."""
        return self

    def set_shard(self, part: int, parts: int) -> None:
        """Say which part of every batch this process passes; see `Residual`."""
        for module in self.modules():
            if isinstance(module, Residual):
                module.shard = (part, parts)

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth in training: blocks are skipped by a chance that rises from 0 to `rate` at the end.

        A network without skip connections (VGG, InceptionV4) has nothing to skip, and stays as it is.
        """
        blocks = self.blocks()
        for index, layers in enumerate(blocks):
            for layer in layers:
                if isinstance(layer, Residual):
                    layer.drop_path = rate * index / len(blocks)

    def fuse(self) -> None:
        """Fold every batch normalisation into its convolution, for good: the network can be run, not trained."""
        for module in list(self.modules()):
            for (_, conv), (name, bn) in pairwise(list(module.named_children())):
                if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                    weight, bias = _folded(conv, bn)
                    conv.weight, conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
                    setattr(module, name, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.trunk(self.stem(x, 0), 0)


class Residual(nn.Module):
    """A block with a skip connection around it; `drop_path` is the chance that training takes the skip alone.

    shard: (k, n) where this process passes the k-th of n equal parts of a batch: it draws for the whole batch and
        takes its own part, so that the draws are those of one process.
    """

    drop_path = 0.0
    shard = (0, 1)

    def dropped(self, y: Tensor) -> Tensor:
        """The block's own part [N,C,H,W], in training left out for a random share of the N, the others scaled up."""
        if not (self.training and self.drop_path):
            return y
        part, parts = self.shard
        drawn = torch.rand(parts * len(y), 1, 1, 1, device=y.device)[part * len(y) : (part + 1) * len(y)]
        return y * ((drawn >= self.drop_path) / (1 - self.drop_path))


def run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """One layer after the other; convolution and batch normalisation in pairs, as `conv_bn` has them."""
    chain = iter([*layers, nn.Identity()])
    layer = next(chain)
    for following in chain:
        if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            x, following = conv_bn(x, layer, following), nn.Identity()
        else:
            x = layer(x)
        layer = following
    return x


def conv_bn(x: Tensor, conv: nn.Conv2d, bn: nn.Module) -> Tensor:
    """Convolution and batch normalisation (`bn` is an Identity after `Backbone.fuse`).

    With frozen statistics (`bn.eval()`) the normalisation is folded into the convolution's weight: the same
    function and the same gradients, without a second pass over the activations.
    """
    if not isinstance(bn, nn.BatchNorm2d) or bn.training:
        return bn(conv(x))
    return conv._conv_forward(x, *_folded(conv, bn))


def initialise(module: nn.Module) -> None:
    """Random weights that keep the scale of the activations from layer to layer, as torchvision draws them."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _folded(conv: nn.Conv2d, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that equals `conv` followed by `bn` with frozen statistics."""
    assert conv.bias is None
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
    return conv.weight * scale[:, None, None, None], bn.bias - bn.running_mean * scale


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [N,C] each of [N,C,H,W] over the positions, in fp32."""
    mean = x.mean((2, 3), keepdim=True)
    return mean.flatten(1), torch.sqrt((x - mean).square().mean((2, 3)) + 1e-6)


def _joined(parts: list[Layers]) -> Layers:
    return [layer for layers in parts for layer in layers]
