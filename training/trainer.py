"""The training loop: contrastive regression over all pairs of a batch, averaged weights, validation that selects.

Against the published recipe (one random partner per image, nine patches, 100 epochs) every image of a batch is the
exemplar of all the others, so B passes through the backbone give B(B-1) differences; DESIGN and README say more.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..runtime.errors import PscrError, Status
from . import checkpoint, preparation
from .batches import Batch, Batches
from .config import Config
from .databases import Database
from .head import cosine, train_head
from .interrupts import Interrupts, Stopped
from .losses import direct_loss, mixture_loss, pair_loss, partner_loss
from .mixture import Labels, Mixture
from .model import build
from .processes import Processes
from .progress_bar import progress_bar
from .run_folder import RunFolder
from .validation import Scores, Validator, best

Row = dict[str, float]
SELDOM = 50  # steps: how often a GPU is waited for, to show the loss, and other processes, to see who wishes to stop
OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


class Trainer:
    """One run in one folder, whose two checkpoints it writes; `run_report.py` writes the rest.

    train, val: indices of the images that train, and of those that are scored after every epoch. others: the databases
    that train along, each with the indices of those of its images that train.
    """

    def __init__(
        self,
        config: Config,
        database: Database,
        train: Sequence[int],
        val: Sequence[int],
        run: RunFolder,
        cache: Path | None = None,
        processes: Processes | None = None,
        others: Sequence[tuple[Database, Sequence[int]]] = (),
    ) -> None:
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config, self.database, self.run = config, database, run
        self.processes = processes or Processes(torch.device("cpu"))
        self.device = self.processes.device
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # the quickest kernels of each shape, found once
        self.labels = Labels.of(database)
        parts = [(database, train), *others]
        self.mixture = Mixture.of(config, [one for one, _ in parts], [some for _, some in parts])
        self.train_set, self.val_set = self.mixture.train, np.asarray(val, np.int64)
        self.own_set = np.asarray(train, np.int64)  # those of the run's own database, which can be exemplars
        self.opinion = torch.tensor(self.mixture.opinion, dtype=torch.float32, device=self.device)
        model = build(config.backbone, config.method, config.sampling, config.features, config.hidden)
        preparation.check(config, model, len(self.train_set), self.processes.count)
        self.steps = len(self.train_set) // (config.batch * config.accumulate)
        frozen_as = preparation.first_weights(config, model)
        model.backbone.set_drop_path(config.drop_path)
        model.backbone.set_shard(self.processes.rank, self.processes.count)
        self.model = model.eval().to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model)
        self.steps_from, images_from = preparation.patch_sources(
            config, self.model, self.mixture.sources, cache or run.cache, frozen_as, self.processes
        )
        self.batches = Batches(config, self.mixture, self.steps_from, self.model, self.processes)
        self.validator = Validator(config, images_from, self.opinion, self.labels, self.own_set, self.processes)
        self.optimizer = OPTIMIZERS[config.optimizer](
            [
                {"params": preparation.trainable(self.model.backbone, config.frozen_blocks), "lr": config.lr},
                {"params": list(self.model.regressor.parameters()), "lr": config.head_lr},
            ],
            weight_decay=config.weight_decay,
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.precision = preparation.precision(config.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision is torch.float16)
        self.rows: list[Row] = []
        self.centre = float(self.opinion[self.own_set].mean())
        self._position: dict[str, Any] | None = None

    @property
    def over(self) -> bool:
        """Whether the last epoch is done, or `patience` validations in a row have brought nothing better."""
        if len(self.rows) >= self.config.epochs or not self.config.patience or not self.rows:
            return len(self.rows) >= self.config.epochs
        part = self.config.selection_part
        later = self.rows[self.rows.index(best(self.rows, part)) + 1 :]
        return sum(f"{part}_srcc" in row for row in later) >= self.config.patience

    def restore(self) -> bool:
        """Go back to the last checkpoint. Returns whether there is one."""
        last = self.run.last
        if last.is_file():
            self._restore(last)
        return last.is_file()

    def fit(self) -> Iterator[Row]:
        """Train to the end, from the last checkpoint where there is one; gives the row of each finished epoch.

        Raises:
            Stopped: after Ctrl-C or SIGTERM; the checkpoint then stands in the middle of an epoch.
        """
        if not self.restore():
            self._train_head()
            self._save()
        with Interrupts() as interrupts:
            while not self.over:
                row, scores = self._epoch(len(self.rows) + 1, interrupts)
                self.rows.append(row)
                if row is best(self.rows, self.config.selection_part):
                    tensors = checkpoint.prefixed("model", self.average.state_dict())
                    meta = {"epoch": row["epoch"], "metrics": row, "labels": asdict(self.labels)}
                    if scores is not None:
                        meta["scores"] = scores.tolist()
                    self._write(self.run.selected, tensors, meta)
                self._save()
                yield row
                if self.processes.any(interrupts.wished) and not self.over:
                    raise Stopped

    def test(self, images: Sequence[int]) -> Scores:
        """Scores of images by the selected weights."""
        tensors, meta = checkpoint.read(self.run.selected)
        selected = copy.deepcopy(self.average)
        selected.load_state_dict(checkpoint.part("model", tensors))
        return self.validator.scores(selected, np.asarray(images), meta["epoch"])

    def _train_head(self) -> None:
        """The regressor alone, on features of the unchanged backbone: seconds, and the first real step starts sane."""
        config, rng = self.config, np.random.default_rng([self.config.seed, 0])
        if not config.head_epochs or config.initial:
            return
        with self._autocast():
            both = [self.validator.features(self.model, self.own_set, mirrored) for mirrored in (False, True)]
        sides = torch.stack(both)
        self.model.standardise(sides[0])
        sides = (sides - self.model.feature_mean) / self.model.feature_std if self.model.depths else sides
        train_head(
            self.model.regressor.parameters(),
            partial(self._loss, plain=True),
            sides,
            self.opinion[self.own_set],
            rng,
            epochs=config.head_epochs,
            rate=config.head_lr,
            weight_decay=config.weight_decay,
            dropout=config.dropout,
        )
        self.average.load_state_dict(self.model.state_dict())

    def _loss(self, features: Tensor, opinion: Tensor, plain: bool = False) -> Tensor:
        """The loss of features [B,C] and opinions [B]; plain: of all pairs, whatever the options say."""
        regressor = self.model.regressor
        if self.model.direct:
            return direct_loss(regressor, features, opinion, self.centre)
        if self.config.pairs == "partner" and not plain:
            return partner_loss(regressor, features, opinion)
        return pair_loss(regressor, features, opinion)

    def _batch_loss(self, features: Tensor, batch: Batch) -> Tensor:
        """The loss of a batch with features [B,C], in which perhaps not every pair may be compared."""
        opinion = self._there(batch.opinion)
        if batch.pairs is None:
            return self._loss(features, opinion)
        images, copies = (self._there(some) for some in batch.pairs)
        return mixture_loss(self.model.regressor, features, opinion, images, copies, self.config.copy_weight)

    def _there(self, values: Tensor) -> Tensor:
        """Values of the host on the device; from pinned memory they are copied while other work goes on."""
        return values.to(self.device, non_blocking=True)

    def _epoch(self, epoch: int, interrupts: Interrupts) -> tuple[Row, Scores | None]:
        """Train one epoch, from the middle where the checkpoint stands there.

        Returns its row, and the scores of the images that select, where they were scored.
        """
        config, started = self.config, time.monotonic()
        rng = np.random.default_rng([config.shuffle, epoch])
        torch.manual_seed(config.shuffle * 100_003 + epoch)
        shape = (self.steps, config.accumulate, config.batch)
        order = rng.permutation(self.train_set)[: math.prod(shape)].reshape(shape)
        before, spent = self._resume_epoch(rng)
        train_mode(self.model, config.batch_norm == "trained")
        left, found = len(order) - len(before), list[Tensor]()
        with closing(self.batches.steps(order[len(before) :], rng)) as steps:
            bar = progress_bar(steps, left, f"epoch {epoch}/{config.epochs}")
            for step in bar:
                found.append(self._step((epoch - 1) * self.steps + len(before) + len(found), step.batches))
                seldom = len(found) % SELDOM == 0
                if not bar.disable and (seldom or self.device.type == "cpu"):
                    bar.set_postfix_str(f"loss {np.mean((before + _sums(found[-50:]))[-50:]):.3f}")
                asked = seldom or self.processes.count == 1
                if asked and len(found) < left and self.processes.any(interrupts.wished):
                    spent += time.monotonic() - started
                    self._save({"losses": before + _sums(found), "seconds": spent, "numpy": step.state})
                    raise Stopped
        self.model.eval()
        row: Row = {"epoch": epoch, "train_loss": float(np.mean(before + _sums(found)))}
        scores = None
        if len(self.val_set) >= 2 and (epoch % config.validate_every == 0 or epoch >= config.epochs):
            scores = self.validator.scores(self.average, self.val_set, epoch)
            figures = self.validator.figures(scores, self.val_set)
            row |= {f"{config.selection_part}_{name}": value for name, value in figures.items()}
        return {**row, "seconds": round(spent + time.monotonic() - started, 1)}, scores

    def _step(self, step: int, batches: Sequence[Batch]) -> Tensor:
        """One update of the weights. Returns the losses of its batches, [accumulate], on the device: nobody waits."""
        config = self.config
        scale = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
        if config.schedule == "cosine":
            scale *= cosine(step / (self.steps * config.epochs))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * scale
        losses = []
        self.optimizer.zero_grad()
        for batch in batches:
            with self._autocast():
                features = self.steps_from.features(self.model, self._there(batch.fetched), *batch.shape)
            features = self.processes.gather(features)
            features = nn.functional.dropout(features, config.dropout)
            loss = self._batch_loss(features, batch) / len(batches)
            self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        backbone, head = (group["params"] for group in self.optimizer.param_groups)
        self.processes.reduce_gradients(backbone, head)
        self.scaler.unscale_(self.optimizer)
        if config.clip:
            nn.utils.clip_grad_norm_([*backbone, *head], config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        checkpoint.average(self.average, self.model, min(config.averaging, (1 + step) / (10 + step)))
        return torch.stack(losses)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self.precision, enabled=self.precision is not None)

    def _save(self, position: dict[str, Any] | None = None) -> None:
        """Write the checkpoint to go on from. position: where in the next epoch the run stands; None for its start."""
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
        self._write(self.run.last, tensors, meta)

    def _write(self, file: Path, tensors: checkpoint.Tensors, meta: dict[str, Any]) -> None:
        if self.processes.first:
            checkpoint.write(file, tensors, meta)

    def _restore(self, file: Path) -> None:
        tensors, meta = checkpoint.read(file)
        self.config.check_same(Config.of(meta["config"]), file)
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


def _sums(losses: Sequence[Tensor]) -> list[float]:
    """The loss of each step from those of its batches, [accumulate] each; waits for the device."""
    return [float(np.sum(one)) for one in torch.stack(list(losses)).tolist()] if losses else []
