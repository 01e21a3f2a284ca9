"""`pscr evaluate --record`: what a model reaches on a database goes into its manifest, so that `pscr info` says it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..runtime.manifest import Manifest
from .metrics import agreement, intervals

KEY = "beyond"


def record(folder: Path, measured: Mapping[str, tuple[list[float], list[float]]], seed: int = 0) -> None:
    """Write SRCC and PLCC of each database into the manifest's `training.beyond`; others that stand there are kept.

    measured: by the database's name, the model's scores [N] and the opinions [N].

    Raises:
        PscrError: MODEL_INVALID for the folder; as `metrics.agreement`.
    """
    manifest = Manifest.read(folder)
    entry: dict[str, Any] = dict(manifest.training.get(KEY) or {})
    for name, (scores, opinions) in measured.items():
        found = agreement(scores, opinions)
        bounds = intervals(scores, opinions, seed=seed, measures=("srcc",))["srcc"]
        entry[name] = {
            "images": len(scores),
            "srcc": round(found["srcc"], 3),
            "srcc_95": [round(bound, 3) for bound in bounds],
            "plcc": round(found["plcc"], 3),
            "date": datetime.date.today().isoformat(),
        }
    replace(manifest, training={**manifest.training, KEY: entry}).write(folder, list(manifest.files))
