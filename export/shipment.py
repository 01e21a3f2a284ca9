"""What an export ships: a network, its exemplars, and what is known of both."""

from __future__ import annotations

import datetime
import json
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..runtime.bank import Bank
from ..runtime.errors import PscrError, Status
from ..runtime.manifest import ScoreMeaning
from ..training import checkpoint
from ..training.config import Config
from ..training.databases import MEANINGS, Database, Item, read_csv, same_place
from ..training.mixture import Labels, drawn
from ..training.model import PSCR, build, load_state
from . import published
from .bank import choose

Measured = dict[str, float | list[float]]
UNSTATED = "not stated"
MEAN = "the mean of the training images"


@dataclass(frozen=True)
class Shipment:
    """A network that is to be exported.

    exemplars: the bank's images; where there are none, `mean` is the opinion that the one zero exemplar stands for.
    selection: how they were chosen, for the manifest. checked: images that parity is proved on. unseen: images that
    did not train, to measure the export on. training: the manifest's `training` entry, given what was measured.
    published: whether scores must equal the published computation.
    """

    model: PSCR
    exemplars: list[Item]
    selection: str
    checked: list[Item]
    unseen: list[Item]
    score: ScoreMeaning
    training: Callable[[Measured], dict[str, Any]]
    mean: float = 0.0
    published: bool = False


def of_run(arguments: Namespace) -> Shipment:
    """The selected weights of a training run, with a bank of its training images.

    With `arguments.bank_of` the bank, the scale and the unseen images are those of a database that trained along.

    Raises:
        PscrError: FILE_NOT_FOUND, MODEL_INVALID or INVALID_ARGUMENT for a run, database or bank that cannot be used.
    """
    run: Path = arguments.run
    config = Config.read(run)
    database = config.load_database()
    parts = {part: members(run, part, database) for part in ("train", "val", "test")}
    if arguments.bank_of:
        database, parts = along(config, arguments.bank_of)
    model, epoch = read_run(run, config, database)
    train, unseen = parts["train"], parts.get("test") or parts.get("val", [])
    if model.direct and arguments.bank != "all":
        raise PscrError(Status.INVALID_ARGUMENT, f"--bank {arguments.bank}: direct regression (nr) has no exemplars")
    opinions = [item.score for item in train]
    chosen = [] if model.direct else choose(opinions, arguments.bank, config.seed)
    images = f"the {len(train)} training images"
    return Shipment(
        model,
        [train[i] for i in chosen],
        f"none: the mean opinion of {images}" if model.direct else f"{arguments.bank} of {images}",
        unseen or train,
        unseen,
        ScoreMeaning(f"{database.meaning} ({database.label})", database.name, database.scale, higher_is_better=True),
        lambda measured: training_entry(config, database, epoch, measured, bool(parts.get("test"))),
        mean=float(np.mean(opinions)),
    )


def of_published(arguments: Namespace) -> Shipment:
    """A published checkpoint with the exemplars of a CSV file (columns path and score).

    Raises:
        PscrError: as `published.read`, and for a label file that cannot be used.
    """
    model, epoch = published.read(arguments.published, arguments.backbone)
    exemplars = list(read_csv(arguments.bank_csv, arguments.bank_root or arguments.bank_csv.parent))
    scores = [item.score for item in exemplars]
    low, high = arguments.range or (min(scores), max(scores))
    if not low < high:
        raise PscrError(
            Status.INVALID_ARGUMENT, f"the scores reach from {low} to {high}; give another --range LOW HIGH"
        )
    if arguments.database == UNSTATED:
        sys.stderr.write("the checkpoint does not say what it was trained on; state it with --database and --range\n")
    trained: dict[str, Any] = {
        "database": arguments.database,
        "split": "not known: a published checkpoint",
        "seed": None,
        "epochs": epoch,
        "method": "pscr",
    }
    return Shipment(
        model,
        exemplars,
        f"the {len(exemplars)} images of {arguments.bank_csv.name}",
        exemplars,
        [],
        ScoreMeaning(MEANINGS["quality"], arguments.database, (low, high), higher_is_better=True),
        lambda measured: trained,
        published=True,
    )


def mean_bank(model: PSCR, mean: float) -> Bank:
    """The bank of direct regression: one exemplar, whose term is every image's, with the mean training opinion."""
    bias = model.regressor.fc1.bias.detach().numpy()
    return Bank(np.array(bias[None], np.float32), np.array([mean], np.float32), (MEAN,))


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


def read_run(run: Path, config: Config, database: Database | None = None) -> tuple[PSCR, int | list[int]]:
    """The network with the selected weights, and their epoch (a list of epochs, where runs were averaged).

    It was trained on standardised scores; what is returned predicts differences in the units of `database`, None for
    the run's own.
    """
    tensors, meta = checkpoint.read(run / "best.safetensors")
    model = build(config.backbone, config.method, config.sampling, config.features, config.scales, config.hidden)
    load_state(model, checkpoint.part("model", tensors), str(run / "best.safetensors"))
    if "labels" in meta:  # runs from before scores were standardised predict in the labels' own units
        deviation = Labels.of(database or config.load_database()).deviation
        with torch.no_grad():
            for parameter in model.regressor.fc2.parameters():
                parameter.mul_(deviation)
    return model.eval(), meta["epoch"]


def members(run: Path, part: str, database: Database) -> list[Item]:
    """The images of a part ("train", "val" or "test") of the run's split, in the database's order."""
    try:
        parts = json.loads((run / "split.json").read_text())
        names = set(parts[part] if part == "train" else parts.get(part, ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PscrError(Status.MODEL_INVALID, f"{run / 'split.json'}: not a split of pscr train ({error!r})") from error
    return [item for item in database.items if item.name in names]


def training_entry(
    config: Config, database: Database, epoch: int | list[int], measured: Measured, tested: bool
) -> dict[str, Any]:
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
        entry["metrics"] = {
            **{key: np.round(value, 4).tolist() for key, value in measured.items()},
            "protocol": f"{how}; scored through onnxruntime with the model's own bank",
            "date": datetime.date.today().isoformat(),
        }
    return entry
