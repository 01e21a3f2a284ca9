"""An installed model can prove that it still gives the scores it gave at export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_makers import assert_refused

import pscr
from pscr.runtime import golden, verification
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import FILE_NAME, Manifest
from pscr.runtime.models import PACKAGED, packaged

DIGESTS = ["48f6bb04173fae6d", "06732a534617ecc2", "a43bc237ad75add6", "b65b2567a120cb77"]


@pytest.fixture
def scorer(tiny_model: Path) -> Iterator[pscr.Scorer]:
    """The tiny model, open on the CPU."""
    with pscr.open(tiny_model, device="cpu", threads=1) as opened:
        yield opened


def with_golden(folder: Path, entry: Any) -> pscr.Scorer:
    """The model with another promise, open."""
    entries = json.loads((folder / FILE_NAME).read_text("utf-8"))
    entries["golden"] = entry
    (folder / FILE_NAME).write_text(json.dumps(entries), "utf-8")
    return pscr.open(folder, device="cpu", threads=1)


def test_images_of_formula_1_never_change() -> None:
    images = golden.golden_images()
    assert [image.shape for image in images.values()] == [(512, 512, 3), (300, 420, 3), (384, 640, 3), (100, 100, 3)]
    assert all(image.dtype == np.uint8 and image.flags.c_contiguous for image in images.values())
    digests = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in images.values()]
    assert digests == DIGESTS


def test_every_promise_of_a_whole_model_is_kept(scorer: pscr.Scorer) -> None:
    found = verification.check(scorer)
    assert [name for name, _, _ in found] == list(golden.golden_images())
    for _, promised, score in found:
        assert score == pytest.approx(promised, abs=1e-5)


def test_golden_images_are_told_apart(scorer: pscr.Scorer) -> None:
    scores = [score for _, _, score in verification.check(scorer)]
    assert np.diff(sorted(scores)).min() > 1e-3


def test_a_model_that_has_changed_breaks_its_promise(own_model: Path) -> None:
    manifest = Manifest.read(own_model)
    assert manifest.golden is not None
    moved = {**manifest.golden, "scores": [score + 0.5 for score in manifest.golden["scores"]]}
    with with_golden(own_model, moved) as scorer:
        assert all(
            promised - found == pytest.approx(0.5, abs=1e-4) for _, promised, found in verification.check(scorer)
        )


def test_a_promise_is_rounded_to_millionths_and_names_its_images() -> None:
    assert golden.promise([1.23456789], 1e-3) == {"images": "formula-1", "scores": [1.234568], "tolerance": 1e-3}
    assert golden.promise([50.0], 0.02) == {"images": "formula-1", "scores": [50.0], "tolerance": 0.02}


GOOD = {"images": "formula-1", "scores": [1.0, 2.0, 3.0, 4.0], "tolerance": 0.001}


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {**GOOD, "images": "formula-2"},
        {**GOOD, "scores": [1.0, 2.0, 3.0]},
        {**GOOD, "scores": [1.0, 2.0, 3.0, None]},
        {**GOOD, "scores": [1.0, 2.0, 3.0, "four"]},
        {**GOOD, "scores": [1.0, 2.0, 3.0, float("nan")]},
        {**GOOD, "scores": [1.0, 2.0, 3.0, 10**400]},
        {**GOOD, "scores": 4},
        {**GOOD, "scores": "1234"},
        {**GOOD, "scores": ["1", "2", "3", "4"]},
        {**GOOD, "scores": [True, False, True, True]},
        {**GOOD, "scores": [1.0, 2.0, 3.0, 4.0, None]},
        {"scores": GOOD["scores"]},
    ],
)
def test_a_promise_that_cannot_be_read_is_refused(own_model: Path, entry: Any) -> None:
    with with_golden(own_model, entry) as scorer, pytest.raises(PscrError) as caught:
        verification.check(scorer)
    assert_refused(caught, Status.MODEL_INVALID, "tiny", "no golden scores", "export it again")


@pytest.mark.parametrize(
    "tolerance", [None, 0, -0.001, float("nan"), float("inf"), 10**400, 1e9, 0.051, "0.001", True, [0.001]]
)
def test_a_tolerance_that_promises_nothing_is_refused(own_model: Path, tolerance: Any) -> None:
    with with_golden(own_model, {**GOOD, "tolerance": tolerance}) as scorer, pytest.raises(PscrError) as caught:
        verification.check(scorer)
    assert_refused(caught, Status.MODEL_INVALID, "tiny", "tolerance", "at most 0.05, 1% of the range 0 to 5", "again")


@pytest.mark.parametrize(("precision", "score_range", "most"), [("fp32", (0, 5), 0.05), ("fp16", (0, 100), 1.0),
                                                                ("int8", (0, 5), 0.15)])  # fmt: skip
def test_a_tolerance_may_be_a_hundredth_of_the_range(
    tiny_model: Path, precision: str, score_range: tuple[float, float], most: float
) -> None:
    manifest = Manifest.read(tiny_model)
    score = replace(manifest.score, range=score_range)
    for tolerance in (most / 100, most):
        made = replace(manifest, precision=precision, score=score, golden={**GOOD, "tolerance": tolerance})
        assert verification.tolerance(made) == tolerance
    with pytest.raises(PscrError, match="golden scores have the tolerance"):
        verification.tolerance(replace(manifest, precision=precision, score=score, golden={"tolerance": 1.1 * most}))


@pytest.mark.parametrize("name", packaged())
def test_packaged_models_promise_what_they_did(name: str) -> None:
    manifest = Manifest.read(PACKAGED / name)
    low, high = manifest.score.range
    assert verification.tolerance(manifest) == pytest.approx(2e-4 * (high - low))  # 0.001 of scores from 0 to 5
