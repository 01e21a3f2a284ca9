"""The full-reference family: an image is judged by how far its features are from those of its original."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_linear as tiny
from cli_testing import Cli, write_image
from image_makers import assert_refused

import pscr
from pscr.runtime import capi
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.full_reference import FullReferenceHead
from pscr.runtime.families.linear import REGRESSOR
from pscr.runtime.scorer import Scorer
from pscr.runtime.verification import golden_score

FAMILY = FullReferenceHead.family


def write(folder: Path, count: int = 1) -> Path:
    """A tiny full-reference model."""
    tiny.write(folder, count)
    dataclasses.replace(tiny.manifest(), family=FAMILY).write(folder, ["model.onnx", *[REGRESSOR] * bool(count)])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("full-reference") / "model")


@pytest.fixture
def scorer(model: Path) -> Iterator[Scorer]:
    with pscr.open(model, "cpu", 1) as opened:
        yield opened


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("linear") / "model")


def picture(seed: int, height: int = 64, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256 >> seed % 3, (height, width, 3), np.uint8)


def expected(image: np.ndarray, reference: np.ndarray, count: int = 1) -> np.ndarray:
    """The votes [K], computed with numpy in float64."""
    voters = tiny.regressor(count)
    return voters.weights @ np.abs(tiny.features(reference) - tiny.features(image)) + voters.intercepts


@pytest.mark.parametrize("count", [1, 3])
def test_the_score_is_of_the_distance_between_the_features(count: int, tmp_path: Path) -> None:
    reference, images = picture(0), [picture(seed) for seed in range(1, 6)]
    with pscr.open(write(tmp_path / "model", count), "cpu", 1) as scorer:
        results = list(scorer.score_many(images, pixel_format="rgb", batch=2, reference=reference))
        again = scorer.score(images[1], pixel_format="rgb", reference=scorer.reference(reference, pixel_format="rgb"))
    for image, result in zip(images, results, strict=True):
        votes = expected(image, reference, count)
        assert result.score == pytest.approx(votes.mean(), abs=1e-3)
        assert result.spread == (None if count == 1 else pytest.approx(votes.std(), abs=1e-3))
        assert (result.width, result.height, result.message) == (48, 64, "")
    assert again.score == pytest.approx(results[1].score, abs=1e-4)


def test_an_image_beside_itself_scores_the_intercept_exactly(scorer: Scorer) -> None:
    found = scorer.score(picture(3), pixel_format="rgb", reference=picture(3))
    assert found.score == float(tiny.regressor().intercepts[0])


def test_the_features_of_one_reference_are_computed_once(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, terms = [], scorer._backend.terms
    monkeypatch.setattr(scorer._backend, "terms", lambda patches: runs.append(len(patches)) or terms(patches))
    images = [picture(seed) for seed in range(4)]
    list(scorer.score_many(images, pixel_format="rgb", batch=2, reference=images[0]))
    assert runs == [1, 2, 2]


def test_openvino_compares_as_well(model: Path) -> None:
    pytest.importorskip("openvino")
    with pscr.open(model, "openvino", 1) as scorer:
        found = scorer.score(picture(1), pixel_format="rgb", reference=picture(2)).score
    assert found == pytest.approx(expected(picture(1), picture(2))[0], abs=1e-2)


def test_a_regressor_of_ones_own_on_the_features_needs_no_reference(model: Path) -> None:
    with pscr.open(model, "cpu", 1, head=tiny.regressor(3)) as scorer:
        found = scorer.score(picture(1), pixel_format="rgb").score
    assert found == pytest.approx(tiny.expected(picture(1), 3).mean(), abs=1e-3)


def test_a_golden_score_is_the_graphs_own(scorer: Scorer) -> None:
    assert golden_score(scorer, picture(1)) == pytest.approx(tiny.expected(picture(1))[0], abs=1e-3)


# --- refusals ---------------------------------------------------------------------------------------------------------

NEEDED = ("full-reference model", "reference=ORIGINAL", "--reference ORIGINAL")


def test_no_form_of_scoring_goes_without_a_reference(scorer: Scorer) -> None:
    image = picture(0)
    calls = (
        lambda: scorer.score(image, pixel_format="rgb"),
        lambda: scorer.score_many([image], pixel_format="rgb"),
        lambda: scorer.score_pixels(image[None]),
        lambda: pscr.rank(scorer, [image, image], pixel_format="rgb"),
        lambda: pscr.quality_map(scorer, image, pixel_format="rgb", window=32),
    )
    for call in calls:
        with pytest.raises(PscrError) as caught:
            call()
        assert_refused(caught, Status.INVALID_ARGUMENT, *NEEDED)


def test_the_flat_form_refuses_it(model: Path) -> None:
    handle, out = np.zeros(1, np.int64), np.zeros(2)
    assert capi.pscr_open(str(model), "cpu", 1, handle) == Status.OK
    assert capi.pscr_score_pixels(int(handle[0]), picture(0), 64, 48, 0, "rgb", out) == Status.INVALID_ARGUMENT
    assert "full-reference model" in capi.pscr_last_error(int(handle[0]))
    assert capi.pscr_close(int(handle[0])) == Status.OK


def test_another_model_takes_no_reference(plain: Path) -> None:
    with pscr.open(plain, "cpu", 1) as scorer:
        for call in (scorer.score, lambda image, **more: scorer.score_many([image], **more)):
            with pytest.raises(PscrError) as caught:
                call(picture(0), pixel_format="rgb", reference=picture(0))
            assert_refused(caught, Status.INVALID_ARGUMENT, "takes no reference", "Scorer.score(image)")


def test_a_reference_of_another_size_is_refused_for_the_images_that_it_does_not_fit(scorer: Scorer) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score(picture(0), pixel_format="rgb", reference=picture(0, 50, 40))
    assert_refused(caught, Status.INVALID_ARGUMENT, "48x64", "40x50", "expected one size")
    images = [picture(0), picture(0, 50, 40)]
    fits, other = scorer.score_many(images, pixel_format="rgb", reference=images[0])
    assert fits.ok
    assert (other.status, "40x50" in other.message) == (Status.INVALID_ARGUMENT, True)


def test_a_reference_that_cannot_be_read_is_told_apart_from_the_image(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(PscrError) as caught:
        scorer.score(picture(0), pixel_format="rgb", reference=b"\xff\xd8\xff no jpeg")
    assert_refused(caught, Status.DECODE_FAILED, "the reference: ")
    with pytest.raises(PscrError) as caught:
        scorer.score_many([picture(0)], pixel_format="rgb", reference=tmp_path / "none.png")
    assert_refused(caught, Status.FILE_NOT_FOUND, "the reference: ", "none.png")


def test_a_full_reference_model_without_its_regressor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PscrError) as caught:
        pscr.open(write(tmp_path / "model", 0), "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, "full-reference", REGRESSOR)


# --- the command line -------------------------------------------------------------------------------------------------


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_score_compares_with_one_original_or_with_each_images_own(cli: Cli, model: Path, tmp_path: Path) -> None:
    images = [write_image(tmp_path / "damaged" / f"{seed}.png", seed) for seed in range(3)]
    for seed, ending in enumerate(("png", "bmp")):
        write_image(tmp_path / "originals" / f"{seed}.{ending}", seed + seed)
    one = cli("score", *images, "--model", model, "--reference", images[0], "--format", "csv", "-q")
    assert one.code == 0
    found = [float(row["score"]) for row in rows(one.out)]
    assert found[0] == pytest.approx(float(tiny.regressor().intercepts[0]), abs=1e-3)
    assert len(set(found)) == 3
    each = cli(
        "score", tmp_path / "damaged", "--model", model, "--reference", tmp_path / "originals", "--format", "csv"
    )
    assert each.code == 1  # one has no original
    own = rows(each.out)
    assert [row["status"] for row in own] == ["OK", "OK", "FILE_NOT_FOUND"]
    with pscr.open(model, "cpu", 1) as scorer:
        wanted = scorer.score(images[1], reference=tmp_path / "originals" / "1.bmp").score
    assert float(own[1]["score"]) == pytest.approx(wanted, abs=1e-3)


def test_resume_compares_with_the_same_originals(cli: Cli, model: Path, tmp_path: Path) -> None:
    images = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    words = ["score", *images, "--model", model, "-q", "-o", tmp_path / "scores.csv"]
    assert cli(*words, "--reference", images[0]).code == 0
    assert cli(*words, "--reference", images[0], "--resume").code == 0
    assert cli(*words, "--reference", images[1], "--resume").code == 2


def test_the_service_refuses_a_full_reference_model(cli: Cli, model: Path) -> None:
    pytest.importorskip("fastapi")
    refused = cli("serve", "--port", "0", "--model", model)
    assert refused.code != 0
    assert all(word in refused.error for word in NEEDED)


def test_the_command_line_refuses_what_does_not_go_together(cli: Cli, model: Path, plain: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image.png")
    for verb in (["score"], ["rank", image], ["map", "-o", tmp_path / "map.png"]):
        refused = cli(*verb, image, "--model", model)
        assert refused.code != 0
        assert all(word in refused.error for word in NEEDED), verb
    assert "takes no reference" in cli("score", image, "--model", plain, "--reference", image).error
    missing = cli("score", image, "--model", model, "--reference", tmp_path / "none.png")
    assert "the reference: " in missing.error
    ray = cli("score", image, "--model", model, "--reference", image, "--engine", "ray", "-o", tmp_path / "out")
    assert "--engine local" in ray.error


def test_info_tells_that_originals_are_needed(cli: Cli, model: Path) -> None:
    assert "the original of each image" in cli("info", model).out
