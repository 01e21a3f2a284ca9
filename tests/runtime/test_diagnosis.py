"""What an image looks like: by the model's own terms, through the inference that scores it, and strictly read."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_diagnosis
from image_makers import assert_refused, encoded

import pscr
from pscr.runtime import npz_file
from pscr.runtime.diagnosis import CLEAN, FILE, Classifier, Diagnosis
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest
from pscr.runtime.models import locate, packaged
from pscr.runtime.regressor import Regressor
from pscr.runtime.score_scale import ScoreScale

PICTURES = [np.random.default_rng(seed).integers(0, 256 >> seed, (96, 80, 3), np.uint8) for seed in range(5)]


@pytest.fixture
def model(own_model: Path) -> Path:
    tiny_diagnosis.add(own_model)
    return own_model


def regressor() -> Regressor:
    weights = np.ones((2, 8), np.float32)
    return Regressor(weights, np.array([1, 2], np.float32), ScoreScale("quality", "made up", (0, 5)))


@pytest.mark.parametrize("device", ["cpu", "openvino"])
@pytest.mark.parametrize("head", [None, regressor()], ids=["own", "regressed"])
def test_scores_are_the_same_to_the_bit_with_and_without_a_diagnosis(
    model: Path, device: str, head: Regressor | None
) -> None:
    if device == "openvino":
        pytest.importorskip("openvino")
    with pscr.open(model, device, 1, head=head) as scorer:
        plain = list(scorer.score_many(PICTURES, pixel_format="rgb", batch=2))
        diagnosed = list(scorer.score_many(PICTURES, pixel_format="rgb", batch=2, diagnose=True))
        assert [replace(one, diagnosis=None) for one in diagnosed] == plain
        assert all(one.diagnosis is None for one in plain)
        alone = scorer.score(PICTURES[0], pixel_format="rgb", diagnose=True)
        assert replace(alone, diagnosis=None) == scorer.score(PICTURES[0], pixel_format="rgb")


def test_a_diagnosis_is_the_softmax_over_types_of_the_models_terms_summed_by_kind(model: Path) -> None:
    made = tiny_diagnosis.classifier()
    with pscr.open(model, "cpu", 1) as scorer:
        found = scorer.score(PICTURES[1], pixel_format="rgb", diagnose=True).diagnosis
        terms = scorer.terms(scorer.patches(PICTURES[1], pixel_format="rgb")[None])[0].astype(np.float64)
    logits = made.weights @ terms + made.intercepts
    shares = np.exp(logits) / np.exp(logits).sum()
    assert found is not None
    assert found.all == pytest.approx({"blur": shares[0], "noise": shares[1] + shares[2], CLEAN: shares[3]})
    assert found.kind == max(found.all, key=lambda kind: found.all[kind])
    assert found.probability == found.all[found.kind]
    assert found.degree == pytest.approx(np.clip(made.degree[:-1] @ terms + made.degree[-1], 1, 5))


def test_an_image_without_a_score_has_no_diagnosis_and_the_others_have_one(model: Path) -> None:
    with pscr.open(model, "cpu", 1) as scorer:
        found = list(
            scorer.score_many([encoded(PICTURES[0], "PNG"), b"no image", encoded(PICTURES[1], "PNG")], diagnose=True)
        )
    assert [one.diagnosis is not None for one in found] == [True, False, True]


def test_a_model_without_one_is_refused_by_name_before_anything_is_read(tiny_model: Path) -> None:
    with pscr.open(tiny_model, "cpu", 1) as scorer:
        for ask in (lambda: scorer.score("gone.png", diagnose=True), lambda: scorer.score_many(["x"], diagnose=True)):
            with pytest.raises(PscrError) as caught:
                ask()
            assert_refused(caught, Status.INVALID_ARGUMENT, "tiny", FILE)


def test_what_is_written_is_read_back_and_the_same_to_the_byte() -> None:
    made, files = tiny_diagnosis.classifier(), [io.BytesIO(), io.BytesIO()]
    made.write(files[0])
    Classifier.from_bytes(files[0].getvalue()).write(files[1])
    assert files[0].getvalue() == files[1].getvalue()


def test_words_never_say_more_than_looks_like() -> None:
    assert Diagnosis("blur", 0.824, 3.38).in_words() == "blur (82 %), degree 3.4 of 5"
    assert Diagnosis(CLEAN, 0.91, 1.2).in_words() == "clean (91 %)"


def entries(**other: Any) -> dict[str, Any]:
    made = tiny_diagnosis.classifier()
    usual = {key: getattr(made, key) for key in ("weights", "intercepts", "degree", "probe", "about")}
    return {**usual, "kinds": list(made.kinds), **other}


WRONG: dict[str, dict[str, Any]] = {
    "float64": {"weights": np.zeros((4, 8))},
    "a type less": {"weights": np.zeros((3, 8), np.float32)},
    "a side more": {"weights": np.zeros((1, 4, 8), np.float32)},
    "no features": {"weights": np.zeros((4, 0), np.float32)},
    "nan": {"weights": np.full((4, 8), np.nan, np.float32)},
    "an intercept more": {"intercepts": np.zeros(5, np.float32)},
    "no intercepts": {"intercepts": None},
    "a degree without intercept": {"degree": np.zeros(8, np.float32)},
    "a wide probe": {"probe": np.zeros(9, np.float32)},
    "a kind less": {"kinds": ["blur", "noise", "clean"]},
    "nothing clean": {"kinds": ["blur", "noise", "noise", "colour"]},
    "a number for a kind": {"kinds": ["blur", "noise", 1, "clean"]},
    "two lines": {"kinds": ["blur", "noise", "two\nlines", "clean"]},
    "a long kind": {"kinds": ["blur", "noise", "x" * 41, "clean"]},
    "kinds as an object": {"kinds": {"blur": 1}},
    "about as a list": {"about": []},
    "pickled": {"weights": np.array([[object()] * 8] * 4)},
}


@pytest.mark.parametrize("other", WRONG.values(), ids=WRONG)
def test_a_file_that_is_no_diagnosis_is_model_invalid(own_model: Path, other: dict[str, Any]) -> None:
    data = io.BytesIO()
    if any(isinstance(one, np.ndarray) and one.dtype.hasobject for one in other.values()):
        np.savez(data, **entries(**other))
    else:
        npz_file.write(data, entries(**other))
    tiny_diagnosis.add(own_model, data.getvalue())
    with pytest.raises(PscrError) as caught:
        pscr.open(own_model, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, FILE, "is no diagnosis")


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-30], lambda data: b"", lambda data: data[:50] + bytes(60) + data[110:]]
)
def test_a_damaged_file_is_model_invalid_even_where_its_hash_fits(own_model: Path, damage: Any) -> None:
    data = io.BytesIO()
    tiny_diagnosis.classifier().write(data)
    tiny_diagnosis.add(own_model, damage(data.getvalue()))
    with pytest.raises(PscrError) as caught:
        pscr.open(own_model, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, FILE)


def test_a_file_whose_hash_does_not_fit_is_model_invalid(model: Path) -> None:
    data = (model / FILE).read_bytes()
    (model / FILE).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(PscrError) as caught:
        pscr.open(model, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, FILE, "sha256")


@pytest.mark.parametrize("width", [8, 9], ids=["another network", "another width"])
def test_a_classifier_of_another_model_is_refused(own_model: Path, width: int) -> None:
    foreign = replace(tiny_diagnosis.classifier(width), probe=np.full(width, 9, np.float32))
    data = io.BytesIO()
    foreign.write(data)
    tiny_diagnosis.add(own_model, data.getvalue())
    with pytest.raises(PscrError) as caught:
        pscr.open(own_model, "cpu", 1)
    assert_refused(caught, Status.MODEL_INVALID, "diagnosis was built with another model")


EXAMPLES = Path(__file__).parents[2] / "examples" / "images"
DIAGNOSING = [name for name in packaged() if FILE in Manifest.read(locate(name)).files]


@pytest.mark.slow
@pytest.mark.parametrize("name", DIAGNOSING)
def test_a_packaged_model_recognises_strong_damage_to_an_example_image(name: str) -> None:
    image = load(EXAMPLES / "astronaut.jpg")
    damaged = {
        "blur": cv2.GaussianBlur(image, None, 5),
        "noise": image + np.random.default_rng(0).normal(0, 25, image.shape),
        "compression": load(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 5])[1].tobytes()),
    }
    with pscr.open(name, "cpu", 1) as scorer:
        for kind, changed in damaged.items():
            pixels = np.clip(changed, 0, 255).astype(np.uint8)
            found = scorer.score(pixels, pixel_format="rgb", diagnose=True).diagnosis
            assert found is not None
            assert found.kind == kind
            assert found.degree > 3
