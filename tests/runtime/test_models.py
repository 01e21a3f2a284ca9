"""A model is found by the path of its folder or by its packaged name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from image_makers import assert_refused

import pscr
from pscr.runtime import models
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import Manifest


def test_packaged_models_are_found_by_name() -> None:
    for name in models.packaged():
        assert models.locate(name) == models.PACKAGED / name
        assert Manifest.read(models.locate(name)).name == name


def test_a_folder_is_found_by_its_path(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models.locate(tiny_model) == tiny_model
    assert models.locate(str(tiny_model)) == tiny_model
    monkeypatch.chdir(tiny_model.parent)
    assert models.locate(tiny_model.name) == Path(tiny_model.name)


@pytest.mark.parametrize("given", [str, Path])
def test_a_folder_that_lies_here_does_not_take_a_packaged_models_place(
    own_model: Path, monkeypatch: pytest.MonkeyPatch, given: type
) -> None:
    name = pscr.runtime.scorer.DEFAULT_MODEL
    own_model.rename(own_model.with_name(name))
    monkeypatch.chdir(own_model.parent)
    assert models.locate(given(name)) == models.PACKAGED / name
    for named in (f"./{name}", f"{name}/", str(own_model.with_name(name)), own_model.with_name(name)):
        assert Manifest.read(models.locate(named)).name == "tiny"


@pytest.mark.parametrize(
    "model", ["no-such-model", "../x", "a" * 5000, "a\0b", "", "two\nlines"], ids=lambda name: ascii(name)[:12]
)
def test_an_unknown_name_is_refused_with_the_names_there_are(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PscrError) as caught:
        models.locate(model)
    assert_refused(caught, Status.MODEL_INVALID, "model")


def test_the_message_lists_the_packaged_models() -> None:
    with pytest.raises(PscrError) as caught:
        models.locate("no-such-model")
    assert_refused(caught, Status.MODEL_INVALID, "'no-such-model'", *models.packaged())


def test_a_folder_without_manifest_says_so(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(PscrError) as caught:
        models.locate(tmp_path)
    assert_refused(caught, Status.MODEL_INVALID, str(tmp_path), "without manifest.json", "expected a model folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_that_may_not_be_entered_says_so(own_model: Path) -> None:
    own_model.chmod(0)
    try:
        with pytest.raises(PscrError) as caught:
            models.locate(own_model)
    finally:
        own_model.chmod(0o700)
    assert_refused(caught, Status.MODEL_INVALID, "Permission denied")


@pytest.mark.parametrize("model", [None, 5, 1.5, b"bytes", ["list"]])
def test_what_is_no_path_is_an_invalid_argument(model: Any) -> None:
    with pytest.raises(PscrError) as caught:
        pscr.open(model, device="cpu", threads=1)
    assert_refused(caught, Status.INVALID_ARGUMENT, type(model).__name__, "expected")
