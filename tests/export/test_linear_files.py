"""Regressors and encoders as published: read by name, every tensor accounted for, and nothing in them is executed."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import linear_files as published
import numpy as np
import pytest
import torch

from pscr.export.import_arniqa import DATABASES, ArniqaImport
from pscr.export.linear_encoders import ARNIQA, CONTRIQUE, REIQA, Layout, read_encoder
from pscr.export.linear_import import LinearOptions, scale_of
from pscr.export.regressor_files import read_regressor, to_unit
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.regressor import Regressor
from pscr.runtime.score_scale import ScoreScale

MOS = ScoreScale("quality", "KonIQ", (0.0, 100.0))
DMOS = ScoreScale("quality lost", "LIVE", (1.0, 100.0), higher_is_better=False)
WEIGHTS, INTERCEPT = published.linear(4096, 300.0, 53.5)


def read(file: Path) -> Regressor:
    return read_regressor(file, lambda: MOS)


def refused(file: Path, *words: str) -> None:
    with pytest.raises(PscrError) as caught:
        read(file)
    assert caught.value.status is Status.MODEL_INVALID
    for word in (str(file), *words):
        assert word in caught.value.message


@pytest.fixture(scope="module")
def state() -> published.State:
    return published.random_state(0)


# --- regressors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("weights", [WEIGHTS, WEIGHTS.astype(np.float64), WEIGHTS[None]], ids=["f4", "f8", "row"])
def test_a_ridge_is_read_as_it_was_fitted(weights: Any, protocol: int, tmp_path: Path) -> None:
    found = read(published.ridge(tmp_path / "Koniq.save", weights, INTERCEPT, protocol=protocol))
    assert np.array_equal(found.weights, WEIGHTS[None])
    assert (found.intercepts.tolist(), found.intercepts.dtype, found.score) == ([53.5], np.float32, MOS)


def test_a_torch_script_is_read_for_its_two_tensors(tmp_path: Path) -> None:
    file = published.torch_script(tmp_path / "regressor.pth", published.LinearModule(WEIGHTS, INTERCEPT))
    found = read(file)
    assert np.array_equal(found.weights, WEIGHTS[None])
    assert found.intercepts.tolist() == [53.5]


def test_a_file_of_pscr_regress_keeps_its_own_scale(tmp_path: Path) -> None:
    Regressor(WEIGHTS[None], np.ones(1, np.float32), DMOS).write(tmp_path / "own.npz")
    found = read_regressor(tmp_path / "own.npz", lambda: MOS, to_unit)
    assert np.array_equal(found.weights, WEIGHTS[None])
    assert (found.score.database, found.score.range) == (DMOS.database, DMOS.range)


def test_scores_in_0_to_1_have_the_worst_at_0_whichever_end_that_was() -> None:
    weights = np.array([[1.0]], np.float32)
    for scale, low, high in ((MOS, 0.0, 1.0), (DMOS, 1.0, 0.0)):
        found = to_unit(Regressor(weights, np.zeros(1, np.float32), scale))
        ends = [float(found.weights[0, 0] * end + found.intercepts[0]) for end in scale.range]
        assert ends == pytest.approx([low, high], abs=1e-6)
        assert (found.score.range, found.score.higher_is_better) == ((0.0, 1.0), True)


class Evil:
    """Runs a command when it is unpickled by whoever lets it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


def test_a_pickle_that_would_run_something_is_refused_by_its_name(tmp_path: Path) -> None:
    file = published.ridge(tmp_path / "CLIVE.save", Evil(tmp_path / "ran"), INTERCEPT)
    refused(file, "system", "do not use this file")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["Pipeline", "Lasso"])
def test_another_estimator_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    refused(
        published.ridge(tmp_path / "CLIVE.save", WEIGHTS, INTERCEPT, name=name), f"sklearn.linear_model._ridge.{name}"
    )


@pytest.mark.parametrize(
    "held", [[1.0, 2.0], {"coef_": [1.0]}, np.ones(3), "text"], ids=["list", "dict", "array", "text"]
)
def test_a_pickle_of_something_else_is_no_regressor(held: Any, tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(held, 3))
    refused(tmp_path / "a.pkl", "is no regressor", "expected a pickle of sklearn's Ridge")


@pytest.mark.parametrize(
    "weights", [np.array(["a"]), np.array([1, 2]), np.array([np.nan], np.float32), np.zeros(0, np.float32)]
)
def test_weights_that_are_no_finite_numbers_are_refused(weights: Any, tmp_path: Path) -> None:
    refused(published.ridge(tmp_path / "a.save", weights, INTERCEPT))


@pytest.mark.parametrize("size", [0, 1, 100, 16_000])
def test_a_file_that_was_cut_short_is_refused(size: int, tmp_path: Path) -> None:
    whole = published.ridge(tmp_path / "a.save", WEIGHTS, INTERCEPT).read_bytes()
    (tmp_path / "a.save").write_bytes(whole[:size])
    refused(tmp_path / "a.save")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PscrError) as caught:
        read(tmp_path / "none.save")
    assert caught.value.status is Status.FILE_NOT_FOUND


class Deeper(published.LinearModule):
    """A regressor that computes more than its two tensors say."""

    def __init__(self, weights: Any, intercept: float) -> None:
        super().__init__(weights, intercept)
        self.inner = torch.nn.Linear(2, 2)


class Another(published.LinearModule):
    """A regressor with a third tensor."""

    def __init__(self, weights: Any, intercept: float) -> None:
        super().__init__(weights, intercept)
        self.scale = torch.nn.Parameter(torch.ones(1))


def test_a_torch_script_with_parts_or_other_tensors_is_refused(tmp_path: Path) -> None:
    refused(
        published.torch_script(tmp_path / "a.pth", Deeper(WEIGHTS, INTERCEPT)),
        "__torch__.torch.nn.modules.linear.Linear",
    )
    refused(published.torch_script(tmp_path / "b.pth", Another(WEIGHTS, INTERCEPT)), "scale")


def test_a_torch_script_whose_data_names_code_is_refused_and_its_own_code_is_never_read(tmp_path: Path) -> None:
    good = published.torch_script(tmp_path / "good.pth", published.LinearModule(WEIGHTS, INTERCEPT))
    for name, data, there in (
        ("data.pkl", pickle.dumps(Evil(tmp_path / "ran"), 2), False),
        (".py", b"\0no code", True),
    ):
        changed = tmp_path / f"changed{there}.pth"
        with zipfile.ZipFile(good) as before, zipfile.ZipFile(changed, "w") as after:
            for entry in before.namelist():
                after.writestr(entry, data if entry.endswith(name) else before.read(entry))
        if there:
            assert np.array_equal(read(changed).weights, WEIGHTS[None])
        else:
            refused(changed, "system", "do not use this file")
    assert not (tmp_path / "ran").exists()


# --- what their scores mean -------------------------------------------------------------------------------------------


def options(**given: Any) -> LinearOptions:
    return ArniqaImport(output=Path("out"), encoder=Path("e"), regressor=Path("r"), **given)


@pytest.mark.parametrize(
    ("file", "given", "expected"),
    [
        ("regressor_kadid10k.pth", {}, ((1.0, 5.0), True)),
        ("regressor_live.pth", {}, ((1.0, 100.0), False)),
        ("csiq_srocc_0.96_plcc_0.97.pkl", {}, ((0.0, 1.0), False)),
        ("mine.pkl", {"database": "TID2013"}, ((0.0, 9.0), True)),
        ("mine.pkl", {"range": (1.0, 7.0), "lower_is_better": True}, ((1.0, 7.0), False)),
    ],
)
def test_the_database_says_the_range_and_the_direction(file: str, given: Any, expected: Any) -> None:
    found = scale_of(Path(file), options(**given), DATABASES)
    assert (found.range, found.higher_is_better) == expected


@pytest.mark.parametrize(
    ("given", "word"), [({}, "--database NAME --range LOW HIGH"), ({"range": (2.0, 1.0)}, "lowest")]
)
def test_a_scale_that_nobody_knows_is_asked_for(given: Any, word: str) -> None:
    with pytest.raises(PscrError) as caught:
        scale_of(Path("LIVE_FR.save"), options(**given), DATABASES)
    assert caught.value.status is Status.INVALID_ARGUMENT
    assert word in caught.value.message


# --- encoders ---------------------------------------------------------------------------------------------------------


def around(state: published.State, prefix: str) -> published.State:
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    ("layout", "made"),
    [
        (CONTRIQUE, published.contrique),
        (CONTRIQUE, lambda state: {"model": around(published.contrique(state), "module."), "epoch": 3}),
        (ARNIQA, published.arniqa),
        (ARNIQA, lambda state: {"model_state_dict": published.arniqa(state, "module.encoder."), "epoch": 3}),
        (REIQA, published.reiqa),
    ],
)
def test_every_tensor_of_an_encoder_finds_its_place(
    layout: Layout, made: Any, state: published.State, tmp_path: Path
) -> None:
    torch.save(made(state), tmp_path / "encoder.pth")
    found = read_encoder(tmp_path / "encoder.pth", layout)
    assert not found.training
    held = found.state_dict()
    assert set(held) == set(state)
    assert all(torch.equal(held[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("layout", "made", "words"),
    [
        (CONTRIQUE, published.arniqa, ["pscr import arniqa"]),
        (ARNIQA, published.contrique, ["pscr import contrique"]),
        (ARNIQA, published.reiqa, ["pscr import reiqa"]),
        (REIQA, published.contrique, ["pscr import contrique"]),
        (
            CONTRIQUE,
            lambda state: published.contrique(state) | {"fc.weight": torch.zeros(1)},
            ["unexpected key 'fc.weight'"],
        ),
        (CONTRIQUE, published.reiqa, ["pscr import reiqa"]),
        (REIQA, published.arniqa, ["pscr import arniqa"]),
        (CONTRIQUE, published.contrique, ["key 'bn1.weight' is missing"]),
        (REIQA, lambda state: {"encoder.conv1.weight": torch.zeros(64, 3, 3, 3)}, ["has shape (64, 3, 3, 3)"]),
        (REIQA, lambda state: {"epoch": 3}, ["holds epoch", "expected the state dict of reiqa"]),
        (REIQA, lambda state: torch.zeros(3), ["holds Tensor"]),
    ],
)
def test_another_checkpoint_is_refused_by_what_it_holds(
    layout: Layout, made: Any, words: list[str], state: published.State, tmp_path: Path
) -> None:
    torch.save(made({"conv1.weight": state["conv1.weight"]}), tmp_path / "encoder.pth")
    with pytest.raises(PscrError) as caught:
        read_encoder(tmp_path / "encoder.pth", layout)
    assert caught.value.status is Status.MODEL_INVALID
    for word in words:
        assert word in caught.value.message


def test_an_encoder_that_would_run_something_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Evil(tmp_path / "ran")}, tmp_path / "encoder.pth")
    with pytest.raises(PscrError) as caught:
        read_encoder(tmp_path / "encoder.pth", REIQA)
    assert "not a readable torch checkpoint" in caught.value.message
    assert not (tmp_path / "ran").exists()
