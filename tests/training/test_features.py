"""Features of several depths, whole images in tiles, windows of a step, and bf16 where it pays."""

import cv2
import numpy as np
import pytest
import torch

from pscr.export import score_graph
from pscr.runtime.errors import PscrError
from pscr.training.backbones.depthwise import depthwise
from pscr.training.databases import Item
from pscr.training.model import build, load_pretrained
from pscr.training.patches import GRAIN, CropSource, StemCache, every_patch

pytestmark = pytest.mark.slow

BLOCKS = 5


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    result = build("efficientnet_lite0", sampling="dense", features="depths", hidden=16).eval()
    load_pretrained(result, "imagenet")
    return result


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    result = []
    for index, (height, width) in enumerate([(512, 512), (400, 512)]):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), cv2.resize(rng.integers(0, 255, (9, 9, 3)).astype(np.uint8), (width, height)))
        result.append(Item(path.name, path, 1.0, path.name))
    return result


ONE, IMAGES = np.array([1, 1]), np.array([0, 1])


@pytest.fixture(scope="module")
def cache(model, items, tmp_path_factory):
    return StemCache(model, items, ONE, BLOCKS, tmp_path_factory.mktemp("cache"), "key", window=0.5)


def test_depths_are_mean_and_deviation_at_the_end_of_every_stage_from_stride_8_on(model):
    backbone, x = model.backbone, torch.randn(1, 3, 96, 96)
    expected, y = [], x
    with torch.inference_mode():
        for layer in backbone.entry():
            y = layer(y)
        for done, block in enumerate(backbone._blocks, 1):
            y = block(y)
            if done in (5, 8, 11, 15, 16):
                expected += [y.mean((2, 3)), y.std((2, 3), correction=0)]
        for layer in backbone.tail():
            y = layer(y)
        expected += [y.mean((2, 3)), y.std((2, 3), correction=0)]
        found = backbone.depths(backbone.stem(x, 0), 0)
        later = backbone.depths(backbone.stem(x, BLOCKS), BLOCKS)
    torch.testing.assert_close(found, torch.cat(expected, 1), rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(found, later, rtol=1e-4, atol=1e-4)


def test_cached_whole_images_differ_from_pixels_by_half_precision_only(model, items, cache):
    choices = every_patch(2, 1, mirrored=True)
    with torch.inference_mode():
        cached = cache.pooled(model, IMAGES, choices)
        direct = CropSource(items, ONE, BLOCKS, 1, grid=True).pooled(model, IMAGES, choices)
    assert cached.shape == (2, model.width)
    torch.testing.assert_close(cached, direct, rtol=2e-2, atol=2e-3 * float(direct.abs().max()))


def test_a_window_is_cut_where_it_was_drawn(model, items, cache):
    seen = []
    choices = np.array([[[1, 8, 16, 40]], [[0, 0, 24, 40]]])
    shown = model.trunk
    try:
        model.trunk = lambda stem, *rest: seen.append(stem) or shown(stem, *rest)
        cache.pooled(model, IMAGES, choices)
    finally:
        del model.trunk
    (found,) = (stem.permute(0, 2, 3, 1).numpy() for stem in seen)
    np.testing.assert_array_equal(found[0], cache.activations[1, 8:48, 16:56])
    np.testing.assert_array_equal(found[1], cache.activations[2, 0:40, 24:64])


def test_windows_reach_every_edge_and_never_beyond(cache):
    rng = np.random.default_rng(0)
    drawn = np.concatenate([cache.draw(rng, np.zeros(8, int), 1)[:, 0] for _ in range(300)])
    variant, corners, side = drawn[:, 0], drawn[:, 1:3], drawn[:, 3]
    assert set(side) == {GRAIN * n for n in range(4, 9)}
    assert set(variant) == {0, 1}
    assert corners.min() == 0
    assert (corners + side[:, None]).max() == 64
    assert set((corners + side[:, None] == 64).any(1)) == {True, False}


def test_standardised_features_have_mean_0_and_deviation_1_and_are_kept():
    torch.manual_seed(2)
    model = build("efficientnet_lite0", sampling="dense", features="depths", hidden=8).eval()
    load_pretrained(model, "imagenet")
    patches = torch.randint(0, 256, (3, 1, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        model.standardise(model.features(patches))
        found = model.features(patches)
    torch.testing.assert_close(found.mean(0), torch.zeros(model.width), atol=1e-3, rtol=0)
    assert 0.9 < float(found.std(0).median()) < 1.01
    again = build("efficientnet_lite0", sampling="dense", features="depths", hidden=8)
    again.load_state_dict(model.state_dict())  # the run's checkpoint carries them
    with torch.inference_mode():
        torch.testing.assert_close(again.eval().features(patches), found)


def test_several_depths_export_as_one_graph(model):
    import onnxruntime as ort

    graph = score_graph.to_onnx(model, half_weights=False)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (2, 2, 8, 8, 3)).astype(np.uint8)
    patches = small.repeat(64, 2).repeat(64, 3)
    terms, scores = rng.normal(size=(5, 16)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    found = session.run(["votes"], {"patches": patches, "bank_terms": terms, "bank_scores": scores})[0]
    with torch.inference_mode():
        query = model.regressor.query_part(model.features(torch.from_numpy(patches)))
        expected = model.regressor.differences(query, torch.from_numpy(terms)).numpy() + scores
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("arguments", [{"features": "all"}, {"hidden": -1}])
def test_a_network_that_does_not_exist_is_refused(arguments):
    with pytest.raises(PscrError, match="expected one of"):
        build("efficientnet_lite0", **arguments)


def test_a_backbone_without_stages_has_no_depths():
    with pytest.raises(PscrError, match="'resnet18' gives no features of several depths"):
        build("resnet18", features="depths")


def test_depthwise_in_bf16_has_the_gradients_of_fp32():
    torch.manual_seed(0)
    x = torch.randn(2, 6, 9, 9).bfloat16().float().requires_grad_()
    weight = torch.randn(6, 1, 3, 3).bfloat16().float().requires_grad_()
    bias = torch.randn(6).bfloat16().float().requires_grad_()
    ours = depthwise(x, weight, bias, (2, 2), (1, 1))
    assert ours.dtype is torch.bfloat16
    theirs = torch.nn.functional.conv2d(x, weight, bias, 2, 1, groups=6)
    torch.testing.assert_close(ours.float(), theirs, rtol=2e-2, atol=2e-2)
    upstream = torch.randn_like(theirs).bfloat16()
    for found, expected in zip(
        torch.autograd.grad(ours, (x, weight, bias), upstream),
        torch.autograd.grad(theirs, (x, weight, bias), upstream.float()),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)
