"""The linear family: whole images of any size, regressors that vote, and scales that run either way."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_linear as tiny
from cli_testing import Cli, write_image
from image_makers import assert_refused
from serve_process import serving

import pscr
from pscr.runtime import capi
from pscr.runtime.backends.base import Takes
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.linear import REGRESSOR
from pscr.runtime.manifest import FILE_NAME, Manifest
from pscr.runtime.samplings import Whole, read


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("linear") / "model")


def picture(seed: int, height: int = 64, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256 >> seed % 3, (height, width, 3), np.uint8)


@pytest.mark.parametrize("count", [1, 3])
def test_images_of_any_sizes_are_scored_whole_in_one_stream(count: int, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "model", count)
    images = [picture(seed, *sides) for seed, sides in enumerate([(64, 48), (33, 90), (64, 48), (2, 2), (33, 90)])]
    with pscr.open(folder, "cpu", 1) as scorer:
        results = list(scorer.score_many(images, pixel_format="rgb", batch=4))
    for image, result in zip(images, results, strict=True):
        votes = tiny.expected(image, count)
        assert result.score == pytest.approx(votes.mean(), abs=1e-3)
        assert (result.width, result.height, result.message) == (image.shape[1], image.shape[0], "")
        assert result.spread == (None if count == 1 else pytest.approx(votes.std(), abs=1e-3))


def test_an_image_of_one_pixel_is_padded_and_one_too_long_is_refused(model: Path) -> None:
    with pscr.open(model, "cpu", 1) as scorer:
        result = scorer.score(picture(0, 1, 300), pixel_format="rgb")
        assert "padded from 300x1 to 300x2" in result.message
        with pytest.raises(PscrError) as caught:
            scorer.score(picture(0, 8, 601), pixel_format="rgb")
    assert_refused(caught, Status.IMAGE_TOO_LARGE, "601x8", "up to 600 pixels", "scale it down")


def test_the_flat_form_scores_and_says_which_family_it_is(model: Path) -> None:
    handle, out, image = np.zeros(1, np.int64), np.zeros(2), picture(2)
    assert capi.pscr_open(str(model), "cpu", 1, handle) == Status.OK
    assert capi.pscr_score_pixels(int(handle[0]), image, 64, 48, 0, "rgb", out) == Status.OK
    assert out[0] == pytest.approx(tiny.expected(image)[0], abs=1e-3)
    assert np.isnan(out[1])
    assert [capi.pscr_info(int(handle[0]), key) for key in ("family", "regressors")] == ["linear", "1"]
    assert capi.pscr_close(int(handle[0])) == Status.OK


def test_a_map_scores_windows_as_images_of_their_own(model: Path) -> None:
    image = picture(5, 100, 40)
    with pscr.open(model, "cpu", 1) as scorer:
        found = pscr.quality_map(scorer, image, pixel_format="rgb", window=64, stride=36)
        assert found.values.shape == (2, 1)
        for top, value in zip(found.corners_y, found.values[:, 0], strict=True):
            assert value == pytest.approx(tiny.expected(image[top : top + 64])[0], abs=1e-3)
        with pytest.raises(PscrError) as caught:
            pscr.quality_map(scorer, image, pixel_format="rgb", window=513)
    assert_refused(caught, Status.INVALID_ARGUMENT, "513", "16 to 512")


def test_openvino_gives_the_same_scores_for_each_size(model: Path) -> None:
    pytest.importorskip("openvino")
    with pscr.open(model, "openvino", 1) as scorer:
        for sides in ((64, 48), (31, 77), (64, 48)):
            image = picture(1, *sides)
            found = scorer.score(image, pixel_format="rgb").score
            assert found == pytest.approx(tiny.expected(image)[0], abs=1e-2)


def test_other_regressors_bring_their_own_scale(model: Path, tmp_path: Path) -> None:
    tiny.regressor(3).write(tmp_path / "other.npz")
    for given in (tmp_path / "other.npz", tiny.regressor(3)):
        with pscr.open(model, "cpu", 1, head=given) as scorer:
            result = scorer.score(picture(4), pixel_format="rgb")
            assert result.score == pytest.approx(tiny.expected(picture(4), 3).mean(), abs=1e-3)
            assert scorer.scale.database == "made up"
            assert scorer.head.has_spread
    with pytest.raises(PscrError) as caught:
        pscr.open(model, "cpu", 1, bank=tiny.tiny.weights().bank)
    assert_refused(caught, Status.INVALID_ARGUMENT, "no exemplars")


# --- commands and the service -----------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / f"{side}.png", side, side) for side in (60, 61, 90)]


def test_rank_puts_what_lost_least_first(cli: Cli, model: Path, images: list[Path]) -> None:
    done = cli("rank", *images, "--model", model, "--format", "jsonl", "-q")
    scores = [json.loads(line)["score"] for line in done.out.splitlines()]
    assert len(scores) == 3
    assert scores == sorted(scores)


def test_info_and_report_tell_of_the_regressors(cli: Cli, model: Path, images: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    told = cli("info", model).out
    assert "1 regressor; no spread, on 8 features" in told
    assert "lower is better" in told
    assert json.loads(cli("info", model, "--json").out)["regressors"] == 1
    assert cli("report", *images, "--model", model, "-o", tmp_path / "page.html", "-q").code == 0
    assert "1 regressor" in (tmp_path / "page.html").read_text()


def test_the_service_takes_images_of_several_sizes_in_one_request(model: Path, images: list[Path]) -> None:
    httpx = pytest.importorskip("httpx")
    with serving(model) as served:
        parts = [("image", (path.name, path.read_bytes())) for path in images]
        answer = httpx.post(f"{served.url}/v1/score", files=parts, timeout=30).json()
    assert [(one["width"], one["status"], one["spread"]) for one in answer["results"]] == [
        (side, "OK", None) for side in (60, 61, 90)
    ]


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_a_model_without_a_regressor_gives_features_and_no_scores(cli: Cli, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "model", 0)
    with pscr.open(folder, "cpu", 1) as scorer:
        assert scorer.terms(scorer.patches(picture(0), pixel_format="rgb")[None]).shape == (1, 8)
        with pytest.raises(PscrError) as caught:
            scorer.score(picture(0), pixel_format="rgb")
    assert_refused(caught, Status.INVALID_ARGUMENT, "without a regressor", "pscr regress", "--head")
    assert "no regressor yet, for 8 features" in cli("info", folder).out
    image, output = write_image(tmp_path / "image.png"), tmp_path / "scores.csv"
    done = cli("score", image, "--model", folder, "-o", output)
    assert (done.code, output.exists()) == (2, False)
    assert "pscr regress" in done.err


def test_a_regressor_of_another_width_is_refused(model: Path, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "model")
    tiny.regressor(1, width=9).write(folder / REGRESSOR)
    tiny.manifest().write(folder, ["model.onnx", REGRESSOR])
    with pytest.raises(PscrError) as caught:
        pscr.open(folder, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, "weights is [1, 9]", "model.onnx takes [K, 8]", "fitted on this model")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x03N."])
def test_a_damaged_regressor_is_refused(data: bytes, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "model")
    (folder / REGRESSOR).write_bytes(data)
    tiny.manifest().write(folder, ["model.onnx", REGRESSOR])
    with pytest.raises(PscrError) as caught:
        pscr.open(folder, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, REGRESSOR, "is no regressor")


@pytest.mark.parametrize("features", [None, 0, True, "8", 1 << 40])
def test_a_manifest_without_a_usable_number_of_features_is_refused(features: object, tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "model", 0)
    dataclasses.replace(tiny.manifest(), bank={"features": features}).write(folder, ["model.onnx"])
    with pytest.raises(PscrError) as caught:
        pscr.open(folder, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, "number of features")


def test_a_graph_of_fixed_sides_does_not_take_whole_images(tmp_path: Path) -> None:
    folder = tiny.write(tmp_path / "model", model=tiny.graph(64, 64))
    with pytest.raises(PscrError) as caught:
        pscr.open(folder, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, "takes images of any size")


def test_an_engine_of_some_sides_says_which(model: Path) -> None:
    with pscr.open(model, "cpu", 1) as scorer:
        scorer._backend.takes = Takes(sides=(64, 1024))
        with pytest.raises(PscrError) as caught:
            scorer.score(picture(0, 63, 100), pixel_format="rgb")
    assert_refused(caught, Status.INVALID_ARGUMENT, "100x63", "from 64 to 1024", "another device")


@pytest.mark.parametrize(
    "changes", [{"patch": 5}, {"longest": 0}, {"longest": 1 << 30}, {"starts": [0, 1]}, {"view": 512}]
)
def test_a_sampling_of_whole_images_has_no_patches(changes: dict[str, object], tmp_path: Path) -> None:
    entry = Whole().to_dict() | changes
    with pytest.raises(PscrError) as caught:
        read(entry)
    assert caught.value.status is Status.MODEL_INVALID
    folder = tiny.write(tmp_path / "model")
    entries = json.loads((folder / FILE_NAME).read_text()) | {"sampling": entry}
    (folder / FILE_NAME).write_text(json.dumps(entries))
    with pytest.raises(PscrError):
        Manifest.read(folder)
