"""Published PSCR checkpoints (`best_model.pt`): their two state dicts and a CSV of exemplars, ready to be exported.

A file is a dict with the keys `backbone` and `regressor` (state dicts), and epoch, optimizer and rho_best, which
scoring does not need. Source: the published training code.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.dtypes import Float32DType, Float64DType

from ..runtime.errors import PscrError, Status
from ..runtime.score_scale import ScoreScale
from ..training.databases import MEANINGS, read_csv
from ..training.model import PSCR, build, load_backbone, load_state
from .checkpoint_file import read_checkpoint
from .export_source import ExportSource

UNSTATED = "not stated"
NEEDED = ("backbone", "regressor")
_log = logging.getLogger(__name__)


def of_published(
    file: Path,
    backbone: str,
    bank_csv: Path,
    bank_root: Path,
    *,
    database: str = "",
    score_range: tuple[float, float] | None = None,
) -> ExportSource:
    """A published checkpoint with the exemplars of a CSV file (columns path and score).

    bank_root: the folder that the CSV's paths are relative to. database, score_range: what it was trained on, and the
    lowest and highest opinion score there; that of the exemplars where it is None.

    Raises:
        PscrError: as `read`, and for a label file that cannot be used.
    """
    model, epoch = read(file, backbone)
    exemplars = list(read_csv(bank_csv, bank_root))
    scores = [item.score for item in exemplars]
    low, high = score_range or (min(scores), max(scores))
    if not low < high:
        raise PscrError(
            Status.INVALID_ARGUMENT, f"the scores reach from {low} to {high}; give another --range LOW HIGH"
        )
    if not database:
        _log.info("the checkpoint does not say what it was trained on; state it with --database and --range")
    trained: dict[str, Any] = {
        "database": database or UNSTATED,
        "split": "not known: a published checkpoint",
        "seed": None,
        "epochs": epoch,
        "method": "pscr",
    }
    return ExportSource(
        model,
        exemplars,
        f"the {len(exemplars)} images of {bank_csv.name}",
        checked=exemplars,
        unseen=[],
        trained=exemplars,
        score=ScoreScale(MEANINGS["quality"], database or UNSTATED, (low, high), higher_is_better=True),
        training=lambda measured: trained,
        published=True,
    )


def read(file: Path, backbone: str) -> tuple[PSCR, int | None]:
    """The network of a published checkpoint, in evaluation mode, and its epoch where the file has one.

    Read with `weights_only`: nothing in the file is executed.

    Raises:
        PscrError: FILE_NOT_FOUND; INVALID_ARGUMENT for a backbone that is not in the registry; MODEL_INVALID: not such
            a checkpoint, or one of another backbone, naming the first key that is missing or of another shape.
    """
    model = build(backbone)
    found = read_checkpoint(file, "the best_model.pt of PSCR", _numpy_scalars())
    if not isinstance(found, dict) or not all(isinstance(found.get(key), dict) for key in NEEDED):
        keys = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        found_keys = f"{file}: holds {keys[:200] or 'nothing'}"
        raise PscrError(Status.MODEL_INVALID, f"{found_keys}; expected the state dicts backbone and regressor")
    weights, regressor = (_bare(found[key]) for key in NEEDED)
    load_backbone(model.backbone, model.spec, weights, f"{file}: {backbone} backbone")
    load_state(model.regressor, regressor, f"{file}: regressor of {backbone}")
    epoch = found.get("epoch")
    return model.eval(), epoch if isinstance(epoch, int) else None


def _bare(state: dict[Any, Any]) -> dict[str, torch.Tensor]:
    """The state dict without the `module.` that training on several GPUs puts before every key."""
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _numpy_scalars() -> list[Any]:
    """What a pickled numpy number is made of: `rho_best` is one, from scipy, which `weights_only` would refuse."""
    scalar = np.float64(0).__reduce__()[0]
    places = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # before and since numpy 2
    return [*((scalar, place) for place in places), np.dtype, Float64DType, Float32DType]
