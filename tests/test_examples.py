"""The example images: the degraded copies are what the script makes, and each image's source is on record."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

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
