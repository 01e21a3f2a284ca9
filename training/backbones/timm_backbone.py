"""Any network of timm (PyTorch Image Models) as a backbone: `timm:NAME`, such as `timm:convnext_atto.d2_in1k`.

The only import of timm. Source: https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import PscrError, Status, one_line
from ...runtime.samplings.grid import PUBLISHED
from .base import Backbone, Layers
from .spec import TIMM, BackboneSpec


class TimmBackbone(Backbone):
    """A network of timm without its classifier; its pooled output are the features.

    Where it can be cut timm does not say in one way for all, so it has no blocks to freeze and no depths.

    name: timm's own, without `timm:`. The weights are random.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.network: Any = _create(name)

    def blocks(self) -> list[Layers]:
        """See Backbone."""
        return []

    def trunk(self, x: Tensor, blocks: int) -> Tensor:
        """See Backbone; `blocks` is 0."""
        pooled: Tensor = self.network(x)
        return pooled

    def after(self, blocks: int) -> list[nn.Parameter]:
        """See Backbone; `blocks` is 0."""
        return list(self.parameters())

    def named(self) -> nn.Module:
        """See Backbone."""
        network: nn.Module = self.network
        return network

    def set_drop_path(self, rate: float) -> None:
        """See Backbone. Each process draws for its own part of a batch."""
        drops = [module for module in self.network.modules() if isinstance(module, _timm().layers.DropPath)]
        for index, drop in enumerate(drops, 1):
            drop.drop_prob = rate * index / len(drops)

    def fuse(self) -> None:
        """Let attention be products and a softmax, and the last pool a mean: operators that every library has.

        Batch normalisations are left to the exporter, which folds them by the order of the graph; that of timm's layers
        their names do not say.
        """
        for module in self.network.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False
            for name, child in module.named_children():
                if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size in (1, (1, 1)):
                    setattr(module, name, _Mean())


class _Mean(nn.Module):
    """[N,C,H,W] to [N,C,1,1], as AdaptiveAvgPool2d(1) without its strides, which the exporter would gather by."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


def spec(name: str) -> BackboneSpec:
    """What training and export must know of `timm:NAME`: the network's features, its input and its normalisation.

    Raises:
        PscrError: INVALID_ARGUMENT: timm is not installed, has no such network, or one for patches that no sampling
            cuts.
    """
    own = name.removeprefix(TIMM)
    with torch.device("meta"):
        network = _create(own)
    found = network.pretrained_cfg
    classifier = found.get("classifier") or ()
    side, fixed = found["input_size"][-1], bool(found.get("fixed_input_size"))
    if fixed and side not in PUBLISHED:
        sides = " or ".join(map(str, PUBLISHED))
        raise PscrError(Status.INVALID_ARGUMENT, f"{name} sees {side}x{side} pixels and nothing else; expected {sides}")
    return BackboneSpec(
        name,
        partial(TimmBackbone, own),
        channels=network.head_hidden_size,
        blocks=0,
        ignored=tuple(f"{layer}." for layer in ([classifier] if isinstance(classifier, str) else classifier)),
        published=partial(_published, own),
        patch=side if side in PUBLISHED else 224,
        fixed=fixed,
        normalisation=(tuple(found["mean"]), tuple(found["std"])),
    )


def _published(name: str) -> dict[str, Tensor]:
    """The weights that timm publishes of a network of its own, from its cache or the network.

    Raises:
        PscrError: FILE_NOT_FOUND where there are none, or they cannot be had.
    """
    try:
        network = _timm().create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:
        found = f"the weights of {name} cannot be had from timm ({one_line(error)})"
        raise PscrError(Status.FILE_NOT_FOUND, f"{found}; name a file: --pretrained FILE, or none") from error
    state: dict[str, Tensor] = network.state_dict()
    return state


def _create(name: str) -> Any:
    """The network with random weights, and stochastic depth where it can have it."""
    timm = _timm()
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0]}*")[:5]) or "see timm.list_models()"
        raise PscrError(Status.INVALID_ARGUMENT, f"timm {timm.__version__} has no network {name!r}; it has {near}")
    try:
        return timm.create_model(name, num_classes=0, drop_path_rate=0.1)  # the layers; `set_drop_path` has the rates
    except TypeError:
        return timm.create_model(name, num_classes=0)


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        found = f"backbones of timm need it ({one_line(error)})"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; pip install 'pscr[timm]'") from error
    return timm
