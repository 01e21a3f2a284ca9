"""The PSCR network: normalisation, shared backbone over patches, contrastive regressor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..runtime.errors import PscrError, Status
from ..runtime.samplings import SAMPLINGS, Ops, Sampling
from .backbones import BackboneSpec, find
from .backbones.base import Backbone
from .config import FEATURES, METHODS, PATCHED
from .pretrained import imagenet_weights
from .regressor import DirectRegressor, Regressor


class PSCR(nn.Module):
    """Backbone and regressor; `features` pools each patch and averages over the patches of an image.

    sampling: the patches it is trained on and served with; the published ones where it is None.
    direct: regress the score itself (NR) in place of differences to exemplars.
    depths: features of several depths in place of the last one's, standardised by what `standardise` found.
    hidden: width of the regressor's hidden layer (H); 0 for as wide as the features, as published.
    """

    mean: Tensor
    std: Tensor
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        spec: BackboneSpec,
        sampling: Sampling | None = None,
        direct: bool = False,
        depths: bool = False,
        hidden: int = 0,
    ) -> None:
        super().__init__()
        self.depths = depths
        self.sampling = sampling or Ops.usual(spec.patch)
        self.direct = direct
        self.spec = spec
        self.backbone: Any = spec.build()
        self.width = spec.channels
        if depths:
            self.width = 2 * (spec.channels + sum(wide for _, wide in self.backbone.stages()))
        self.regressor = (DirectRegressor if direct else Regressor)(self.width, hidden)
        if depths:
            self.register_buffer("feature_mean", torch.zeros(self.width))
            self.register_buffer("feature_std", torch.ones(self.width))
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """[M,S,S,3] RGB pixel values to the backbone's [M,3,S,S] float32."""
        return (pixels.to(torch.float32).permute(0, 3, 1, 2) - self.mean) / self.std

    def features(self, patches: Tensor) -> Tensor:
        """[N,P,S,S,3] uint8 RGB to one feature vector per image, [N,C] float32.

        The cast comes before anything else: TensorRT takes a uint8 input only straight into a Cast.
        """
        x = self.normalise(patches.to(torch.float32).flatten(0, 1))
        return self.trunk(self.backbone.stem(x, 0), 0, patches.shape[0], patches.shape[1])

    def trunk(self, stem: Tensor, blocks: int, images: int, patches: int) -> Tensor:
        """What the first `blocks` blocks gave of images * patches patches, to the features [images, C] float32."""
        pooled: Tensor = (self.backbone.depths if self.depths else self.backbone.trunk)(stem, blocks).float()
        pooled = pooled.reshape(images, patches, self.width).mean(1)
        return (pooled - self.feature_mean) / self.feature_std if self.depths else pooled

    def standardise(self, features: Tensor) -> None:
        """Let the features that are now [n, C] have mean 0 and deviation 1 over the n from here on."""
        if self.depths:
            self.feature_mean += self.feature_std * features.mean(0)
            self.feature_std *= features.std(0).clamp(min=1e-2)


def build(
    backbone: str,
    method: str = "pscr",
    sampling: str = "ops",
    features: str = "last",
    hidden: int = 0,
) -> PSCR:
    """A network with random weights.

    method: "pscr", contrastive regression over patches; "cr", the same without patches, on the resized image;
        "nr", direct regression of the score on the resized image. They are the rows of the paper's ablation.
    sampling: which patches "pscr" takes: ops, nops, rps or dense; always "resize" with the others.
    features: "last", the backbone's pooled output as published, or "depths", mean and deviation at several depths.
    hidden: see `PSCR`.

    Raises:
        PscrError: INVALID_ARGUMENT for a name that is not in the registry, or a sampling the method does not take.
    """
    spec, depths = find(backbone), features == "depths"
    taken = PATCHED if method == "pscr" else ("resize",)
    if method not in METHODS or sampling not in taken:
        raise PscrError(
            Status.INVALID_ARGUMENT,
            f"method {method!r} with sampling {sampling!r} is not known; expected pscr with {', '.join(PATCHED)}, or "
            "cr or nr with resize",
        )
    if features not in FEATURES or hidden < 0:
        raise PscrError(
            Status.INVALID_ARGUMENT, f"features {features!r}, hidden {hidden}; expected one of {FEATURES}, 0 or more"
        )
    model = PSCR(spec, SAMPLINGS[sampling].usual(spec.patch), method == "nr", depths, hidden)
    if depths and not model.backbone.stages():
        raise PscrError(Status.INVALID_ARGUMENT, f"backbone {backbone!r} gives no features of several depths")
    if spec.fixed and model.sampling.patch != spec.patch:
        found = f"backbone {backbone!r} sees {spec.patch}x{spec.patch} pixels and nothing else"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected another sampling than {sampling}, such as ops")
    return model


def load_pretrained(model: PSCR, source: str) -> None:
    """Load the backbone's weights; see `load_weights`."""
    load_weights(model.backbone, model.spec, source)


def load_weights(backbone: Backbone, spec: BackboneSpec, source: str) -> None:
    """Load a backbone's weights: "imagenet" (installed or downloaded once), "none", or a checkpoint file.

    A checkpoint is a state dict (.safetensors, or .pth read with weights_only) with the public names; its classifier is
    left out.
    Counters of training batches, which checkpoints before torch 0.4.1 do not have, may be missing.

    Raises:
        PscrError: FILE_NOT_FOUND or MODEL_INVALID; the message names the missing key or the wrong shape.
    """
    if source == "none":
        return
    if source == "imagenet" and spec.published:
        load_backbone(backbone, spec, spec.published(), spec.name)
        return
    path = imagenet_weights(spec) if source == "imagenet" else Path(source)
    if not path.is_file():
        raise PscrError(
            Status.FILE_NOT_FOUND, f"{path}: no such checkpoint; --pretrained takes imagenet, none or a file"
        )
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PscrError(Status.MODEL_INVALID, f"{path}: not a readable torch checkpoint ({reason})") from error
    if not isinstance(state, dict):
        raise PscrError(Status.MODEL_INVALID, f"{path}: holds a {type(state).__name__}; expected a state dict")
    load_backbone(backbone, spec, state, str(path))


def load_backbone(backbone: Backbone, spec: BackboneSpec, state: dict[str, Tensor], origin: str) -> None:
    """Load the backbone's state dict; see `load_weights` for what it may have more and less, and for the errors."""
    kept = {k: v for k, v in state.items() if not str(k).startswith(spec.ignored)}
    load_encoder(backbone.named(), kept, origin)


def load_encoder(backbone: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Load a backbone's state dict, from which counters of training batches may be missing; errors as `load_state`."""
    counters = {k: v for k, v in backbone.state_dict().items() if k.endswith(".num_batches_tracked")}
    load_state(backbone, {**counters, **state}, origin)


def load_state(module: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Load a state dict whose keys and shapes must be exactly the module's.

    Raises:
        PscrError: MODEL_INVALID naming the first key that is missing, unexpected or of another shape.
    """
    own = module.state_dict()
    for key, value in own.items():
        if key not in state:
            raise PscrError(
                Status.MODEL_INVALID, f"{origin}: key {key!r} is missing; is this another backbone's checkpoint?"
            )
        if state[key].shape != value.shape:
            found, expected = tuple(state[key].shape), tuple(value.shape)
            raise PscrError(Status.MODEL_INVALID, f"{origin}: {key!r} has shape {found}; expected {expected}")
    for key in state:
        if key not in own:
            raise PscrError(
                Status.MODEL_INVALID, f"{origin}: unexpected key {key!r}; is this another backbone's checkpoint?"
            )
    module.load_state_dict(state)
