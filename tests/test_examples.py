"""The examples: the degraded copies are what the script makes, each image's source is on record, the best of n is."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import pscr

EXAMPLES = Path(__file__).parents[1] / "examples"
IMAGES = EXAMPLES / "images"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("examples_degrade", EXAMPLES / "degrade.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DEGRADE = script()


def pixels(data: bytes) -> Any:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), int)


@pytest.mark.parametrize("copy", sorted(DEGRADE.COPIES))
def test_script_makes_the_committed_copy(copy: str) -> None:
    made, committed = pixels(DEGRADE.degrade(copy)), pixels((IMAGES / copy).read_bytes())
    assert made.shape == committed.shape
    assert np.abs(made - committed).mean() < 1  # JPEG decoders may differ in the last bit


@pytest.mark.parametrize("copy", sorted(DEGRADE.COPIES))
def test_copy_differs_plainly_from_its_original(copy: str) -> None:
    original, _, _ = DEGRADE.COPIES[copy]
    difference = pixels((IMAGES / copy).read_bytes()) - pixels((IMAGES / original).read_bytes())
    assert np.abs(difference).mean() > 3


def test_every_image_has_its_source_and_every_source_its_image() -> None:
    listed = re.findall(r"^(\S+\.jpg)$", (EXAMPLES / "SOURCES.txt").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in IMAGES.iterdir())


def test_originals_name_author_and_licence() -> None:
    entries = re.split(r"^(?=\S+\.jpg$)", (EXAMPLES / "SOURCES.txt").read_text(), flags=re.MULTILINE)[1:]
    originals = [entry for entry in entries if "From:" not in entry]
    assert len(originals) == len(entries) - len(DEGRADE.COPIES)
    for entry in originals:
        assert all(field in entry for field in ("Author:", "Source:", "Licence:", "Done:")), entry
        assert re.search(r"public domain|CC0", entry), entry


def test_examples_stay_small() -> None:
    assert sum(path.stat().st_size for path in IMAGES.iterdir()) < 1_500_000


def best_of_n(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the example on its stub, whatever is installed: no pipeline is named."""
    script = [
        sys.executable,
        str(EXAMPLES / "diffusers_best_of_n.py"),
        "a prompt",
        "--output",
        str(folder / "best.png"),
    ]
    return subprocess.run([*script, "--model", "agiqa3k-lite0", *words], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("output_type", ["np", "pt"])
def test_best_of_n_keeps_the_image_with_the_best_score_and_logs_the_seeds(tmp_path: Path, output_type: str) -> None:
    done = best_of_n(tmp_path, "--count", "3", "--seed", "5", "--output-type", output_type)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("STUB PIPELINE (no --pipeline is named)")
    with (tmp_path / "best.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["seed"] for row in rows) == ["5", "6", "7"]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    with pscr.open("agiqa3k-lite0", device="cpu") as scorer:
        assert scorer.score(tmp_path / "best.png").score == pytest.approx(scores[0], abs=6e-4)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("diffusers") is not None, reason="diffusers is installed")
def test_best_of_n_says_that_diffusers_is_missing(tmp_path: Path) -> None:
    done = best_of_n(tmp_path, "--count", "1", "--pipeline", "some/pipeline")
    assert done.stdout.startswith("STUB PIPELINE (diffusers is not installed)"), done.stderr
