"""What the graph of the linear family makes of an image is what Pillow and torch make of it in the published code."""

from __future__ import annotations

import linear_files as published
import numpy as np
import onnxruntime as ort
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pscr.export.linear_graph import Expert, HalfScale, LinearGraph, Views
from pscr.export.score_graph import exported
from pscr.training.backbones.base import Backbone

FILTERS = {"pil-bicubic": Image.Resampling.BICUBIC, "pil-bilinear": Image.Resampling.BILINEAR}


def pixels(picture: Image.Image) -> torch.Tensor:
    """[1,3,H,W] float32 of 0..255."""
    return torch.tensor(np.asarray(picture)).permute(2, 0, 1)[None].float()


def picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Noise, or a photograph's middle: hard edges and smooth places."""
    if rng.random() < 0.5:
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    return published.pictures((min(width, 440), min(height, 290)))[rng.integers(4)].resize((width, height))


def halves(kind: str, width: int, height: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The half scale of a picture by Pillow and by the graph's module, [h,w,3] each."""
    whole = picture(rng, width, height)
    found = HalfScale(kind)(pixels(whole))[0].permute(1, 2, 0).numpy()
    return np.asarray(published.half(whole, FILTERS[kind])).astype(np.float32), found


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("sides", ["even", "odd", "any"])
def test_the_half_scale_is_pillows_to_the_bit(kind: str, sides: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        width, height = rng.integers(2, 320, 2).tolist()
        if sides != "any":
            width, height = (side // 2 * 2 + (sides == "odd") for side in (width, height))
        expected, found = halves(kind, width, height, rng)
        assert np.array_equal(found, expected), (width, height)


@pytest.mark.parametrize("kind", FILTERS)
def test_where_a_library_has_no_float64_an_odd_side_is_off_by_a_level_here_and_there(kind: str) -> None:
    """TensorRT and OpenVINO compute the half scale in float32: even sides stay exact."""
    rng = np.random.default_rng(2)
    module, apart, total = HalfScale(kind).float(), 0, 0
    for _ in range(40):
        image = picture(rng, *rng.integers(8, 320, 2).tolist())
        expected = np.asarray(published.half(image, FILTERS[kind])).astype(np.float32)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "double", torch.Tensor.float)
            found = module(pixels(image))[0].permute(1, 2, 0).numpy()
        different = int((found != expected).sum())
        assert np.abs(found - expected).max() <= 1
        assert not different or any(side % 2 for side in image.size)
        apart, total = apart + different, total + found.size
    assert apart < 2e-3 * total


@pytest.mark.slow
def test_the_half_scale_in_onnxruntime_is_pillows_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    sides = {2: torch.export.Dim("H", min=66, max=4096), 3: torch.export.Dim("W", min=66, max=4096)}
    example = (torch.zeros(1, 3, 96, 131),)
    graph = exported(HalfScale("pil-bicubic").eval(), example, ["pixels"], ["half"], (sides,), False)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for _ in range(40):
        image = picture(rng, *rng.integers(2, 320, 2).tolist())
        (found,) = session.run(None, {"pixels": pixels(image).numpy()})
        assert np.array_equal(found[0].transpose(1, 2, 0), np.asarray(published.half(image))), image.size


def test_the_mean_of_2x2_is_the_half_that_pyiqa_takes() -> None:
    for sides in ((64, 48), (65, 49), (2, 3)):
        image = pixels(picture(np.random.default_rng(3), *sides))
        expected = F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)
        assert torch.allclose(HalfScale("mean2")(image), expected, atol=1e-4)


@pytest.mark.parametrize("sides", [(500, 300), (301, 225), (224, 224), (223, 100), (5, 400)])
def test_five_crops_are_pillows_and_black_where_the_image_does_not_reach(sides: tuple[int, int]) -> None:
    image = picture(np.random.default_rng(4), *sides)
    graph = LinearGraph([Expert(Backbone())], Views(crops="five224"))
    expected = torch.cat([pixels(crop) for crop in published.crops(image)])
    assert torch.equal(graph._five_crops(pixels(image)), expected)
