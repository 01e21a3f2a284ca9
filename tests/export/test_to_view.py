"""A model of the first format gets the view: small images score as before, large ones no longer by their size."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import SAMPLING, write

import pscr
from pscr.export.to_view import main
from pscr.runtime import verification
from pscr.runtime.manifest import Manifest
from pscr.runtime.samplings import Resize


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("old") / "old", format_version=1)


def test_small_images_score_as_before_and_enlarged_ones_too(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert main([str(old), "-o", str(new), "--version", "2.0.0"]) == 0
    manifest = Manifest.read(new)
    assert (manifest.format_version, manifest.name, manifest.version) == (2, "new", "2.0.0")
    assert (manifest.sampling.view, manifest.sampling.starts) == (64, SAMPLING.starts)
    small = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 2)
    large = cv2.resize(small, (256, 256), interpolation=cv2.INTER_NEAREST)
    with pscr.open(old, "cpu", 1) as one, pscr.open(new, "cpu", 1) as two:
        expected = one.score(small, pixel_format="rgb").score
        assert two.score(small, pixel_format="rgb").score == pytest.approx(expected, abs=1e-6)
        assert two.score(large, pixel_format="rgb").score == pytest.approx(expected, abs=1e-5)
        assert abs(one.score(large, pixel_format="rgb").score - expected) > 1e-3
        assert all(promised == pytest.approx(found, abs=1e-5) for _, promised, found in verification.check(two))


def test_a_model_that_has_one_or_scales_by_itself_is_refused(old: Path, tmp_path: Path, capsys) -> None:
    assert main([str(old), "-o", str(tmp_path / "new")]) == 0
    assert main([str(tmp_path / "new"), "-o", str(tmp_path / "again")]) == 2
    assert "has a view already" in capsys.readouterr().err
    other = write(
        tmp_path / "cr", sampling=replace(Resize.usual(224), patch=32, starts=(0,), reference_side=32, resized=32)
    )
    assert main([str(other), "-o", str(tmp_path / "again")]) == 2
    assert "a scale of its own" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
