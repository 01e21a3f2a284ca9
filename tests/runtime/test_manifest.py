"""The manifest says what a model folder is, and vouches for its other files."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_model as tiny
from image_makers import assert_refused

from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import FILE_NAME, Manifest


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"abc")
    written = tiny.manifest({"images": "formula-1", "scores": [1.0], "tolerance": 0.001})
    written.write(tmp_path, ["notes.txt"])

    found = Manifest.read(tmp_path)

    assert replace(found, files={}) == written
    assert found.files["notes.txt"].size == 3
    assert found.files["notes.txt"].sha256 == hashlib.sha256(b"abc").hexdigest()


def test_manifest_of_the_design_has_every_key(tiny_model: Path) -> None:
    keys = set(json.loads((tiny_model / FILE_NAME).read_text("utf-8")))
    assert keys == {
        *("format_version", "family", "name", "version", "backbone", "precision", "sampling", "score"),
        *("bank", "training", "parity", "licence", "files", "golden"),
    }


def test_writing_twice_gives_the_same_bytes(own_model: Path) -> None:
    manifest = Manifest.read(own_model)
    before = (own_model / FILE_NAME).read_bytes()
    manifest.write(own_model, ["model.onnx", "bank.npz"])
    assert (own_model / FILE_NAME).read_bytes() == before


def test_a_manifest_without_golden_scores_promises_none(tmp_path: Path) -> None:
    tiny.manifest().write(tmp_path, [])
    assert Manifest.read(tmp_path).golden is None


def test_keys_of_tomorrow_are_ignored(own_model: Path) -> None:
    path, expected = own_model / FILE_NAME, Manifest.read(own_model)
    entries = json.loads(path.read_text("utf-8"))
    entries["colour"] = "blue"
    entries["sampling"]["colour"] = "blue"
    path.write_text(json.dumps(entries), "utf-8")
    assert Manifest.read(own_model) == expected


def test_names_beyond_ascii_survive(tmp_path: Path) -> None:
    replace(tiny.manifest(), name="größe 模型").write(tmp_path, [])
    assert Manifest.read(tmp_path).name == "größe 模型"


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(tiny.manifest(), parity={"largest_difference": float("nan")}).write(tmp_path, [])
    assert not (tmp_path / FILE_NAME).exists()


def test_verified_bytes_are_those_of_the_file(tiny_model: Path) -> None:
    data = Manifest.read(tiny_model).read_verified(tiny_model, "bank.npz")
    assert data == (tiny_model / "bank.npz").read_bytes()


def test_a_file_that_is_not_listed_is_not_read(own_model: Path) -> None:
    (own_model / "extra.bin").write_bytes(b"x")
    with pytest.raises(PscrError) as caught:
        Manifest.read(own_model).read_verified(own_model, "extra.bin")
    assert_refused(caught, Status.MODEL_INVALID, FILE_NAME, "'extra.bin'", "again")


def test_files_may_lie_in_folders_and_be_links_within(own_model: Path) -> None:
    (own_model / "engines").mkdir()
    (own_model / "engines" / "a.engine").write_bytes(b"plan")
    (own_model / "link.engine").symlink_to("engines/a.engine")
    Manifest.read(own_model).write(own_model, ["model.onnx", "engines/a.engine", "link.engine"])
    manifest = Manifest.read(own_model)
    assert manifest.read_verified(own_model, "engines/a.engine") == b"plan"
    assert manifest.read_verified(own_model, "link.engine") == b"plan"


def test_a_folder_reached_by_a_link_is_read(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(tiny_model, target_is_directory=True)
    manifest = Manifest.read(tmp_path / "latest")
    assert manifest.read_verified(tmp_path / "latest", "model.onnx")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PscrError) as caught:
        Manifest.read(tmp_path / "none")
    assert_refused(caught, Status.MODEL_INVALID, FILE_NAME, "No such file", "expected a model folder")


def test_moving_the_folder_changes_nothing(tiny_model: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(tiny_model, tmp_path / "with space"))
    assert Manifest.read(moved) == Manifest.read(tiny_model)
