"""The score graph of the family linear: encoders that see an image at two scales, and linear regressors on what they
find.

CONTRIQUE (Madhusudana et al., arXiv 2110.13266), ARNIQA (Agnolucci et al., arXiv 2310.14918) and Re-IQA (Saha et al.,
arXiv 2304.00451) are of this form. The half scale is computed within the graph, so that whoever runs it needs no image
library, and an image is seen as the method's own code sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..runtime.families import linear
from ..runtime.samplings.whole import LONGEST
from ..training.backbones.base import Backbone
from ..training.backbones.efficientnet_lite import SameConv2d
from ..training.backbones.spec import RGB
from .score_graph import exported

HALVES = ("pil-bicubic", "pil-bilinear", "mean2")
CROPS = ("whole", "five224")
CROP = 224
RAW: tuple[RGB, RGB] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_COEFFICIENT = 1 << 22  # Pillow's coefficients are whole numbers of these parts


@dataclass(frozen=True)
class Expert:
    """An encoder and the mean and standard deviation, RGB, of the pixels in 0..1 that it was trained on."""

    encoder: Backbone
    normalisation: tuple[RGB, RGB] = RAW


@dataclass(frozen=True)
class Views:
    """What an encoder sees of an image.

    half: how the half scale is made, one of `HALVES`. crops: of each scale the whole, or the mean of its centre and
    its four corners, one of `CROPS`. unit: whether the features of each scale and crop are scaled to the length 1.
    """

    half: str = "pil-bicubic"
    crops: str = "whole"
    unit: bool = True

    def __str__(self) -> str:
        seen = "whole" if self.crops == "whole" else f"in five crops of {CROP} pixels"
        return f"the image and its half scale ({self.half}), {seen}" + ", features of length 1" * self.unit


class HalfScale(nn.Module):
    """[M,3,H,W] float32 pixel values 0..255 to [M,3,H//2,W//2], as `Image.resize((W // 2, H // 2))` of Pillow gives.

    Pillow resamples the rows, rounds, resamples the columns and rounds (below version 13 in this order for every
    image, which is what the published regressors were fitted on). Each pass is a product with a matrix of its
    coefficients, which is made of the side: an odd one has other coefficients for every pixel. In float64, as here,
    the result is Pillow's to the bit. TensorRT and OpenVINO take float64 for float32: then it still is for even sides
    (of 8 pixels or more), and for odd ones about one value in a thousand is another by one level. "mean2" is the mean
    of 2x2 pixels, not rounded; of an odd side the last pixel is left out.
    """

    places: Tensor

    def __init__(self, kind: str, longest: int = LONGEST) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("places", torch.arange(longest + 1, dtype=torch.float64))

    def forward(self, pixels: Tensor) -> Tensor:
        if self.kind == "mean2":
            return F.avg_pool2d(pixels, 2)
        height, width = pixels.shape[2:]
        rows = _rounded(pixels.double() @ self.coefficients(width).T)
        return _rounded(self.coefficients(height) @ rows).float()

    def coefficients(self, side: int) -> Tensor:
        """[side // 2, side] float64: what each pixel of an axis weighs in each pixel of the half."""
        half = side // 2
        new, old = self.places[:half, None], self.places[:side]
        # As numbers of a graph, sides would be divided in float32.
        news, olds = self.places[half : half + 1], self.places[side : side + 1]
        # The middle of new pixel i lies at (i + 1/2) * side / half. Its fraction is kept apart from its whole number.
        fraction = (new + 0.5) * ((olds - 2 * news) / news)
        distance = ((old - 2 * new - 0.5) - fraction).abs() * (news / olds)
        weight = _cubic(distance) if self.kind == "pil-bicubic" else (1 - distance).clamp(min=0)
        weight = weight / weight.sum(1, keepdim=True)
        return (weight * _COEFFICIENT + 0.5).floor() / _COEFFICIENT


class LinearGraph(nn.Module):
    """Images and regressors to scores; what `model.onnx` computes.

    patches [N,1,H,W,3] uint8 RGB, weights [K,C] and intercepts [K] float32.
    Returns score [N], votes [N,K], terms [N,C], all float32. The terms are the features: of each expert in turn those
    of the full scale, then those of the half scale.
    """

    black: Tensor

    def __init__(self, experts: Sequence[Expert], views: Views) -> None:
        super().__init__()
        self.encoders = nn.ModuleList([expert.encoder for expert in experts])
        self.half_scale = HalfScale(views.half)
        self.views = views
        self.register_buffer("black", torch.zeros(CROP, 1))
        for place, expert in enumerate(experts):
            for name, value in zip(("mean", "std"), expert.normalisation, strict=True):
                self.register_buffer(f"{name}{place}", 255 * torch.tensor(value).view(1, 3, 1, 1))

    def forward(self, patches: Tensor, weights: Tensor, intercepts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.features(patches)
        votes = features @ weights.T + intercepts
        return votes.mean(1), votes, features

    def features(self, patches: Tensor) -> Tensor:
        """[N,1,H,W,3] uint8 RGB to one feature vector per image, [N,C] float32."""
        pixels = patches.to(torch.float32).squeeze(1).permute(0, 3, 1, 2)
        scales = [pixels, self.half_scale(pixels)]
        return torch.cat([self._seen(place, scale) for place in range(len(self.encoders)) for scale in scales], 1)

    def _seen(self, place: int, pixels: Tensor) -> Tensor:
        """The features [M,C] that an encoder finds in one scale [M,3,H,W] of 0..255."""
        images = pixels.shape[0]
        if self.views.crops == "five224":
            pixels = self._five_crops(pixels)
        normalised = (pixels - self.get_buffer(f"mean{place}")) / self.get_buffer(f"std{place}")
        found: Tensor = self.encoders[place](normalised).float()
        if self.views.unit:
            found = found / found.norm(dim=1, keepdim=True).clamp(min=1e-12)
        if self.views.crops == "five224":
            found = found.reshape(5, images, found.shape[1]).mean(0)
        return found

    def _five_crops(self, pixels: Tensor) -> Tensor:
        """The centre and the four corners of [M,3,H,W], [5M,3,224,224]: black where the image does not reach."""
        height, width = pixels.shape[2:]
        band = pixels[:, :, :1] * self.black
        framed = torch.cat([band, pixels, band], 2)
        band = framed[:, :, :, :1] * self.black.T
        framed = torch.cat([band, framed, band], 3)  # by the side of a crop all around, so every start is within it
        middle = height // 2 + CROP // 2, width // 2 + CROP // 2
        starts = [middle, (CROP, CROP), (height, CROP), (CROP, width), (height, width)]
        return torch.cat([framed[:, :, top : top + CROP, left : left + CROP] for top, left in starts])


def linear_to_onnx(graph: LinearGraph, width: int, half_weights: bool = False) -> onnx.ModelProto:
    """Export the graph, in which N, H, W and K are dynamic. width: C. half_weights: see `score_graph.exported`."""
    n, k = (torch.export.Dim(name, min=1) for name in "NK")
    # Below, torch may lay tensors out in another way, which is nothing to a graph: it takes images from 2x2 pixels on.
    high, wide = (torch.export.Dim(name, min=66, max=LONGEST) for name in "HW")
    proto = exported(
        graph,
        (torch.zeros(2, 1, 96, 131, 3, dtype=torch.uint8), torch.zeros(5, width), torch.zeros(5)),
        ["patches", *linear.CONSTANTS],
        linear.OUTPUTS,
        ({0: n, 2: high, 3: wide}, {0: k}, {0: k}),
        half_weights,
    )
    _pad_same(proto, {f"{name}.weight" for name, layer in graph.named_modules() if isinstance(layer, SameConv2d)})
    return proto


def _pad_same(proto: onnx.ModelProto, weights: set[str]) -> None:
    """Have the convolutions with these weights pad by TensorFlow's SAME rule, at whatever size."""
    made = {output: node for node in proto.graph.node for output in node.output}
    padded = 0
    for node in proto.graph.node:
        if node.op_type != "Conv":
            continue
        weight = node.input[1]
        while weight in made:  # half-precision weights are cast
            weight = made[weight].input[0]
        if weight in weights:
            kept = [one for one in node.attribute if one.name not in ("pads", "auto_pad")]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute("auto_pad", "SAME_UPPER")])
            padded += 1
    if padded % max(len(weights), 1):
        raise RuntimeError(f"{padded} convolutions of the graph have {len(weights)} weights that are padded by SAME")


def _rounded(values: Tensor) -> Tensor:
    """To whole levels 0..255, halves up."""
    return (values + 0.5).floor().clamp(0, 255)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -1/2, of distances of 0 or more: Pillow's bicubic filter."""
    near, far = distance.clamp(max=1), distance.clamp(1, 2)  # each part is 0 where the other begins
    return (1.5 * near - 2.5) * near * near + 1 + (((5 - far) * far - 8) * far + 4) * 0.5
