"""A training step sees the pixels it should, cached or not."""

import cv2
import numpy as np
import pytest
import torch

from pscr.training.databases import Item
from pscr.training.model import build, load_pretrained
from pscr.training.patches import CropSource, StemCache, crops, every_patch


@pytest.fixture(scope="module")
def model():
    result = build("efficientnet_lite0").eval()
    load_pretrained(result, "imagenet")
    return result


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    result = []
    for index in range(2):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 255, (9, 9, 3)).astype(np.uint8), (300, 260)))
        result.append(Item(path.name, path, 1.0, path.name))
    return result


@pytest.fixture(scope="module")
def cache(model, items, tmp_path_factory):
    return StemCache(model, items, 2, tmp_path_factory.mktemp("cache"), "key")


@pytest.mark.parametrize("blocks", [0, 2])
def test_cached_layers_differ_from_pixels_by_half_precision_only(model, items, cache, blocks):
    choices = np.array([[0, 8, 4], [9, 13, 17]])
    with torch.inference_mode():
        cached = cache.pooled(model, [0, 1], choices)
        direct = CropSource(items, blocks, 1).pooled(model, [0, 1], choices)
    torch.testing.assert_close(cached, direct, rtol=2e-2, atol=2e-3 * float(direct.abs().max()))
    assert (cached[0] - cached[1]).abs().max() > 0.01


def test_a_mirrored_choice_is_the_mirror_image(model, items):
    image = np.ascontiguousarray(np.arange(300 * 260 * 3).reshape(260, 300, 3).astype(np.uint8))
    plain, mirrored = (crops(image, 224, np.array([[65535, 0, flag]]))[0] for flag in (0, 1))
    np.testing.assert_array_equal(plain, image[36:, :224])
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_random_corners_reach_every_edge_and_never_beyond(items):
    rng = np.random.default_rng(0)
    chosen = CropSource(items, 0, 1).draw(rng, 2000, 1)[:, 0]
    y, x = np.mgrid[:260, :300]
    image = np.stack([y % 256, x // 2, 0 * x], -1).astype(np.uint8)
    tops = crops(image, 224, chosen)[:, 0, 0, 0]
    assert (tops.min(), tops.max()) == (0, 36)
    assert 0.4 < chosen[:, 2].mean() < 0.6


def test_all_patches_of_an_image_are_mirrored_or_none(cache, items):
    for source in (cache, CropSource(items, 0, 1), CropSource(items, 0, 1, grid=9)):
        chosen = source.draw(np.random.default_rng(1), 50, 4)
        flags = chosen >= 9 if chosen.ndim == 2 else chosen[..., 2]
        assert ((flags == flags[:, :1]).all(1)).all()
        assert 0 < flags[:, 0].sum() < 50


def test_a_draw_of_the_grid_repeats_no_patch_and_is_the_same_cached_or_not(cache, items):
    chosen = cache.draw(np.random.default_rng(2), 50, 9)
    assert (np.sort(chosen % 9, 1) == np.arange(9)).all()
    np.testing.assert_array_equal(CropSource(items, 0, 1, grid=9).draw(np.random.default_rng(2), 50, 9), chosen)


def test_a_cache_of_other_images_or_weights_is_made_anew(model, items, tmp_path):
    StemCache(model, items, 2, tmp_path, "key")
    written = (tmp_path / "stem.npy").stat().st_mtime_ns
    StemCache(model, items, 2, tmp_path, "key")
    assert (tmp_path / "stem.npy").stat().st_mtime_ns == written
    for other in ((items[:1], "key"), (items, "other weights")):
        cached = StemCache(model, other[0], 2, tmp_path, other[1])
        assert len(cached.activations[0]) == len(other[0])
        assert (tmp_path / "stem.npy").stat().st_mtime_ns != written
        written = (tmp_path / "stem.npy").stat().st_mtime_ns


def test_every_patch_lists_the_grid():
    np.testing.assert_array_equal(every_patch(2, 9), [list(range(9))] * 2)
    np.testing.assert_array_equal(every_patch(1, 4, mirrored=True), [[4, 5, 6, 7]])
