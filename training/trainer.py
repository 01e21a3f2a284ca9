"""The training loop: contrastive regression over all pairs of a batch, averaged weights, validation that selects.

Against the published recipe (one random partner per image, nine patches, 100 epochs) every image of a batch is the
exemplar of all the others, so B passes through the backbone give B(B-1) differences; DESIGN and README say more.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..runtime.errors import PscrError, Status
from . import checkpoint
from .config import Config, check_same
from .databases import Database
from .head import cosine, train_head
from .interrupts import Interrupts
from .losses import blend, direct_loss, mixture_loss, pair_loss, partner_loss
from .mixture import Labels, Mixture
from .model import PSCR, build, load_pretrained, load_state
from .patches import CropSource, PatchSource, StemCache, patch_counts
from .processes import Processes
from .progress import progress
from .validation import Judge, Scores, best

Row = dict[str, float]
OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Stopped(Exception):  # noqa: N818 (a wish, not an error)
    """The run was asked to stop, and has saved where it was."""


class Trainer:
    """One run in one folder: RUN/{last.safetensors, best.safetensors}; `report.py` writes the rest.

    train, val: indices of the images that train, and of those that are scored after every epoch. others: the databases
    that train along, each with the indices of those of its images that train.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        train: Sequence[int],
        val: Sequence[int],
        run: Path,
        cache: Path | None = None,
        processes: Processes | None = None,
        others: Sequence[tuple[Database, Sequence[int]]] = (),
    ) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config, self.database, self.run = config, database, run
        self.processes = processes or Processes(torch.device("cpu"))
        self.device = self.processes.device
        self.labels = Labels.of(database)
        parts = [(database, train), *others]
        self.mixture = Mixture.of(config, [one for one, _ in parts], [some for _, some in parts])
        self.train_set, self.val_set = self.mixture.train, np.asarray(val, np.int64)
        self.own_set = np.asarray(train, np.int64)  # those of the run's own database, which can be exemplars
        self.opinion = torch.tensor(self.mixture.opinion, dtype=torch.float32, device=self.device)
        model = build(config.backbone, config.method, config.sampling, config.features, config.scales, config.hidden)
        self._check(model)
        load_pretrained(model, config.pretrained)
        self._frozen_as = self._begin(model)
        model.backbone.set_drop_path(config.drop_path)
        model.backbone.set_share(self.processes.rank, self.processes.count)
        self.model = model.eval().to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model)
        self.steps_from, images_from = self._sources(cache or run / "cache")
        self.judge = Judge(config, images_from, self.opinion, self.labels, self.own_set, self.processes)
        self.optimizer = OPTIMIZERS[config.optimizer](
            [
                {"params": self._trainable(), "lr": config.lr},
                {"params": list(self.model.regressor.parameters()), "lr": config.head_lr},
            ],
            weight_decay=config.weight_decay,
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.precision = self._precision()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision is torch.float16)
        self.rows: list[Row] = []
        self.centre = float(self.opinion[self.own_set].mean())
        self._position: dict[str, Any] | None = None

    def _check(self, model: PSCR) -> None:
        config, count = self.config, self.processes.count
        if not 0 <= config.frozen_blocks <= model.spec.blocks:
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"{config.frozen_blocks} frozen blocks; expected 0 to {model.spec.blocks} for {config.backbone}",
            )
        stages = model.backbone.stages()
        if config.features == "depths" and config.frozen_blocks > stages[0][0]:
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"{config.frozen_blocks} frozen blocks; features of several depths begin behind block {stages[0][0]}",
            )
        if not 0 < config.window <= 1 or (config.window < 1 and not (config.frozen_blocks and config.crops == "grid")):
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"window {config.window}; expected above 0 to 1, and 1 without frozen blocks or with random crops",
            )
        if config.batch % count or config.batch < 2:
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"a batch of {config.batch} cannot be shared by {count} processes; expected a multiple, 2 or more",
            )
        images = config.batch * config.accumulate
        self.steps = len(self.train_set) // images if config.accumulate > 0 else 0
        if not self.steps:
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"{len(self.train_set)} training images do not fill one batch of {images}",
            )
        if config.pairs == "partner" and (model.direct or config.mixup or config.rank_weight):
            raise PscrError(
                Status.INVALID_ARGUMENT, "pairs with a partner need exemplars and take no mixup or ranking loss"
            )
        if self.mixed and (config.pairs != "all" or model.direct or config.mixup or config.rank_weight or count > 1):
            raise PscrError(
                Status.INVALID_ARGUMENT,
                "copies and further databases need exemplars, all pairs of a batch and one process, and take no mixup "
                "or ranking loss",
            )

    def _begin(self, model: PSCR) -> str:
        """Load the weights of the run that this one begins with; gives what the cache of frozen layers depends on."""
        key = f"{self.config.backbone}/{self.config.pretrained}"
        if self.config.pretrained == "none":
            key += f"/{self.config.seed}"
        if self.config.initial:
            file = Path(self.config.initial) / "best.safetensors"
            before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
            load_state(model, checkpoint.part("model", checkpoint.read(file)[0]), str(file))
            frozen = model.backbone.state_dict()
            free = {id(parameter) for parameter in model.backbone.after(self.config.frozen_blocks)}
            kept = [name for name, parameter in model.backbone.named_parameters() if id(parameter) not in free]
            if any(not torch.equal(before[name], frozen[name]) for name in kept):
                key += f"/{self.config.initial}"
        return key

    def _precision(self) -> torch.dtype | None:
        """What the backbone computes in while it trains; None for fp32."""
        asked, on_gpu = self.config.precision, self.device.type == "cuda"
        if asked == "auto":
            return (torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16) if on_gpu else None
        if asked == "fp16" and not on_gpu:
            raise PscrError(Status.INVALID_ARGUMENT, f"fp16 trains on a GPU only, not on {self.device}; use bf16")
        return PRECISIONS.get(asked)

    def _sources(self, cache: Path) -> tuple[PatchSource, PatchSource]:
        """Where training steps take their patches from, and where whole images are read from."""
        config, sources = self.config, self.mixture.sources
        counts = patch_counts(self.model.sampling, sources)
        crops = CropSource(sources, counts, config.frozen_blocks, config.threads, config.crops == "grid")
        if not config.frozen_blocks:
            return crops, crops
        key = self._frozen_as
        if not self.processes.first:
            self.processes.wait()  # until the first has filled the cache
        stems = StemCache(self.model, sources, counts, config.frozen_blocks, cache, key, config.window)
        if self.processes.first:
            self.processes.wait()
        return (stems if config.crops == "grid" else crops), stems

    def _trainable(self) -> list[nn.Parameter]:
        """The backbone's parameters behind the frozen blocks; the others lose their gradients."""
        if not self.config.frozen_blocks:
            return list(self.model.backbone.parameters())
        for parameter in self.model.backbone.parameters():
            parameter.requires_grad_(False)
        free: list[nn.Parameter] = self.model.backbone.after(self.config.frozen_blocks)
        for parameter in free:
            parameter.requires_grad_(True)
        return free

    @property
    def over(self) -> bool:
        """Whether the last epoch is done, or `patience` validations in a row have brought nothing better."""
        if len(self.rows) >= self.config.epochs or not self.config.patience or not self.rows:
            return len(self.rows) >= self.config.epochs
        part = self.config.judged
        later = self.rows[self.rows.index(best(self.rows, part)) + 1 :]
        return sum(f"{part}_srcc" in row for row in later) >= self.config.patience

    def restore(self) -> bool:
        """Go back to the last checkpoint. Returns whether there is one."""
        last = self.run / "last.safetensors"
        if last.is_file():
            self._restore(last)
        return last.is_file()

    def fit(self) -> Iterator[Row]:
        """Train to the end, from the last checkpoint where there is one; gives the row of each finished epoch.

        Raises:
            Stopped: after Ctrl-C or SIGTERM; the checkpoint then stands in the middle of an epoch.
        """
        last = self.run / "last.safetensors"
        if not self.restore():
            self._train_head()
            self._save(last)
        with Interrupts() as interrupts:
            while not self.over:
                row, scores = self._epoch(len(self.rows) + 1, interrupts)
                self.rows.append(row)
                if row is best(self.rows, self.config.judged):
                    tensors = checkpoint.prefixed("model", self.average.state_dict())
                    meta = {"epoch": row["epoch"], "metrics": row, "labels": asdict(self.labels)}
                    if scores is not None:
                        meta["scores"] = scores.tolist()
                    self._write(self.run / "best.safetensors", tensors, meta)
                self._save(last)
                yield row
                if self.processes.any(interrupts.wished) and not self.over:
                    raise Stopped

    def test(self, images: Sequence[int]) -> Scores:
        """Scores of images by the selected weights."""
        tensors, meta = checkpoint.read(self.run / "best.safetensors")
        selected = copy.deepcopy(self.average)
        selected.load_state_dict(checkpoint.part("model", tensors))
        return self.judge.scores(selected, np.asarray(images), meta["epoch"])

    def _train_head(self) -> None:
        """The regressor alone, on features of the unchanged backbone: seconds, and the first real step starts sane."""
        config, rng = self.config, np.random.default_rng([self.config.seed, 0])
        if not config.head_epochs or config.initial:
            return
        with self._autocast():
            both = [self.judge.features(self.model, self.own_set, mirrored) for mirrored in (False, True)]
        sides = torch.stack(both)
        self.model.standardise(sides[0])
        sides = (sides - self.model.feature_mean) / self.model.feature_std if self.model.standardised else sides
        train_head(
            self.model.regressor.parameters(),
            partial(self._loss, plain=True),
            sides,
            self.opinion[self.own_set],
            rng,
            epochs=config.head_epochs,
            weight_decay=config.weight_decay,
            dropout=config.dropout,
        )
        self.average.load_state_dict(self.model.state_dict())

    def _loss(self, features: Tensor, opinion: Tensor, plain: bool = False) -> Tensor:
        """The loss of features [B,C] and opinions [B]; plain: of all pairs, without ranking."""
        config, regressor = self.config, self.model.regressor
        ranking = (0.0 if plain else config.rank_weight, config.rank_scale)
        if self.model.direct:
            return direct_loss(regressor, features, opinion, self.centre, *ranking)
        if config.pairs == "partner" and not plain:
            return partner_loss(regressor, features, opinion)
        return pair_loss(regressor, features, opinion, *ranking)

    def _mixed_loss(self, features: Tensor, batch: NDArray[np.int64]) -> Tensor:
        """The loss of a batch [B] in which not every pair may be compared."""
        images, copies = (torch.from_numpy(some).to(self.device) for some in self.mixture.pairs(batch))
        opinion, weight = self.opinion[batch], self.config.copy_weight
        return mixture_loss(self.model.regressor, features, opinion, images, copies, weight)

    @property
    def mixed(self) -> bool:
        """Whether there are copies or other databases, so that not every pair of a batch may be compared."""
        return bool(self.config.copies or self.config.also)

    def _epoch(self, epoch: int, interrupts: Interrupts) -> tuple[Row, Scores | None]:
        """Train one epoch, from the middle where the checkpoint stands there; the row and the judged images' scores."""
        config, started = self.config, time.monotonic()
        rng = np.random.default_rng([config.shuffle, epoch])
        torch.manual_seed(config.shuffle * 100_003 + epoch)
        shape = (self.steps, config.accumulate, config.batch)
        order = rng.permutation(self.train_set)[: math.prod(shape)].reshape(shape)
        losses, spent = self._resume_epoch(rng)
        train_mode(self.model, config.batch_norm == "trained")
        bar = progress(order[len(losses) :], len(order) - len(losses), f"epoch {epoch}/{config.epochs}")
        for batches in bar:
            losses.append(self._step((epoch - 1) * self.steps + len(losses), batches, rng))
            bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}")
            if self.processes.any(interrupts.wished) and len(losses) < self.steps:
                spent += time.monotonic() - started
                self._save(self.run / "last.safetensors", {"losses": losses, "seconds": spent, **_state(rng)})
                raise Stopped
        self.model.eval()
        row: Row = {"epoch": epoch, "train_loss": float(np.mean(losses))}
        scores = None
        if len(self.val_set) >= 2 and (epoch % config.validate_every == 0 or epoch >= config.epochs):
            scores = self.judge.scores(self.average, self.val_set, epoch)
            found = self.judge.figures(scores, self.val_set)
            row |= {f"{config.judged}_{name}": value for name, value in found.items()}
        return {**row, "seconds": round(spent + time.monotonic() - started, 1)}, scores

    def _step(self, step: int, batches: NDArray[np.int64], rng: np.random.Generator) -> float:
        """One update of the weights from `batches`, indices [accumulate, batch]. Returns the mean loss."""
        config = self.config
        scale = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
        if config.schedule == "cosine":
            scale *= cosine(step / (self.steps * config.epochs))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * scale
        losses = []
        self.optimizer.zero_grad()
        for images in batches:
            if config.pairs == "partner":
                images = np.concatenate([images, self._partners(images, rng)])
            if self.mixed:
                images = self.mixture.with_copies(images, rng)
            choices = self.steps_from.draw(rng, images, config.patches)
            own = self.processes.share(len(images))
            with self._autocast():
                features = self.steps_from.pooled(self.model, images[own], choices[own])
            features = self.processes.gather(features)
            features, opinion = blend(features, self.opinion[images], config.mixup)
            features = nn.functional.dropout(features, config.dropout)
            loss = self._mixed_loss(features, images) if self.mixed else self._loss(features, opinion)
            loss = loss / len(batches)
            self.scaler.scale(loss).backward()
            losses.append(loss.item())
        backbone, head = (group["params"] for group in self.optimizer.param_groups)
        self.processes.reduce_gradients(backbone, head)
        self.scaler.unscale_(self.optimizer)
        if config.clip:
            nn.utils.clip_grad_norm_([*backbone, *head], config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        checkpoint.average(self.average, self.model, min(config.averaging, (1 + step) / (10 + step)))
        return float(np.sum(losses))

    def _partners(self, images: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """For each image another one of the training set, drawn at random."""
        places = np.searchsorted(self.train_set, images)
        return self.train_set[(places + rng.integers(1, len(self.train_set), len(images))) % len(self.train_set)]

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self.precision, enabled=self.precision is not None)

    def _save(self, file: Path, position: dict[str, Any] | None = None) -> None:
        """position: where in the next epoch the run stands; None for its start."""
        tensors = {
            **checkpoint.prefixed("model", self.model.state_dict()),
            **checkpoint.prefixed("average", self.average.state_dict()),
            **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer)),
        }
        meta: dict[str, Any] = {"rows": self.rows, "config": asdict(self.config), "labels": asdict(self.labels)}
        meta["scaler"] = self.scaler.state_dict()
        if position is not None:
            tensors["random.cpu"] = torch.get_rng_state()
            if self.device.type == "cuda":
                tensors["random.cuda"] = torch.cuda.get_rng_state()
            meta["position"] = position
        self._write(file, tensors, meta)

    def _write(self, file: Path, tensors: checkpoint.Tensors, meta: dict[str, Any]) -> None:
        if self.processes.first:
            checkpoint.write(file, tensors, meta)

    def _restore(self, file: Path) -> None:
        tensors, meta = checkpoint.read(file)
        check_same(file, meta, self.config)
        self.model.load_state_dict(checkpoint.part("model", tensors))
        self.average.load_state_dict(checkpoint.part("average", tensors))
        checkpoint.restore_optimizer(self.optimizer, checkpoint.part("optimizer", tensors))
        if self.scaler.is_enabled() and meta.get("scaler"):
            self.scaler.load_state_dict(meta["scaler"])
        self.rows = meta["rows"]
        if "labels" not in meta and not self.over:
            found = f"{file}: begun by a version whose networks predict in the labels' own units"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; begin again in another -o folder")
        self._position = meta.get("position")
        if self._position is not None:
            self._position["random"] = checkpoint.part("random", tensors)

    def _resume_epoch(self, rng: np.random.Generator) -> tuple[list[float], float]:
        """Losses and seconds of this epoch's steps that an interrupted run has done; sets the random states to then."""
        position, self._position = self._position, None
        if position is None:
            return [], 0.0
        rng.bit_generator.state = position["numpy"]
        torch.set_rng_state(position["random"]["cpu"])
        if self.device.type == "cuda" and "cuda" in position["random"]:
            torch.cuda.set_rng_state(position["random"]["cuda"])
        return list(position["losses"]), float(position["seconds"])


def train_mode(model: nn.Module, batch_norm: bool = False) -> None:
    """Training mode; batch_norm: of the BatchNorm statistics too, for which batches are usually too small."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not (batch_norm and module.weight.requires_grad):
            module.eval()


def _state(rng: np.random.Generator) -> dict[str, Any]:
    return {"numpy": rng.bit_generator.state}
