"""The model that is installed with the package does what the README says."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import pscr

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "examples" / "images"
DEGRADED = sorted(path for path in IMAGES.iterdir() if "-" in path.stem)


@pytest.fixture(scope="module")
def scorer():
    with pscr.open(device="cpu") as opened:
        yield opened


@pytest.mark.parametrize("degraded", DEGRADED, ids=lambda path: path.stem)
def test_a_degraded_copy_scores_below_its_original(scorer, degraded):
    original = IMAGES / (degraded.stem.split("-")[0] + degraded.suffix)
    assert scorer.score(degraded).score < scorer.score(original).score - 0.3


def test_scores_stay_near_the_databases_range(scorer):
    low, high = scorer.info["range"]
    for path in sorted(IMAGES.iterdir()):
        result = scorer.score(path)
        assert low <= result.score <= high
        assert 0 < result.spread < high - low


@pytest.mark.parametrize("size", [1, 3, 8])
def test_an_image_scores_the_same_in_any_batch_at_any_place(scorer, size):
    one, other = (scorer.patches(IMAGES / name) for name in ("astronaut.jpg", "astronaut-blur.jpg"))
    alone = scorer.infer(one[None]).scores[0]
    for position in range(size):
        batch = np.stack([one if i == position else other for i in range(size)])
        assert scorer.infer(batch).scores[position] == pytest.approx(alone, abs=1e-4)


def test_openvino_gives_the_same_scores_in_any_batch(scorer):
    pytest.importorskip("openvino")
    patches = np.stack(
        [scorer.patches(IMAGES / name) for name in ("astronaut.jpg", "astronaut-blur.jpg", "astronaut.jpg")]
    )
    expected = scorer.infer(patches).scores
    with pscr.open(device="openvino") as other:
        found = [other.infer(patches[start : start + size]).scores for start, size in ((0, 3), (1, 1), (1, 2))]
    assert found[0] == pytest.approx(expected, abs=1e-3)
    assert found[1] == pytest.approx(found[0][1:2], abs=1e-4)
    assert found[2] == pytest.approx(found[0][1:], abs=1e-4)


def test_images_of_one_two_and_four_windows_go_through_in_one_batch(scorer):
    rng = np.random.default_rng(0)
    sizes = [(512, 512), (512, 700), (700, 700), (400, 300), (1600, 512)]
    images = [cv2.resize(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8), size) for size in sizes]
    together = [result.score for result in scorer.score_many(images, pixel_format="rgb", batch=5)]
    alone = [scorer.score(image, pixel_format="rgb").score for image in images]
    assert together == pytest.approx(alone, abs=1e-4)
    assert {len(scorer.patches(image, pixel_format="rgb")) for image in images} == {1, 2, 4}


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (200, 900), (224, 224), (100, 100)])
def test_any_size_scores(scorer, height, width):
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8)
    result = scorer.score(image, pixel_format="rgb")
    assert (result.width, result.height) == (width, height)
    assert np.isfinite(result.score)
    assert ("padded" in result.message) == (min(height, width) < scorer.manifest.sampling.patch)


def test_the_packaged_model_is_small_and_was_measured_on_images_it_never_saw(scorer):
    folder = Path(scorer.info["folder"])
    assert (folder / "model.onnx").stat().st_size < 25e6
    metrics = scorer.info["training"]["metrics"]
    assert metrics["protocol"].startswith("held-out")
