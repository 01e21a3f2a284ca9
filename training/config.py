"""What decides a training run: every option of `pscr train`, and the recipes that are a set of them."""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..runtime.errors import PscrError, Status
from . import checkpoint, databases
from .backbones import BACKBONES
from .databases import Database

PROTOCOLS = ("held-out", "published")
PUBLISHED_EXEMPLARS = 10
ANYWHERE = ("threads", "device")  # a run may go on with others

# The published training: one random partner per image, all nine patches, everything trained (DESIGN 2).
PUBLISHED_RECIPE: dict[str, Any] = {
    "epochs": 100,
    "batch": 8,
    "patches": 9,
    "pairs": "partner",
    "optimizer": "adam",
    "schedule": "constant",
    "warmup": 0,
    "lr": 1e-4,
    "head_lr": 1e-4,
    "weight_decay": 1e-5,
    "dropout": 0.0,
    "drop_path": 0.0,
    "clip": 0.0,
    "averaging": 0.0,
    "batch_norm": "trained",
    "head_epochs": 0,
    "frozen_blocks": 0,
}
# How the default model is trained: on whole images, with features of several depths.
DENSE_RECIPE: dict[str, Any] = {
    "sampling": "dense",
    "features": "depths",
    "hidden": 256,
    "patches": 1,
    "window": 0.6,
    "epochs": 6,
    "lr": 1e-4,
    "dropout": 0.4,
    "exemplars": 200,
    "precision": "bf16",
}
RECIPES: dict[str, dict[str, Any]] = {"ours": {}, "published": PUBLISHED_RECIPE, "dense": DENSE_RECIPE}


@dataclass(frozen=True)
class Config:
    """Everything that decides a run; it is written to config.json and a resumed run must have the same.

    method, sampling, features, scales, hidden: see `model.build`.
    label: what the scores judge, where the database has several; see `databases.load`.
    protocol: "held-out": the images of `val` select the epoch, those of `test` are scored once, at the end;
        "published": 80/20, the test images are scored after every epoch and the best epoch counts (DESIGN 2).
    initial: a run folder whose selected weights are where this run begins, in place of `pretrained` and of the epochs
        of the regressor alone; it has the same network.
    split: a split.json to take in place of drawing one. val, test: shares of all images, where one is drawn.
    lr, head_lr: highest learning rates of backbone and regressor. schedule: "cosine" to zero, or "constant"; both
        after a linear rise over `warmup` steps. optimizer: "adamw", or "adam" with weight decay in the gradient.
    batch: images per step, over all processes. accumulate: batches whose gradients are averaged into one update;
        pairs are made within a batch.
    pairs: "all": every image of a batch is the exemplar of all others; "partner": each has one, drawn from the
        training images, as published.
    patches: patches per image and step. crops: "random", anywhere, or "grid", where the sampling cuts them.
    window: smallest share of a side that a training step sees of a cached patch; where it is below 1, every step
        draws a side, and a place for every patch.
    frozen_blocks: leading blocks that keep their ImageNet weights.
    batch_norm: "frozen": its statistics stay those of the pretrained network; "trained".
    averaging: decay of the exponential average of the weights, which is what is validated and exported.
    also: further databases, separated by spaces, whose images train beside those of `data`; differences are only
        learned within a database. Their shares `val` and `test` are held out as those of `data` are.
    copies: altered copies of each training image, rescaled and distorted ones in turn (see copies.py); a batch then
        has a copy of every other image behind it. copy_weight: of the loss on pairs with a copy, beside that on pairs
        of images.
    mixup: images of a batch are blended in feature space with weights from Beta(mixup, mixup); 0 for not at all.
    clip: largest norm of the gradient; 0 for any.
    shuffle: decides order and patches, so that runs of one split can differ and their weights be averaged.
    rank_weight, rank_scale: see `losses.pair_loss`; the scale is in standard deviations of the database's scores,
        which is what the network predicts in while it trains.
    validate_every: epochs between validations; the last one always validates.
    patience: validations in a row without a better one that end the training; 0 for never.
    head_epochs: epochs of the regressor alone, on features of the unchanged backbone, before the first real epoch.
    precision: of the backbone in training: "auto" (bf16 or fp16 on a GPU, fp32 elsewhere), "fp32", "bf16", "fp16".
        Validation is always in fp32.
    device: auto, cpu, cuda or cuda:N.
    """

    data: str
    backbone: str = "efficientnet_lite0"
    pretrained: str = "imagenet"
    method: str = "pscr"
    sampling: str = "ops"
    features: str = "last"
    scales: int = 1
    hidden: int = 0
    protocol: str = "held-out"
    split: str = ""
    epochs: int = 6
    batch: int = 16
    accumulate: int = 1
    pairs: str = "all"
    patches: int = 4
    crops: str = "grid"
    window: float = 1.0
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: int = 100
    lr: float = 1.5e-4
    head_lr: float = 3e-4
    weight_decay: float = 5e-2
    clip: float = 5.0
    dropout: float = 0.3
    drop_path: float = 0.2
    also: str = ""
    initial: str = ""
    copies: int = 0
    copy_weight: float = 0.5
    mixup: float = 0.0
    rank_weight: float = 0.0
    rank_scale: float = 0.3
    frozen_blocks: int = 5
    batch_norm: str = "frozen"
    averaging: float = 0.997
    head_epochs: int = 6
    exemplars: int = 100
    validate_every: int = 1
    patience: int = 0
    val: float = 0.2
    test: float = 0.0
    split_by: str = "image"
    seed: int = 1
    shuffle: int = 1
    precision: str = "auto"
    device: str = "auto"
    threads: int = 2
    label: str = "quality"
    path_column: str = "path"
    score_column: str = "score"
    group_column: str = ""

    @property
    def judged(self) -> str:
        """The part of the split that is scored after every epoch: "val", or "test" in the published protocol."""
        return "test" if self.protocol == "published" else "val"

    def load_database(self) -> Database:
        """The database that `data`, the label and the columns name; see `databases.load`."""
        return self._load(self.data)

    def load_others(self) -> list[Database]:
        """The databases that `also` names; a `csv:` file among them has the columns of `data`."""
        return [self._load(spec) for spec in self.also.split()]

    def _load(self, spec: str) -> Database:
        return databases.load(
            spec,
            label=self.label,
            path_column=self.path_column,
            score_column=self.score_column,
            group_column=self.group_column,
        )

    @classmethod
    def read(cls, run: Path) -> Config:
        """Read RUN/config.json.

        Raises:
            PscrError: FILE_NOT_FOUND or MODEL_INVALID.
        """
        file = run / "config.json"
        if not file.is_file():
            raise PscrError(Status.FILE_NOT_FOUND, f"{run}: not a run of pscr train (it has no config.json)")
        try:
            entries = json.loads(file.read_text())
            if "label_column" not in entries:  # runs from before labels could be chosen: there it was the column
                entries.pop("label", None)
            return cls(**{field.name: entries[field.name] for field in fields(cls) if field.name in entries})
        except (ValueError, KeyError, TypeError) as error:
            raise PscrError(Status.MODEL_INVALID, f"{file}: not a configuration of pscr train ({error!r})") from error


def defaults(recipe: str, method: str, sampling: str, protocol: str, backbone: str) -> dict[str, Any]:
    """What the options are that nobody gives, where these five are as they are; `sampling` may be empty.

    Crops are random where the paper's are (RPS, CR and NR), and CR and NR have one a step.
    """
    sampling = sampling or (RECIPES[recipe].get("sampling", "ops") if method == "pscr" else "resize")
    found = {**_DEFAULTS, "frozen_blocks": BACKBONES[backbone].frozen, **RECIPES[recipe], "sampling": sampling}
    if sampling in ("rps", "resize"):
        found["crops"] = "random"
    if sampling in ("resize", "dense"):
        found["patches"] = 1
    if method == "nr":
        found["pairs"] = "all"  # it has none
    if protocol == "published":
        found["exemplars"] = PUBLISHED_EXEMPLARS
    return found


def check_resumable(config: Config, run: Path) -> None:
    """Refuse a run folder that another configuration has begun, before anything in it is overwritten.

    Raises:
        PscrError: INVALID_ARGUMENT for another configuration, MODEL_INVALID for a damaged checkpoint.
    """
    last = run / "last.safetensors"
    if last.is_file():
        check_same(last, checkpoint.read(last)[1], config)


def same(option: str, one: Any, other: Any) -> bool:
    """Whether two values of an option are the same; of `data`, whether they name one place."""
    if option == "data" and isinstance(one, str):
        return databases.same_place(one, other)
    return bool(one == other)


def check_same(file: Path, meta: dict[str, Any], config: Config) -> None:
    """Raise INVALID_ARGUMENT unless the checkpoint `file` with this JSON was made with `config`."""
    stored = {**_DEFAULTS, **meta["config"]}  # a run from before an option existed had what is now its default
    wanted = asdict(config)
    other = [key for key in wanted if key not in ANYWHERE and not same(key, stored.get(key), wanted[key])]
    if other:
        key = other[0]
        raise PscrError(
            Status.INVALID_ARGUMENT,
            f"{file}: made with another configuration ({key} was {stored.get(key)!r}, now {wanted[key]!r}); "
            "choose another -o folder",
        )


_DEFAULTS = {field.name: field.default for field in fields(Config) if field.default is not MISSING}
