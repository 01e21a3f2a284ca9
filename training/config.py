"""What decides a training run: every option of `pscr train`, declared once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..runtime import cores
from ..runtime.errors import PscrError, Status
from ..runtime.samplings import SAMPLINGS
from . import databases, splits
from .backbones import NAMES
from .databases import Database
from .options import check_same, option

METHODS = ("pscr", "cr", "nr")
SELF_SUPERVISED = ("contrique",)  # methods that need no labels, with options of their own: see contrastive/
PATCHED = tuple(name for name, sampling in SAMPLINGS.items() if sampling.patched)
FEATURES = ("last", "depths")
PROTOCOLS = ("held-out", "published")
ANYWHERE = ("threads", "device")  # a run may go on with others
# Options of earlier versions, and the values with which they changed nothing: only such runs can be used.
RETIRED = {"scales": 1, "mixup": 0.0, "rank_weight": 0.0}

_TRAINED = "what is trained"
_MEASURED = "what it is measured on"
_HOW = "how it is trained"
_WHERE = "where it runs"
_COLUMNS = "columns of a csv: file"


@dataclass(frozen=True)
class Config:
    """Everything that decides a run; it is written to config.json and a resumed run must have the same.

    method, sampling, features, hidden: see `model.build`.
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
    clip: largest norm of the gradient; 0 for any.
    shuffle: decides order and patches, so that runs of one split can differ.
    validate_every: epochs between validations; the last one always validates.
    patience: validations in a row without a better one that end the training; 0 for never.
    head_epochs: epochs of the regressor alone, on features of the unchanged backbone, before the first real epoch.
    precision: of the backbone in training: "auto" (bf16 or fp16 on a GPU, fp32 elsewhere), "fp32", "bf16", "fp16".
        Validation is always in fp32.
    device: auto, cpu, cuda or cuda:N.
    """

    data: str = option(help=databases.EXPECTED)
    label: str = option(
        "quality",
        help=f"what the scores judge: {databases.LABELS}",
    )
    also: str = option("", metavar="SPECS", help="further databases that train along, separated by spaces")

    method: str = option(
        "pscr",
        choices=(*METHODS, *SELF_SUPERVISED),
        help="pscr; cr: contrastive regression on the resized image, without patches; nr: direct regression of the "
        "score on the resized image, without exemplars; contrique: self-supervised, on images without scores, with "
        "options of its own (pscr train --method contrique --help)",
        group=_TRAINED,
    )
    sampling: str = option("ops", choices=PATCHED, help="patches of pscr; cr and nr have none", group=_TRAINED)
    features: str = option(
        "last",
        choices=FEATURES,
        help="last: the backbone's pooled output, as published; depths: mean and deviation at several depths",
        group=_TRAINED,
    )
    hidden: int = option(0, help="width of the regressor; 0: as wide as the features", group=_TRAINED)
    backbone: str = option("efficientnet_lite0", choices=NAMES, help="the shared network", group=_TRAINED)
    pretrained: str = option("imagenet", help="imagenet, none, or a checkpoint file", group=_TRAINED)
    initial: str = option("", metavar="RUN", help="begin with the selected weights of another run", group=_TRAINED)
    frozen_blocks: int = option(
        5,
        help="leading blocks kept as they are and cached (5 for EfficientNet-Lite, 0 for the others)",
        group=_TRAINED,
    )

    protocol: str = option(
        "held-out",
        choices=PROTOCOLS,
        help="held-out: validation images choose the epoch, test images are scored once; published: 80/20, the best "
        "test epoch, exemplars drawn anew for each image",
        group=_MEASURED,
    )
    split: str = option("", metavar="FILE", help="a split.json to take, in place of drawing one", group=_MEASURED)
    val: float = option(0.2, help="share of the images that selects and never trains; 0 for none", group=_MEASURED)
    test: float = option(0.0, help="share of the images that does neither and is scored once", group=_MEASURED)
    split_by: str = option("image", choices=splits.BY, help="what is drawn for validation and test", group=_MEASURED)
    exemplars: int = option(100, help="training images that an image is compared with", group=_MEASURED)
    validate_every: int = option(1, metavar="N", help="epochs between validations", group=_MEASURED)
    seed: int = option(1, help="decides the split and the regressor's first weights", group=_MEASURED)

    epochs: int = option(6, help="passes over the training images", group=_HOW)
    patience: int = option(0, help="validations without a better one that end it; 0: never", group=_HOW)
    batch: int = option(16, help="images per batch, over all processes", group=_HOW)
    accumulate: int = option(1, metavar="N", help="batches per update of the weights", group=_HOW)
    pairs: str = option(
        "all",
        choices=("all", "partner"),
        help="each image is exemplar to all others of its batch, or has one random partner",
        group=_HOW,
    )
    patches: int = option(4, help="patches per image and step, of the sampling's", group=_HOW)
    crops: str = option("grid", choices=("random", "grid"), help="where training patches are cut", group=_HOW)
    window: float = option(1.0, help="smallest share of a cached patch's side that a step sees", group=_HOW)
    optimizer: str = option("adamw", choices=("adamw", "adam"), help="adam: weight decay in the gradient", group=_HOW)
    lr: float = option(1.5e-4, help="highest learning rate of the backbone", group=_HOW)
    head_lr: float = option(3e-4, help="highest learning rate of the regressor, in its own epochs too", group=_HOW)
    schedule: str = option("cosine", choices=("cosine", "constant"), help="of the learning rates", group=_HOW)
    warmup: int = option(100, metavar="N", help="steps in which they rise", group=_HOW)
    weight_decay: float = option(5e-2, help="weight decay", group=_HOW)
    clip: float = option(5.0, help="largest norm of the gradient; 0 for any", group=_HOW)
    dropout: float = option(0.3, help="dropout on the pooled features", group=_HOW)
    drop_path: float = option(0.2, help="stochastic depth at the last block", group=_HOW)
    copies: int = option(0, metavar="N", help="altered copies of each training image", group=_HOW)
    copy_weight: float = option(0.5, help="weight of the loss on pairs with a copy", group=_HOW)
    batch_norm: str = option(
        "frozen",
        choices=("frozen", "trained"),
        help="statistics of the batch normalisations behind the frozen blocks",
        group=_HOW,
    )
    averaging: float = option(0.997, help="decay of the weight average that is validated", group=_HOW)
    head_epochs: int = option(6, help="epochs of the regressor alone, at the start", group=_HOW)
    shuffle: int = option(1, help="decides the order of the images and the patches", group=_HOW)

    device: str = option("auto", help="auto, cpu, cuda or cuda:N; several GPUs: accelerate launch", group=_WHERE)
    precision: str = option(
        "auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="of the backbone in training; auto: bf16 or fp16 on a GPU, fp32 elsewhere",
        group=_WHERE,
    )
    threads: int = option(factory=cores.usable, help="CPU threads", group=_WHERE)

    path_column: str = option("path", help="image files, relative to the CSV file", group=_COLUMNS)
    score_column: str = option("score", help="opinion scores", group=_COLUMNS)
    group_column: str = option("", help="prompts, for --split-by prompt", group=_COLUMNS)

    @classmethod
    def of(cls, entries: dict[str, Any]) -> Config:
        """The configuration that a run was written with, perhaps by an earlier version.

        What an earlier version did not know has its default; what only an earlier version knew must have done nothing.

        Raises:
            PscrError: MODEL_INVALID for a run that used an option which is no more, or is self-supervised.
            KeyError, TypeError: no such configuration.
        """
        if entries.get("method") in SELF_SUPERVISED:
            found = f"a self-supervised run (--method {entries['method']}), which gives no scores"
            raise PscrError(Status.MODEL_INVALID, f"{found}; pscr export onnx makes a model of it, see pscr regress")
        for key, neutral in RETIRED.items():
            if entries.get(key, neutral) != neutral:
                found = f"trained with {key} {entries[key]}, which this version no longer has"
                raise PscrError(Status.MODEL_INVALID, f"{found}; use the version of pscr that trained it")
        return cls(**{field.name: entries[field.name] for field in fields(cls) if field.name in entries})

    @property
    def selection_part(self) -> str:
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

    def check_same(self, stored: Config, origin: object) -> None:
        """See that a run that was begun with `stored` may go on with this configuration.

        Raises:
            PscrError: INVALID_ARGUMENT naming the first option that differs. origin: the file that it was read from.
        """
        check_same(stored, self, origin, ANYWHERE, _same)


def _same(option: str, one: Any, other: Any) -> bool:
    """Whether two values of an option are the same; of `data`, whether they name one place."""
    if option == "data" and isinstance(one, str):
        return databases.same_place(one, other)
    return bool(one == other)
