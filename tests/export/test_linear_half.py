"""What the graph of the linear family makes of an image is what Pillow and torch make of it in the published code."""

from __future__ import annotations

import linear_files as published
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from pscr.export.linear_graph import Expert, HalfScale, LinearGraph, Views
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
def test_the_half_of_even_sides_is_pillows_to_the_bit(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        expected, found = halves(kind, *(2 * rng.integers(4, 160, 2)).tolist(), rng)
        assert np.array_equal(found, expected), found.shape


@pytest.mark.parametrize("kind", FILTERS)
def test_the_half_of_odd_sides_is_pillows_but_for_a_level_here_and_there(kind: str) -> None:
    rng = np.random.default_rng(2)
    apart = total = 0
    for _ in range(40):
        width, height = rng.integers(3, 320, 2).tolist()
        expected, found = halves(kind, width, height, rng)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max(initial=0) <= 1, (width, height)
        apart, total = apart + int((found != expected).sum()), total + found.size
    assert apart < 2e-3 * total


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
