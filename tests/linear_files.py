"""CONTRIQUE, ARNIQA and Re-IQA anew: files as their authors save them, with random weights, and what they compute.

Nothing here imports the project: it is what the project is compared with.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

PICTURES = Path(__file__).parent.parent / "examples" / "images"
DEPTHS = (3, 4, 6, 3)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NUMBERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
State = dict[str, Tensor]


class ResNet50:
    """ResNet50 as a function of a state dict with torchvision's names (He et al., arXiv 1512.03385)."""

    def __init__(self, state: State, filling: bool = False) -> None:
        self.state, self.filling = state, filling

    def __call__(self, x: Tensor) -> Tensor:
        """[N,3,H,W] to pooled features [N,2048]."""
        x = F.max_pool2d(F.relu(self._conv(x, "conv1", "bn1", 2, 3)), 3, 2, 1)
        for layer, depth in enumerate(DEPTHS, 1):
            for block in range(depth):
                x = self._block(x, f"layer{layer}.{block}.", 2 if layer > 1 and block == 0 else 1, block == 0)
        return x.mean((2, 3))

    def _block(self, x: Tensor, name: str, stride: int, projected: bool) -> Tensor:
        y = F.relu(self._conv(x, f"{name}conv1", f"{name}bn1"))
        y = F.relu(self._conv(y, f"{name}conv2", f"{name}bn2", stride, 1))
        y = self._conv(y, f"{name}conv3", f"{name}bn3")
        return F.relu(y + (self._conv(x, f"{name}downsample.0", f"{name}downsample.1", stride) if projected else x))

    def _conv(self, x: Tensor, conv: str, bn: str, stride: int = 1, padding: int = 0) -> Tensor:
        x = F.conv2d(x, self.state[f"{conv}.weight"], None, stride, padding)
        mean, var = self.state[f"{bn}.running_mean"], self.state[f"{bn}.running_var"]
        return F.batch_norm(x, mean, var, self.state[f"{bn}.weight"], self.state[f"{bn}.bias"], self.filling, 1.0)


def random_state(seed: int) -> State:
    """Random weights whose batch normalisations hold the statistics of real pictures."""
    torch.manual_seed(seed)
    state: State = {}

    def conv(name: str, bn: str, inputs: int, outputs: int, kernel: int) -> None:
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel) * (2 / (outputs * kernel**2)) ** 0.5
        state[f"{bn}.weight"], state[f"{bn}.bias"] = torch.rand(outputs) + 0.5, torch.randn(outputs) / 5
        state[f"{bn}.running_mean"], state[f"{bn}.running_var"] = torch.zeros(outputs), torch.ones(outputs)
        state[f"{bn}.num_batches_tracked"] = torch.tensor(2)

    conv("conv1", "bn1", 3, 64, 7)
    inputs = 64
    for layer, depth in enumerate(DEPTHS, 1):
        width = 32 << layer
        for block in range(depth):
            name = f"layer{layer}.{block}."
            conv(f"{name}conv1", f"{name}bn1", inputs, width, 1)
            conv(f"{name}conv2", f"{name}bn2", width, width, 3)
            conv(f"{name}conv3", f"{name}bn3", width, 4 * width, 1)
            if block == 0:
                conv(f"{name}downsample.0", f"{name}downsample.1", inputs, 4 * width, 1)
            inputs = 4 * width
    with torch.inference_mode():
        ResNet50(state, filling=True)(torch.cat([_tensor(one) for one in pictures((128, 128))]))
    return state


def pictures(size: tuple[int, int]) -> list[Image.Image]:
    """The middles of four example pictures, of this width and height."""
    names = ("astronaut.jpg", "chelsea-noise.jpg", "coffee-jpeg.jpg", "rocket.jpg")
    found = []
    for name in names:
        picture = Image.open(PICTURES / name).convert("RGB")
        left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
        found.append(picture.crop((left, top, left + size[0], top + size[1])))
    return found


# --- the files --------------------------------------------------------------------------------------------------------


def numbered(state: State, before: str) -> State:
    """As a Sequential of torchvision's parts names them."""
    return {
        f"{before}{NUMBERS[first]}.{rest}": value
        for name, value in state.items()
        for first, _, rest in [name.partition(".")]
    }


def contrique(state: State) -> State:
    """CONTRIQUE_checkpoint25.tar: a flat state dict with a projector of two linear layers."""
    head = {
        "projector.0.weight": torch.zeros(8, 8),
        "projector.1.weight": torch.ones(8),
        "projector.4.bias": torch.ones(8),
    }
    return {**numbered(state, "encoder."), **head}


def arniqa(state: State, before: str = "") -> State:
    """ARNIQA.pth: the same with another name for the encoder, and a projector with biases."""
    head = {
        "projector.0.weight": torch.zeros(8, 8),
        "projector.0.bias": torch.zeros(8),
        "projector.2.bias": torch.ones(8),
    }
    return {f"{before}{name}": value for name, value in {**numbered(state, "model."), **head}.items()}


def reiqa(state: State) -> dict[str, Any]:
    """quality_aware_r50.pth and content_aware_r50.pth: of a training on several GPUs, with what it needs to go on."""
    head = {"head.0.weight": torch.zeros(8, 8), "head.2.bias": torch.zeros(8)}
    inner = {**{f"encoder.{name}": value for name, value in state.items()}, **head}
    rest = {"contrast": {"index": torch.zeros(1)}, "optimizer": {"state": {}, "param_groups": []}, "epoch": 25}
    return {"model": {f"module.{name}": value for name, value in inner.items()}, **rest}


def linear(width: int, norm: float, intercept: float, seed: int = 0) -> tuple[NDArray[np.float32], float]:
    """Random weights [width] of this norm, and the intercept."""
    weights = np.random.default_rng(seed).standard_normal(width)
    return (weights * norm / np.linalg.norm(weights)).astype(np.float32), intercept


@contextmanager
def sklearn_stub(module: str = "sklearn.linear_model._ridge", name: str = "Ridge") -> Iterator[type]:
    """A class that pickles as scikit-learn's of that name, which is not installed."""
    parts = module.split(".")
    added = [".".join(parts[: count + 1]) for count in range(len(parts))]
    before = {one: sys.modules.get(one) for one in added}
    for one in added:
        sys.modules[one] = ModuleType(one)
    found = type(name, (), {"__module__": module})
    setattr(sys.modules[module], name, found)
    try:
        yield found
    finally:
        for one, earlier in before.items():
            sys.modules.pop(one)
            if earlier is not None:
                sys.modules[one] = earlier


def ridge(file: Path, weights: Any, intercept: Any, name: str = "Ridge", protocol: int = 3) -> Path:
    """A pickled Ridge with the attributes that scikit-learn 1.0.1 gives one."""
    with sklearn_stub(name=name) as kind:
        model = kind()
        model.__dict__ |= {"alpha": 0.1, "fit_intercept": True, "normalize": "deprecated", "n_features_in_": 4096}
        model.__dict__ |= {"coef_": weights, "intercept_": np.float32(intercept), "_sklearn_version": "1.0.1"}
        file.write_bytes(pickle.dumps(model, protocol))
    return file


class LinearModule(torch.nn.Module):
    """A regressor as ARNIQA publishes them, before it is scripted."""

    def __init__(self, weights: Any, intercept: float) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.as_tensor(weights)[None])
        self.biases = torch.nn.Parameter(torch.tensor(intercept))

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.weights.T) + self.biases


def torch_script(file: Path, module: torch.nn.Module) -> Path:
    """A TorchScript file."""
    torch.jit.script(module).save(str(file))
    return file


# --- what the published code computes ---------------------------------------------------------------------------------


def half(picture: Image.Image, how: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    """The half scale, the rows first: the order of every Pillow below 13."""
    width, height = picture.size
    return picture.resize((width // 2, height), how).resize((width // 2, height // 2), how)


def contrique_features(network: ResNet50, picture: Image.Image) -> Tensor:
    """[4096]: pixels in 0..1 without mean and deviation, each scale of length 1."""
    return torch.cat([F.normalize(network(_tensor(one)))[0] for one in (picture, half(picture))])


def arniqa_features(network: ResNet50, picture: Image.Image, protocol: str) -> Tensor:
    """[4096] of the authors' tests (five crops of both scales), of their hub, or of pyiqa."""
    if protocol == "test":
        scales = [torch.cat([_tensor(one, IMAGENET) for one in crops(scale)]) for scale in (picture, half(picture))]
        return torch.cat([F.normalize(network(one)).mean(0) for one in scales])
    whole = _tensor(picture, IMAGENET)
    if protocol == "hub":
        small = _tensor(half(picture, Image.Resampling.BILINEAR), IMAGENET)
    else:
        small = F.interpolate(whole, scale_factor=0.5, mode="bilinear", align_corners=False)
    return torch.cat([F.normalize(network(one))[0] for one in (whole, small)])


def reiqa_features(quality: ResNet50, content: ResNet50, picture: Image.Image) -> Tensor:
    """[8192]: of two encoders, one without and one with ImageNet's mean and deviation, as they are."""
    scales = picture, half(picture)
    return torch.cat(
        [*(quality(_tensor(one))[0] for one in scales), *(content(_tensor(one, IMAGENET))[0] for one in scales)]
    )


def crops(picture: Image.Image) -> list[Image.Image]:
    """The centre and the four corners of 224 pixels; Pillow's crop is black where the picture does not reach."""
    width, height = picture.size
    starts = [(width // 2 - 112, height // 2 - 112), (0, 0), (0, height - 224), (width - 224, 0)]
    return [picture.crop((x, y, x + 224, y + 224)) for x, y in (*starts, (width - 224, height - 224))]


def _tensor(picture: Image.Image, normalisation: Any = None) -> Tensor:
    """[1,3,H,W] in 0..1, less the mean and over the deviation where there are such."""
    x = torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)[None] / 255
    if normalisation is None:
        return x
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in normalisation)
    return (x - mean) / std
