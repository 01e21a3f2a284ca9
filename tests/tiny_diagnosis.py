"""A classifier of distortions for the tiny model: whatever it says, it says it of the model's own terms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny_model as tiny

import pscr
from pscr.runtime import golden
from pscr.runtime.diagnosis import FILE, Classifier
from pscr.runtime.manifest import Manifest

KINDS = ("blur", "noise", "noise", "clean")


def classifier(width: int = tiny.WIDTH) -> Classifier:
    """The same weights every time, without a probe of any model."""
    rng = np.random.default_rng(3)
    arrays = [rng.normal(0, 2, shape).astype(np.float32) for shape in ((len(KINDS), width), (len(KINDS),))]
    degree = np.array([*rng.normal(0, 1, width), 3], np.float32)
    return Classifier(KINDS, *arrays, degree, np.zeros(width, np.float32), {"model": "tiny", "version": "0.0.1"})


def add(folder: Path, data: bytes | None = None) -> Classifier:
    """Put one into a model's folder, or other bytes in its place, with a manifest that fits. Returns the classifier."""
    with pscr.open(folder, "cpu", 1) as scorer:
        probe = scorer.terms(scorer.patches(golden.first(), pixel_format="rgb")[None])[0]
    made = replace(classifier(), probe=probe)
    if data is None:
        made.write(folder / FILE)
    else:
        (folder / FILE).write_bytes(data)
    manifest = Manifest.read(folder)
    manifest.write(folder, [*(name for name in manifest.files if name != FILE), FILE])
    return made
