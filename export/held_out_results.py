"""Figures for a model that trained on every image: those of its twin on images that the twin never saw.

A twin is a model of the same recipe that trained on a part of the images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..runtime.errors import PscrError, Status
from ..runtime.manifest import Manifest
from ..training.calibrate import PLOT


@dataclass(frozen=True)
class HeldOutResults:
    """What a twin showed.

    metrics, calibration: the manifest's entries, with the twin named in their protocol. plot: its reliability plot.
    """

    metrics: dict[str, Any]
    calibration: dict[str, Any] | None
    plot: bytes | None


def read(folder: Path, manifest: Manifest) -> HeldOutResults:
    """Read the twin of the model that `manifest` describes.

    Raises:
        PscrError: INVALID_ARGUMENT for a model that is no twin or was not measured; MODEL_INVALID for a broken one.
    """
    found = Manifest.read(folder)
    for key in ("backbone", "sampling", "score"):
        if getattr(found, key) != getattr(manifest, key):
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"{folder}: {key} is {getattr(found, key)}; a twin has {getattr(manifest, key)}",
            )
    metrics = found.training.get("metrics")
    if not isinstance(metrics, dict) or "protocol" not in metrics:
        raise PscrError(Status.INVALID_ARGUMENT, f"{folder}: has no figures on held-out images; export it from a split")
    named = f"its twin, the same recipe on {found.training.get('split', 'a part of the images')}"
    calibration = found.calibration
    if calibration is not None:
        calibration = {**calibration, "protocol": f"{calibration['protocol']}, by {named}"}
    plot = found.read_verified(folder, PLOT) if PLOT in found.files else None
    return HeldOutResults({**metrics, "protocol": f"{metrics['protocol']}; by {named}"}, calibration, plot)


def adopt(manifest: Manifest, folder: Path, output: Path, files: list[str]) -> Manifest:
    """The manifest with what the twin in `folder` showed; its plot is written to `output` and named in `files`.

    Raises:
        PscrError: as `read`, and INVALID_ARGUMENT for a model that has held-out figures of its own.
    """
    if "metrics" in manifest.training:
        raise PscrError(Status.INVALID_ARGUMENT, "this run has held-out images of its own; it takes no --twin")
    found = read(folder, manifest)
    if found.plot is not None:
        (output / PLOT).write_bytes(found.plot)
        files.append(PLOT)
    return replace(manifest, training={**manifest.training, "metrics": found.metrics}, calibration=found.calibration)
