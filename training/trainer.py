"""The training loop: contrastive regression over all pairs of a batch, averaged weights, validation that selects.

Against the published recipe (one random partner per image, nine patches, 100 epochs) every image of a batch is the
exemplar of all the others, so B passes through the backbone give B(B-1) differences; DESIGN and README say more.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..runtime.errors import PscrError, Status
from . import checkpoint, databases
from .databases import Database
from .metrics import agreement
from .model import PSCR, build, load_pretrained
from .patches import CropSource, PatchSource, StemCache, every_patch
from .progress import progress

COLUMNS = ("epoch", "train_loss", "val_srcc", "val_krcc", "val_plcc", "val_rmse", "seconds")
WARMUP_STEPS = 100


@dataclass(frozen=True)
class Config:
    """Everything that decides a run; it is written to config.json and a resumed run must have the same.

    label: what the scores judge, where the database has several; see `databases.load`.
    lr, head_lr: highest learning rates of backbone and regressor; both follow a cosine after a short rise.
    patches: patches per image and step. crops: "random", anywhere, or "grid", where the sampling cuts them.
    frozen_blocks: leading blocks that keep their ImageNet weights.
    averaging: decay of the exponential average of the weights, which is what is validated and exported.
    mixup: images of a batch are blended in feature space with weights from Beta(mixup, mixup); 0 for not at all.
    shuffle: decides order and patches, so that runs of one split can differ and their weights be averaged.
    rank_weight, rank_scale: see `pair_loss`; the scale is in opinion-score units.
    validate_every: epochs between validations; the last one always validates.
    head_epochs: epochs of the regressor alone, on features of the unchanged backbone, before the first real epoch.
    """

    data: str
    backbone: str = "efficientnet_lite0"
    pretrained: str = "imagenet"
    epochs: int = 6
    batch: int = 16
    patches: int = 4
    crops: str = "grid"
    lr: float = 1.5e-4
    head_lr: float = 3e-4
    weight_decay: float = 5e-2
    dropout: float = 0.3
    drop_path: float = 0.2
    mixup: float = 0.0
    rank_weight: float = 0.0
    rank_scale: float = 0.3
    frozen_blocks: int = 5
    averaging: float = 0.997
    head_epochs: int = 6
    exemplars: int = 100
    validate_every: int = 1
    val: float = 0.2
    split_by: str = "image"
    seed: int = 1
    shuffle: int = 1
    threads: int = 2
    label: str = "quality"
    path_column: str = "path"
    score_column: str = "score"
    group_column: str = ""

    def load_database(self) -> Database:
        """The database that `data`, the label and the columns name; see `databases.load`."""
        return databases.load(
            self.data,
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


def pair_loss(
    model: PSCR, features: Tensor, opinion: Tensor, rank_weight: float = 0.0, rank_scale: float = 1.0
) -> Tensor:
    """The contrastive loss over all ordered pairs of a batch, and optionally a ranking loss on the same differences.

    features [B,C], opinion [B]. The first part is the mean squared error of the predicted differences (both orders of
    a pair count, PSCR equation 6). The second, times `rank_weight`, is the cross-entropy between the chances that a
    is preferred to b, logistic in the difference over `rank_scale`: it has the same minimum, but is moved by close
    pairs, which decide the rank correlation, and hardly by distant ones (RankNet, Burges et al. 2005).
    """
    regressor = model.regressor
    found = regressor.differences(regressor.query_part(features), regressor.terms(features))
    wanted = opinion[:, None] - opinion[None]
    errors = (found - wanted) ** 2
    if rank_weight:
        chance = torch.sigmoid(wanted / rank_scale)
        ranking = nn.functional.binary_cross_entropy_with_logits(found / rank_scale, chance, reduction="none")
        errors = errors + rank_weight * ranking
    count = len(opinion)
    return (errors.sum() - errors.diagonal().sum()) / (count * (count - 1))


def predict(model: PSCR, queries: Tensor, exemplars: Tensor, exemplar_scores: Tensor) -> NDArray[np.float32]:
    """Scores [N] of query features [N,C] against exemplar features [K,C] with opinion scores [K]."""
    regressor = model.regressor
    with torch.inference_mode():
        terms = regressor.terms(exemplars)
        parts = [
            (regressor.differences(regressor.query_part(some), terms) + exemplar_scores).mean(1)
            for some in queries.split(64)
        ]
    return torch.cat(parts).numpy()


def check_resumable(config: Config, run: Path) -> None:
    """Refuse a run folder that another configuration has begun, before anything in it is overwritten.

    Raises:
        PscrError: INVALID_ARGUMENT for another configuration, MODEL_INVALID for a damaged checkpoint.
    """
    last = run / "last.safetensors"
    if last.is_file():
        _check_same(last, checkpoint.read(last)[1], config)


def _check_same(file: Path, meta: dict[str, Any], config: Config) -> None:
    stored = {"label": Config.label, **meta["config"]}  # runs from before labels could be chosen have none
    if {**stored, "threads": 0} != {**asdict(config), "threads": 0}:
        raise PscrError(Status.INVALID_ARGUMENT, f"{file}: made with another configuration; choose another -o folder")


class Trainer:
    """One run in one folder: RUN/{config.json, split.json, metrics.csv, last.safetensors, best.safetensors}."""

    def __init__(
        self,
        config: Config,
        database: Database,
        train: Sequence[int],
        val: Sequence[int],
        run: Path,
        cache: Path | None = None,
    ) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config, self.database, self.run = config, database, run
        self.train_set, self.val_set = np.asarray(train), np.asarray(val)
        self.opinion = torch.tensor([item.score for item in database.items], dtype=torch.float32)
        model = build(config.backbone)
        if not 0 <= config.frozen_blocks <= model.spec.blocks:
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"{config.frozen_blocks} frozen blocks; expected 0 to {model.spec.blocks} for {config.backbone}",
            )
        load_pretrained(model, config.pretrained)
        model.backbone.set_drop_path(config.drop_path)
        self.model = model.eval()
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model)
        self.steps_from, self.images_from = self._sources(cache or run / "cache")
        self.optimizer = torch.optim.AdamW(
            [
                {"params": self._trainable(), "lr": config.lr},
                {"params": list(self.model.regressor.parameters()), "lr": config.head_lr},
            ],
            weight_decay=config.weight_decay,
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.rows: list[dict[str, float]] = []
        self.steps = len(self.train_set) // config.batch
        if not self.steps:
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"{len(self.train_set)} training images do not fill one batch of {config.batch}",
            )

    def _sources(self, cache: Path) -> tuple[PatchSource, PatchSource]:
        """Where training steps take their patches from, and where whole images are read from."""
        config, items = self.config, self.database.items
        grid = self.model.sampling.count if config.crops == "grid" else 0
        crops = CropSource(items, config.frozen_blocks, config.threads, grid)
        if not config.frozen_blocks:
            return crops, crops
        key = f"{config.backbone}/{config.pretrained}"
        stems = StemCache(self.model, items, config.frozen_blocks, cache, key)
        return (stems if grid else crops), stems

    def _trainable(self) -> list[nn.Parameter]:
        """The backbone's parameters behind the frozen blocks; the others lose their gradients."""
        if not self.config.frozen_blocks:
            return list(self.model.backbone.parameters())
        for parameter in self.model.backbone.parameters():
            parameter.requires_grad_(False)
        free = self.model.backbone.after(self.config.frozen_blocks)
        for parameter in free:
            parameter.requires_grad_(True)
        return free

    def fit(self) -> Iterator[dict[str, float]]:
        """Train to the last epoch, from the last checkpoint where there is one; gives each new row of metrics.csv."""
        last = self.run / "last.safetensors"
        if last.is_file():
            self._restore(last)
        else:
            self._train_head()
            self._save(last)
        while len(self.rows) < self.config.epochs:
            row = self._epoch(len(self.rows) + 1)
            self.rows.append(row)
            if row is self._best():
                tensors = checkpoint.prefixed("model", self.average.state_dict())
                checkpoint.write(self.run / "best.safetensors", tensors, {"epoch": row["epoch"], "metrics": row})
            self._save(last)
            self._write_metrics()
            yield row

    def _train_head(self) -> None:
        """The regressor alone, on features of the unchanged backbone: seconds, and the first real step starts sane."""
        config, rng = self.config, np.random.default_rng([self.config.seed, 0])
        sides = torch.stack([self._features(self.model, self.train_set, mirrored) for mirrored in (False, True)])
        opinion, size = self.opinion[self.train_set], min(64, len(self.train_set))
        optimizer = torch.optim.AdamW(self.model.regressor.parameters(), lr=3e-4, weight_decay=config.weight_decay)
        for epoch in range(config.head_epochs):
            for group in optimizer.param_groups:
                group["lr"] = 3e-4 * cosine(epoch / config.head_epochs)
            order = rng.permutation(len(opinion))
            for start in range(0, len(order) - size + 1, size):
                chosen = order[start : start + size]
                loss = pair_loss(self.model, sides[rng.integers(0, 2), chosen], opinion[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self.average.load_state_dict(self.model.state_dict())

    def _epoch(self, epoch: int) -> dict[str, float]:
        config, started = self.config, time.monotonic()
        rng = np.random.default_rng([config.shuffle, epoch])
        torch.manual_seed(config.shuffle * 100_003 + epoch)
        order = rng.permutation(self.train_set)[: self.steps * config.batch].reshape(self.steps, config.batch)
        losses = []
        train_mode(self.model)
        for index, images in enumerate(bar := progress(order, len(order), f"epoch {epoch}/{config.epochs}")):
            step = (epoch - 1) * self.steps + index
            scale = min(1.0, (step + 1) / WARMUP_STEPS) * cosine(step / (self.steps * config.epochs))
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * scale
            choices = self.steps_from.draw(rng, len(images), config.patches)
            features = self.steps_from.pooled(self.model, images, choices)
            features, opinion = blend(features, self.opinion[images], config.mixup)
            features = nn.functional.dropout(features, config.dropout)
            loss = pair_loss(self.model, features, opinion, config.rank_weight, config.rank_scale)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 5.0)
            self.optimizer.step()
            checkpoint.average(self.average, self.model, min(config.averaging, (1 + step) / (10 + step)))
            losses.append(loss.item())
            bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}")
        self.model.eval()
        row = {"epoch": epoch, "train_loss": float(np.mean(losses)), **self._validate(epoch)}
        return {**row, "seconds": round(time.monotonic() - started, 1)}

    def _features(self, model: PSCR, images: NDArray[np.int64], mirrored: bool = False) -> Tensor:
        """Features over all patches of each image, [n, C], without gradients."""
        count = model.sampling.count
        with torch.inference_mode():
            parts = [
                self.images_from.pooled(model, images[i : i + 8], every_patch(len(images[i : i + 8]), count, mirrored))
                for i in range(0, len(images), 8)
            ]
        return torch.cat(parts).clone()

    def _validate(self, epoch: int) -> dict[str, float]:
        """The averaged weights on the validation images; exemplars are a fixed draw of training images."""
        if len(self.val_set) < 2 or (epoch % self.config.validate_every and epoch < self.config.epochs):
            return {}
        rng = np.random.default_rng(self.config.seed)
        exemplars = rng.permutation(self.train_set)[: self.config.exemplars]
        scores = predict(
            self.average,
            self._features(self.average, self.val_set),
            self._features(self.average, exemplars),
            self.opinion[exemplars],
        )
        return {f"val_{name}": value for name, value in agreement(scores, self.opinion[self.val_set]).items()}

    def _best(self) -> dict[str, float]:
        """The row with the highest SRCC + PLCC; the last one where none was validated."""

        def merit(row: dict[str, float]) -> float:
            return float(np.nan_to_num(row.get("val_srcc", np.nan) + row.get("val_plcc", np.nan), nan=-np.inf))

        return max(reversed(self.rows), key=merit)

    def _save(self, file: Path) -> None:
        tensors = {
            **checkpoint.prefixed("model", self.model.state_dict()),
            **checkpoint.prefixed("average", self.average.state_dict()),
            **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer)),
        }
        checkpoint.write(file, tensors, {"rows": self.rows, "config": asdict(self.config)})

    def _restore(self, file: Path) -> None:
        tensors, meta = checkpoint.read(file)
        _check_same(file, meta, self.config)
        self.model.load_state_dict(checkpoint.part("model", tensors))
        self.average.load_state_dict(checkpoint.part("average", tensors))
        checkpoint.restore_optimizer(self.optimizer, checkpoint.part("optimizer", tensors))
        self.rows = meta["rows"]
        self._write_metrics()

    def _write_metrics(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _plain(value) for key, value in row.items()} for row in self.rows)
        checkpoint.write_atomically(self.run / "metrics.csv", text.getvalue().encode())


def train_mode(model: nn.Module) -> None:
    """Training mode with frozen BatchNorm statistics: batches are too small to estimate them anew."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def blend(features: Tensor, opinion: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Mixup of pooled features [B,C] and opinion scores [B], each with a random partner of the batch.

    Features are averages over patches, so a blend stands for an image that has patches of both.
    Source: mixup (arXiv 1710.09412) at the last hidden layer.
    """
    if not strength:
        return features, opinion
    own = torch.distributions.Beta(strength, strength).sample((len(opinion), 1)).clamp(1e-3, 1)
    partner = torch.randperm(len(opinion))
    return own * features + (1 - own) * features[partner], own[:, 0] * opinion + (1 - own[:, 0]) * opinion[partner]


def cosine(progress: float) -> float:
    """The cosine schedule: 1 at 0, 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def _plain(value: float) -> Any:
    return value if isinstance(value, int) else f"{value:.6g}"
