"""A training step sees the pixels it should, cached or not."""

import os

import cv2
import numpy as np
import pytest
import torch

from pscr import PscrError
from pscr.training.config import Config
from pscr.training.databases import Item
from pscr.training.head import train_head
from pscr.training.model import build, load_pretrained
from pscr.training.patches import CropSource, StemCache, crops, every_patch, patch_counts
from pscr.training.preparation import first_weights

pytestmark = pytest.mark.slow


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


NINE = np.array([9, 9])
IMAGES = np.array([0, 1])


@pytest.fixture(scope="module")
def cache(model, items, tmp_path_factory):
    return StemCache(model, items, NINE, 2, tmp_path_factory.mktemp("cache"), "key")


@pytest.mark.parametrize("blocks", [0, 2])
def test_cached_layers_differ_from_pixels_by_half_precision_only(model, items, cache, blocks):
    choices = np.array([[0, 8, 4], [9, 13, 17]])
    with torch.inference_mode():
        cached = cache.pooled(model, IMAGES, choices)
        direct = CropSource(items, NINE, blocks, 1).pooled(model, IMAGES, choices)
    torch.testing.assert_close(cached, direct, rtol=2e-2, atol=2e-3 * float(direct.abs().max()))
    assert (cached[0] - cached[1]).abs().max() > 0.01


def test_a_mirrored_choice_is_the_mirror_image(model, items):
    image = np.ascontiguousarray(np.arange(300 * 260 * 3).reshape(260, 300, 3).astype(np.uint8))
    plain, mirrored = (crops(image, 224, np.array([[65535, 0, flag]]))[0] for flag in (0, 1))
    np.testing.assert_array_equal(plain, image[36:, :224])
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


def test_random_corners_reach_every_edge_and_never_beyond(items):
    rng = np.random.default_rng(0)
    chosen = CropSource(items, NINE, 0, 1).draw(rng, np.zeros(2000, int), 1)[:, 0]
    y, x = np.mgrid[:260, :300]
    image = np.stack([y % 256, x // 2, 0 * x], -1).astype(np.uint8)
    tops = crops(image, 224, chosen)[:, 0, 0, 0]
    assert (tops.min(), tops.max()) == (0, 36)
    assert 0.4 < chosen[:, 2].mean() < 0.6


def test_all_patches_of_an_image_are_mirrored_or_none(cache, items):
    for source in (cache, CropSource(items, NINE, 0, 1), CropSource(items, NINE, 0, 1, grid=True)):
        chosen = source.draw(np.random.default_rng(1), np.zeros(50, int), 4)
        flags = chosen >= 9 if chosen.ndim == 2 else chosen[..., 2]
        assert ((flags == flags[:, :1]).all(1)).all()
        assert 0 < flags[:, 0].sum() < 50


def test_a_draw_of_the_grid_repeats_no_patch_and_is_the_same_cached_or_not(cache, items):
    many = np.zeros(50, int)
    chosen = cache.draw(np.random.default_rng(2), many, 9)
    assert (np.sort(chosen % 9, 1) == np.arange(9)).all()
    direct = CropSource(items, NINE, 0, 1, grid=True)
    np.testing.assert_array_equal(direct.draw(np.random.default_rng(2), many, 9), chosen)


def test_a_cache_of_other_images_or_weights_is_made_anew(model, items, tmp_path):
    def written(some=items, key="key"):
        cached = StemCache(model, some, NINE[: len(some)], 2, tmp_path, key)
        assert len(cached.activations) == 18 * len(some)
        return (tmp_path / "stem.npy").stat().st_mtime_ns

    first = written()
    assert written() == first
    fewer = written(items[:1])
    other = written(key="other weights")
    assert len({first, fewer, other}) == 3
    changed = written()
    pixels = cv2.imread(str(items[0].path))
    cv2.imwrite(str(items[0].path), 255 - pixels)  # the name stays, the pixels do not
    try:
        again = written()
        assert again != changed
    finally:
        cv2.imwrite(str(items[0].path), pixels)


def test_a_cache_is_of_pixels_not_of_names_sizes_and_times(model, items, tmp_path, capsys):
    """Other pixels under the same name, size and time are other images; the same ones elsewhere are not."""
    path = tmp_path / "a.bmp"  # no compression: other pixels, as many bytes
    here = [Item("a", path, 1.0, "a")]
    before = cv2.imread(str(items[0].path))

    def activations(pixels, some=here):
        cv2.imwrite(str(some[0].path), pixels)
        os.utime(some[0].path, ns=(0, 0))
        made = StemCache(model, some, NINE[:1], 2, tmp_path / "cache", "key")
        return np.array(made.activations[0]), capsys.readouterr().err

    first, said = activations(before)
    assert said == ""
    other, said = activations(255 - before)
    assert not np.array_equal(first, other)
    assert "stem.npy: made anew, it was of other images" in said
    assert said.count("\n") == 1
    moved, said = activations(255 - before, [Item("b", tmp_path / "b.bmp", 1.0, "b")])
    assert said == ""
    np.testing.assert_array_equal(moved, other)


def test_frozen_layers_are_of_the_checkpoint_s_bytes_not_of_its_name(tmp_path):
    file = tmp_path / "weights.pth"
    config = Config(data="", backbone="resnet18", pretrained=str(file))
    keys = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(build("resnet18").backbone.state_dict(), file)
        keys.append(first_weights(config, build("resnet18")))
    assert keys[0] != keys[1]


def test_the_regressor_s_own_epochs_learn_at_the_rate_that_they_are_given():
    def step(rate):
        head = torch.nn.Linear(2, 1)
        torch.nn.init.zeros_(head.weight)
        views, opinion = torch.ones(1, 4, 2), torch.ones(4)
        rng = np.random.default_rng(0)
        loss = lambda features, wished: (head(features)[:, 0] - wished).square().mean()  # noqa: E731
        train_head(head.parameters(), loss, views, opinion, rng, epochs=1, rate=rate, weight_decay=0.0, dropout=0.0)
        return float(head.weight.detach().abs().max())

    assert step(0.01) == pytest.approx(0.01, rel=1e-3)  # AdamW's first step is the rate itself
    assert step(0.03) == pytest.approx(0.03, rel=1e-3)


def test_images_of_any_size_train_together(model, tmp_path):
    """A panorama has more patches than a square, and each is found again in the cache."""
    rng, items = np.random.default_rng(3), []
    for index, (height, width) in enumerate([(300, 400), (600, 1900), (512, 512), (1200, 400)]):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 255, (9, 9, 3)).astype(np.uint8), (width, height)))
        items.append(Item(path.name, path, 1.0, path.name))
    counts = patch_counts(model.sampling, items)
    assert counts.tolist() == [9, 36, 9, 27]
    cached = StemCache(model, items, counts, 1, tmp_path / "cache", "key")
    direct = CropSource(items, counts, 1, 1, grid=True)
    images = np.array([1, 3, 0])
    chosen = cached.draw(np.random.default_rng(0), images, 2)
    assert (chosen < 2 * counts[images, None]).all()
    with torch.inference_mode():
        one, other = (source.pooled(model, images, chosen) for source in (cached, direct))
    torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-3 * float(other.abs().max()))


def test_a_file_that_cannot_be_used_is_found_before_anything_is_cached(model, items, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(PscrError, match=r"broken\.png"):
        patch_counts(model.sampling, [*items, Item("broken.png", broken, 1.0, "")])


def test_every_patch_lists_the_grid():
    np.testing.assert_array_equal(every_patch(2, 9), [list(range(9))] * 2)
    np.testing.assert_array_equal(every_patch(1, 4, mirrored=True), [[4, 5, 6, 7]])
