"""Which images a precision is calibrated on and which judge it: others, drawn over everything that was given.

Folders are sorted by name, and names begin with what made the images: the first half of AGIQA-3K leaves out whole
generators, whose activations int8 then never sees. So the images are cut into equally long stretches, one is drawn from
each, and every third of those calibrates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..runtime import golden
from ..runtime.errors import PscrError, Status
from ..runtime.image import load
from ..runtime.samplings import Pixels, Sampling
from ..tables.inputs import expand
from .model_options import CALIBRATION_IMAGES, JUDGING_IMAGES

SEED = 0


@dataclass(frozen=True)
class Drawn:
    """Patches [P,S,S,3] uint8 RGB of each image; no image is in both lists.

    calibrating: what int8 reads the ranges of its activations from, empty for other precisions. judging: what scores
    are compared on. words: how many of how many, and how they were chosen.
    """

    calibrating: list[Pixels]
    judging: list[Pixels]
    words: str


def draw(paths: Sequence[str], sampling: Sampling, precision: str) -> Drawn:
    """Draw from the images that files, folders and patterns stand for.

    Without paths, the golden images judge: enough to prove that a graph runs, too few and too plain to calibrate on.

    Raises:
        PscrError: INVALID_ARGUMENT for a path that names no images, and for int8 fewer than two; the errors of reading
            one.
    """
    if not paths:
        judging = [sampling.cut(image) for image in golden.golden_images().values()]
        return Drawn([], judging, f"judged on the {len(judging)} golden images")
    items = expand(paths)
    broken = next((item for item in items if item.problem), None)
    if broken is not None or not items:
        found = f"{broken.path}: {broken.problem}" if broken else "no images there"
        raise PscrError(Status.INVALID_ARGUMENT, f"--calibrate {found}; expected images or folders of them")
    judges, others = places(len(items), precision == "int8")
    if not judges:
        raise PscrError(Status.INVALID_ARGUMENT, "--calibrate 1 image; int8 is calibrated on some and judged on others")
    calibrated = f"calibrated on {len(others)} and " if others else ""
    words = f"{calibrated}judged on {len(judges)} of {len(items)} images, drawn over all of them (seed {SEED})"
    calibrating, judging = ([sampling.cut(load(items[i].path)) for i in some] for some in (others, judges))
    return Drawn(calibrating, judging, words)


def places(count: int, calibrate: bool) -> tuple[list[int], list[int]]:
    """Which of `count` images judge, and which calibrate: none unless that is asked for."""
    most = JUDGING_IMAGES + (CALIBRATION_IMAGES if calibrate else 0)
    bounds = np.linspace(0, count, min(count, most) + 1).astype(int)
    drawn = [int(place) for place in np.random.default_rng(SEED).integers(bounds[:-1], bounds[1:])]
    if not calibrate:
        return drawn, []
    others = drawn[:: (most // CALIBRATION_IMAGES)]
    return [place for place in drawn if place not in set(others)], others
