"""Damaged and hostile files and manifests: always MODEL_INVALID, one line, nothing printed, never a crash."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hostile_folders import (
    CALIBRATION,
    DEEP,
    INF,
    assert_invalid,
    edit,
    put,
    short,
)

import pscr
from pscr.runtime.manifest import FILE_NAME, FORMAT_VERSION

# --- files that are not what the manifest lists ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_flipped_byte_anywhere_is_found(own_model: Path, name: str) -> None:
    data = (own_model / name).read_bytes()
    for position in (0, 1, len(data) // 3, len(data) // 2, len(data) - 2, len(data) - 1):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        (own_model / name).write_bytes(damaged)
        assert_invalid(own_model, str(own_model / name), "sha256")


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_another_size_is_found(own_model: Path, name: str) -> None:
    data = (own_model / name).read_bytes()
    for other in (data[:-1], data[: len(data) // 2], data + b"\0", b""):
        (own_model / name).write_bytes(other)
        assert_invalid(own_model, str(own_model / name), f"has {len(other)} bytes", f"expected {len(data)}")


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_missing_file_is_named(own_model: Path, name: str) -> None:
    (own_model / name).unlink()
    assert_invalid(own_model, str(own_model / name), "No such file")


def test_missing_manifest_is_named(own_model: Path) -> None:
    (own_model / FILE_NAME).unlink()
    assert_invalid(own_model, str(own_model), FILE_NAME)


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_file_that_is_not_listed_is_not_opened(own_model: Path, name: str) -> None:
    edit(own_model, lambda entries: entries["files"].pop(name))
    assert_invalid(own_model, FILE_NAME, f"does not list '{name}'")


# --- files that lead out, or are no files -----------------------------------------------------------------------------


def test_link_that_leads_out_is_refused(own_model: Path, tmp_path: Path) -> None:
    (own_model / "model.onnx").rename(tmp_path / "outside.onnx")
    for target in (tmp_path / "outside.onnx", Path("../outside.onnx")):
        (own_model / "model.onnx").unlink(missing_ok=True)
        (own_model / "model.onnx").symlink_to(target)
        assert_invalid(own_model, str(own_model / "model.onnx"), "leads out of the model folder")


def test_link_in_a_circle_is_refused(own_model: Path) -> None:
    (own_model / "model.onnx").unlink()
    (own_model / "model.onnx").symlink_to("model.onnx")
    assert_invalid(own_model, str(own_model / "model.onnx"), "cannot be read")


def test_folder_in_place_of_a_file_is_refused(own_model: Path) -> None:
    (own_model / "bank.npz").unlink()
    (own_model / "bank.npz").mkdir()
    assert_invalid(own_model, str(own_model / "bank.npz"), "not a plain file")


def test_pipe_in_place_of_a_file_is_refused_without_waiting(own_model: Path) -> None:
    (own_model / "model.onnx").unlink()
    os.mkfifo(own_model / "model.onnx")
    edit(own_model, put("files", "model.onnx", "size", value=0))
    assert_invalid(own_model, str(own_model / "model.onnx"), "not a plain file")


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "//host/share", "../outside", "a/../../outside", "..", ".", "", "..\\outside", "a\\b"),
        *("C:outside", "C:/outside", "c:\\outside", "a\0b"),
    ],
)
def test_listed_path_that_leads_out_is_refused(own_model: Path, name: str) -> None:
    edit(own_model, put("files", name, value={"sha256": "0" * 64, "size": 1}))
    assert_invalid(own_model, FILE_NAME, "leads out of the model folder")


# --- the manifest itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"not json", b"\xff\xfe\x00", b"\x80", b"\0" * 64, b"[" * 100_000, b'{"a":' * 100_000),
        *(b"[]", b"null", b"7", b'"manifest"', b"1" * 5000, b"{}", b'{"format_version": ' + b"1" * 5000 + b"}"),
    ],
    ids=short,
)
def test_manifest_of_other_text_is_refused(own_model: Path, text: bytes) -> None:
    (own_model / FILE_NAME).write_bytes(text)
    assert_invalid(own_model, FILE_NAME)


def test_flipped_byte_in_the_manifest_never_crashes(own_model: Path) -> None:
    data = (own_model / FILE_NAME).read_bytes()
    for position in (0, 1, 3, data.index(b"format_version"), data.index(b"ops"), data.index(b"sha256"), len(data) - 2):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        (own_model / FILE_NAME).write_bytes(damaged)
        assert_invalid(own_model, FILE_NAME)


@pytest.mark.parametrize(
    "key",
    [
        *("format_version", "family", "name", "version", "backbone", "precision", "sampling", "score"),
        *("bank", "training", "parity", "licence", "files"),
    ],
)
@pytest.mark.parametrize("value", [None, 7, 1.5, True, [], DEEP])
def test_key_that_is_missing_or_of_another_type_is_named(own_model: Path, key: str, value: Any) -> None:
    if key == "format_version" and value == 7:
        value = 0
    edit(own_model, put(key, value=value))
    assert_invalid(own_model, FILE_NAME, f"'{key}'")
    edit(own_model, lambda entries: entries.pop(key))
    assert_invalid(own_model, FILE_NAME, f"'{key}'")


def test_newer_format_is_refused_by_name(own_model: Path) -> None:
    edit(own_model, lambda entries: entries.update(format_version=FORMAT_VERSION + 1, name="of-tomorrow"))
    assert_invalid(
        own_model, FILE_NAME, "'of-tomorrow'", f"format_version {FORMAT_VERSION + 1}", f"pscr {pscr.__version__}"
    )


def test_newer_format_is_refused_before_its_keys_are_looked_at(own_model: Path) -> None:
    (own_model / FILE_NAME).write_text(json.dumps({"format_version": 10**400, "name": DEEP}), "utf-8")
    assert_invalid(own_model, FILE_NAME, "upgrade pscr")


@pytest.mark.parametrize("family", ["clip", "PSCR", "x" * 100_000, DEEP], ids=short)
def test_another_family_is_refused(own_model: Path, family: Any) -> None:
    edit(own_model, put("family", value=family))
    assert_invalid(own_model, FILE_NAME, "'family'", "'pscr'")


@pytest.mark.parametrize(
    "bounds",
    [
        None,
        [],
        [0],
        [0, 1, 2],
        [0, INF],
        [float("nan"), 5],
        [5, 0],
        [1, 1],
        ["0", "5"],
        "05",
        [0, 10**400],
        {},
        5,
        [-1e308, 1e308],
    ],
    ids=short,
)
def test_range_that_is_none_is_refused(own_model: Path, bounds: Any) -> None:
    edit(own_model, put("score", "range", value=bounds))
    assert_invalid(own_model, FILE_NAME, "'score'", "range")


@pytest.mark.parametrize("key", ["meaning", "database", "range", "higher_is_better"])
@pytest.mark.parametrize("value", [None, 7, [], DEEP])
def test_score_of_other_types_is_refused(own_model: Path, key: str, value: Any) -> None:
    edit(own_model, put("score", key, value=value))
    assert_invalid(own_model, FILE_NAME, "'score'")
    edit(own_model, lambda entries: entries["score"].pop(key))
    assert_invalid(own_model, FILE_NAME, "'score'", key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("method", value) for value in ("rps", "", None, 7, [])),
        *(("patch", value) for value in (0, -1, 65, 32.5, "32", None, [], INF, 10**400)),
        *(("starts", value) for value in ([], [0, 33], [-1], "049", ["0"], 7, None, [0.5], [INF], [None], [0] * 33)),
        *(("reference_side", value) for value in (31, 0, -64, "64", None, INF, 10**400, 10**9)),
    ],
    ids=short,
)
def test_sampling_that_cannot_be_is_refused(own_model: Path, key: str, value: Any) -> None:
    edit(own_model, put("sampling", key, value=value))
    assert_invalid(own_model, FILE_NAME, "sampling")


@pytest.mark.parametrize("key", ["method", "patch", "starts", "reference_side"])
def test_sampling_without_a_key_is_refused(own_model: Path, key: str) -> None:
    edit(own_model, lambda entries: entries["sampling"].pop(key))
    assert_invalid(own_model, FILE_NAME, "sampling", key)


@pytest.mark.parametrize(
    "entry",
    [
        *(None, 7, "text", [], {}, {"sha256": "0" * 64}, {"size": 1}, {"sha256": None, "size": 1}),
        *({"sha256": "0" * 64, "size": size} for size in ("1", 1.5, None, INF, True)),
    ],
    ids=short,
)
def test_file_entry_without_hash_and_size_is_refused(own_model: Path, entry: Any) -> None:
    edit(own_model, put("files", "model.onnx", value=entry))
    assert_invalid(own_model, FILE_NAME, "'model.onnx'", "sha256 and size")


@pytest.mark.parametrize(
    "entry",
    [
        *({}, {"levels": [0.9]}, {"levels": "many"}),
        *({**CALIBRATION, key: value} for key in CALIBRATION for value in (None, DEEP, "x", INF, -1, [0], [INF] * 2)),
    ],
    ids=short,
)
def test_calibration_that_cannot_be_is_refused(own_model: Path, entry: Any) -> None:
    if entry.get("protocol", "x") != "made up" or entry.get("spread_correlation") == -1:
        pytest.skip("any text is a protocol, any number a correlation")
    edit(own_model, put("calibration", value=entry))
    assert_invalid(own_model, "'calibration'")


def test_golden_of_another_type_is_refused(own_model: Path) -> None:
    edit(own_model, put("golden", value=[1, 2]))
    assert_invalid(own_model, FILE_NAME, "'golden'")
