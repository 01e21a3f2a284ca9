"""A training run as what an export is made of: its selected weights, and a bank of its training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..runtime.errors import PscrError, Status
from ..runtime.score_scale import ScoreScale
from ..training import checkpoint
from ..training.config import Config
from ..training.databases import Database, Item, same_place
from ..training.mixture import Labels, drawn
from ..training.model import PSCR, build, load_state
from ..training.run_folder import RunFolder
from . import agreement
from .agreement import Measured
from .exemplar_choice import choose
from .export_source import ExportSource


def of_run(run: Path, bank: str = "all", bank_of: str = "") -> ExportSource:
    """The selected weights of a training run, with a bank of its training images.

    bank: which of them, see `choose`. bank_of: a database that trained along, whose images, scale and unseen images
    are then taken in place of the run's own; empty for not.

    Raises:
        PscrError: FILE_NOT_FOUND, MODEL_INVALID or INVALID_ARGUMENT for a run, database or bank that cannot be used.
    """
    folder = RunFolder(run)
    config = folder.config()
    database = config.load_database()
    parts = {part: members(folder, part, database) for part in ("train", "val", "test")}
    trained = parts["train"]
    if bank_of:
        database, parts = along(config, bank_of)
    model, epoch = read_run(run, config, database)
    train, unseen = parts["train"], parts.get("test") or parts.get("val", [])
    if model.direct and bank != "all":
        raise PscrError(Status.INVALID_ARGUMENT, f"--bank {bank}: direct regression (nr) has no exemplars")
    opinions = [item.score for item in train]
    chosen = [] if model.direct else choose(opinions, bank, config.seed)
    images = f"the {len(train)} training images"
    return ExportSource(
        model,
        [train[i] for i in chosen],
        f"{bank} of {images}",
        checked=unseen or train,
        unseen=unseen,
        trained=trained,
        score=ScoreScale(
            f"{database.meaning} ({database.label})", database.name, database.scale, higher_is_better=True
        ),
        training=lambda measured: training_entry(config, database, epoch, measured, bool(parts.get("test"))),
        mean=float(np.mean(opinions)),
    )


def along(config: Config, spec: str) -> tuple[Database, dict[str, list[Item]]]:
    """A database that trained along, and the images of each part of its split.

    Raises:
        PscrError: INVALID_ARGUMENT for a database that did not.
    """
    for named, database in zip(config.also.split(), config.load_others(), strict=True):
        if same_place(named, spec):
            parts = drawn(config, database)
            return database, {part: [database.items[index] for index in some] for part, some in parts.items()}
    found = f"{spec} did not train along; {config.also or 'no other database'} did"
    raise PscrError(Status.INVALID_ARGUMENT, f"{found}: see pscr train --also")


def read_run(run: Path, config: Config, database: Database | None = None) -> tuple[PSCR, int]:
    """The network with the selected weights, in evaluation mode, and their epoch.

    It was trained on standardised scores; what is returned predicts differences in the units of `database`, None for
    the run's own.

    Raises:
        PscrError: FILE_NOT_FOUND, MODEL_INVALID: no such run, a damaged one, or one of another network.
    """
    file = RunFolder(run).selected
    tensors, meta = checkpoint.read(file)
    model = build(config.backbone, config.method, config.sampling, config.features, config.hidden)
    load_state(model, checkpoint.part("model", tensors), str(file))
    if "labels" in meta:  # runs from before scores were standardised predict in the labels' own units
        deviation = Labels.of(database or config.load_database()).deviation
        with torch.no_grad():
            for parameter in model.regressor.fc2.parameters():
                parameter.mul_(deviation)
    return model.eval(), meta["epoch"]


def members(run: RunFolder, part: str, database: Database) -> list[Item]:
    """The images of a part ("train", "val" or "test") of the run's split, in the database's order; those of a part
    that it does not have are none.

    Raises:
        PscrError: MODEL_INVALID for a run without a split, or without training images.
    """
    names = set(run.split().get(part, ()))
    return [item for item in database.items if item.name in names]


def training_entry(config: Config, database: Database, epoch: int, measured: Measured, tested: bool) -> dict[str, Any]:
    """The manifest's `training` entry: what was trained on what, and how well it did on images it never saw.

    tested: whether those are a test part, or the validation images.
    """
    if config.split:
        split = f"as {Path(config.split).name} has it"
    elif config.protocol == "published":
        split = f"80% of the images train, after numpy.random.seed({config.seed})"
    else:
        train = 1 - config.val - config.test
        split = f"{train:.0%} of the images train, by {config.split_by}, identical images kept together"
    entry: dict[str, Any] = {"database": database.name, "split": split, "seed": config.seed, "epochs": epoch}
    entry["method"] = config.method
    if config.also:
        others = [other.name for other in (config.load_database(), *config.load_others())]
        entry["along"] = [name for name in others if name != database.name]
    if measured:
        if config.protocol == "published":
            how = "published: the test images of the split; they chose the epoch"
        elif tested:
            how = "held-out: test images, which neither trained nor chose the epoch"
        elif config.split:
            how = "held-out: the validation images of the split; they chose the epoch"
        else:
            drawn = f"{config.val:.0%} of the images by {config.split_by}, seed {config.seed}"
            how = f"held-out: {drawn}; they chose the epoch"
        entry["metrics"] = agreement.entry(measured, how)
    return entry
