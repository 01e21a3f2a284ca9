"""`pscr info`, `models` and `verify`: what a model is, and whether it is still what it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_testing import Cli

from pscr.runtime.manifest import Manifest
from pscr.runtime.models import packaged


def edited(model: Path, folder: Path, change) -> Path:  # type: ignore[no-untyped-def]
    """A copy of a model whose manifest `change` has edited."""
    copy = folder / "edited"
    shutil.copytree(model, copy)
    entries = json.loads((copy / "manifest.json").read_text())
    change(entries)
    (copy / "manifest.json").write_text(json.dumps(entries))
    return copy


def test_info_says_what_the_scores_mean_and_what_runs(cli: Cli, tiny_model: Path) -> None:
    manifest = Manifest.read(tiny_model)
    done = cli("info", tiny_model, "--device", "cpu")
    assert done.code == 0
    assert done.err == ""
    for part in (
        manifest.name,
        manifest.backbone,
        manifest.score.database,
        "higher is better",
        "onnxruntime",
        "on cpu",
    ):
        assert part in done.out
    for name, entry in manifest.files.items():
        assert f"file {name}" in done.out
        assert entry.sha256 in done.out


def test_info_as_json_is_one_object_with_the_same_facts(cli: Cli, tiny_model: Path) -> None:
    manifest = Manifest.read(tiny_model)
    facts = json.loads(cli("info", tiny_model, "--json").out)
    assert facts["model"] == manifest.name
    assert facts["range"] == list(manifest.score.range)
    assert facts["higher_is_better"] == manifest.score.higher_is_better
    assert set(facts["files"]) == set(manifest.files)
    assert facts["provider"].endswith("ExecutionProvider")


def test_models_lists_every_packaged_model_or_says_that_there_is_none(cli: Cli) -> None:
    done = cli("models")
    if not packaged():
        assert done.code == 3
        assert "no models in" in done.error
        return
    header, *rows = done.out.splitlines()
    assert done.code == 0
    assert header.split() == ["name", "version", "backbone", "precision", "database", "bank", "SRCC", "PLCC", "path"]
    assert [row.split()[0] for row in rows] == packaged()
    for row in rows:
        assert Path(row.split()[-1], "manifest.json").is_file()


def test_verify_reports_every_file_and_every_score(cli: Cli, tiny_model: Path) -> None:
    done = cli("verify", tiny_model, "--device", "cpu")
    lines = done.out.splitlines()
    assert done.code == 0, done
    assert done.err == ""
    assert sum(line.startswith("file   ok") for line in lines) == len(Manifest.read(tiny_model).files)
    scores = [line for line in lines if line.startswith("score  ok")]
    assert len(scores) >= 3
    assert all("expected" in line and "found" in line and "difference" in line for line in scores)


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_verify_names_a_file_with_one_bit_flipped_and_still_checks_the_others(
    cli: Cli, tiny_model: Path, tmp_path: Path, name: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    done = cli("verify", copy)
    assert done.code == 3
    assert name in done.error
    assert "sha256" in done.error
    assert f"file   FAILED  {name}" in done.out
    assert done.out.count("file   ok") == len(Manifest.read(copy).files) - 1
    assert "score" not in done.out


def test_verify_names_a_missing_file(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    (copy / "bank.npz").unlink()
    done = cli("verify", copy)
    assert done.code == 3
    assert "bank.npz" in done.error


def test_verify_finds_scores_that_are_not_the_promised_ones(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    def change(entries: dict) -> None:  # type: ignore[type-arg]
        entries["golden"]["scores"][0] += 0.5

    done = cli("verify", edited(tiny_model, tmp_path, change))
    assert done.code == 3
    assert "difference 5.0e-01" in done.error
    assert "tolerance" in done.error
    assert done.out.count("score  FAILED") == 1
    assert done.out.count("score  ok") >= 2


def test_verify_of_a_model_that_promises_no_scores_says_so(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    done = cli("verify", edited(tiny_model, tmp_path, lambda entries: entries.pop("golden")))
    assert done.code == 3
    assert "no golden scores" in done.error


@pytest.mark.parametrize("verb", ["info", "verify"])
def test_manifest_of_a_newer_format_is_refused_by_name(cli: Cli, tiny_model: Path, tmp_path: Path, verb: str) -> None:
    def change(entries: dict) -> None:  # type: ignore[type-arg]
        entries["format_version"] = 99

    done = cli(verb, edited(tiny_model, tmp_path, change))
    assert done.code == 3
    assert "99" in done.error
    assert "upgrade pscr" in done.error


@pytest.mark.slow
def test_info_and_verify_find_a_packaged_model_by_name(cli: Cli) -> None:
    if not packaged():
        pytest.skip("no model is packaged in this checkout")
    for name in packaged():
        assert cli("info", name).code == 0
        assert cli("verify", name).code == 0
