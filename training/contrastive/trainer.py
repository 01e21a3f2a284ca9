"""The loop of self-supervised training: SGD, checkpoints to go on from, and the encoder that is left at the end.

With several processes each passes its own share of the batch through the encoder; the features are gathered, and
every process projects them and computes the loss of the whole batch, as one process would. Statistics of the encoder's
batch normalisations, where they are trained, are each process's own, and those of the first are kept.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ...runtime import output_file
from ...runtime.errors import PscrError, Status
from .. import checkpoint, preparation, processes
from ..head import cosine
from ..image_folders import images_below
from ..interrupts import Interrupts, Stopped
from ..model import load_weights
from ..processes import Processes
from ..progress_bar import progress_bar
from ..run_folder import RunFolder
from ..trainer import SELDOM, train_mode
from .config import REFERENCE_BATCH, ContrastiveConfig
from .images import Images
from .loss import contrastive_loss
from .network import PARTS, ContrastiveNetwork
from .views import Batch, Views

Say = Callable[[str], None]
MOMENTUM = 0.9
ALIKE = 1e-3  # of the loss: how near it is to what it is where all features are the same
ENCODER = "encoder.pth"  # the state dict, which `pscr train --pretrained` takes


def train(config: ContrastiveConfig, output: Path, say: Say = lambda line: None) -> None:
    """Train to the end, from where the run stands, and write the run folder.

    say: is given each line for people.

    Raises:
        PscrError: images, options, weights or a device that cannot be used. Stopped: see `Trainer.fit`.
        OSError: a full disk; what was saved before is whole.
    """
    team = processes.start(config.device)
    images = Images(images_below(config.images), say)
    trainer = Trainer(config, images, RunFolder(output), team, say)
    trainer.fit()
    if images.damaged:
        say(f"{len(images.damaged)} of {len(images)} images could not be read and were left out")


class Trainer:
    """One run in one folder."""

    def __init__(
        self, config: ContrastiveConfig, images: Images, run: RunFolder, team: Processes, say: Say = lambda line: None
    ) -> None:
        config.check(len(images), team.count)
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.config, self.images, self.run, self.team, self.say = config, images, run, team, say
        self.steps = config.steps_of(len(images))
        self.views = Views(images, config.batch, config.crop, config.seed)
        self.precision = preparation.precision(config.precision, team.device)
        network = ContrastiveNetwork(config.spec)
        load_weights(network.encoder, config.spec, config.pretrained)
        free = preparation.trainable(network.encoder, config.frozen_blocks)
        self.network = network.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.encoder_part, self.projector_part = free, list(network.projector.parameters())
        both = [*self.encoder_part, *self.projector_part]
        decayed = [parameter for parameter in both if parameter.ndim > 1]
        plain = [parameter for parameter in both if parameter.ndim <= 1]  # of batch normalisations, and biases
        self.optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=config.rate,
            momentum=MOMENTUM,
        )
        self.scaler = torch.amp.GradScaler(team.device.type, enabled=self.precision is torch.float16)
        self.losses: list[float] = []
        self.chance = math.log(2 * PARTS**2 * config.batch - 1)  # the loss where all features are the same

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0: a linear rise, then a cosine to zero."""
        rising = round(self.config.warmup * self.steps)
        if step < rising:
            return self.config.rate * (step + 1) / rising
        return self.config.rate * cosine((step - rising) / (self.steps - rising))

    def fit(self) -> None:
        """Train to the end, from the last checkpoint where there is one, and write the encoder.

        Raises:
            PscrError: images that cannot be read; a loss that is no number any more. Stopped: after Ctrl-C or SIGTERM;
                the checkpoint then stands behind the step that was under way.
        """
        if self.run.last.is_file():
            self._restore()
            self.say(f"goes on behind step {len(self.losses)}")
        elif self.team.first:
            self.run.write_options(asdict(self.config))
        begun = len(self.losses)
        self.say(
            f"{len(self.images)} images, {self.steps} steps of {self.config.batch}, learning rate up to "
            f"{self.config.rate:.3g} ({self.config.lr:g} at a batch of {REFERENCE_BATCH})"
        )
        train_mode(self.network.encoder, self.config.batch_norm == "trained")
        self.network.projector.train()
        own = self.team.shard(self.config.batch)
        with (
            Interrupts() as interrupts,
            closing(self.views.batches(begun, self.steps, own, self.config.workers)) as batches,
        ):
            self._steps(progress_bar(batches, self.steps - begun, self.config.method), interrupts)
        if self.team.first:
            stream = io.BytesIO()
            torch.save({key: value.cpu() for key, value in self.network.encoder.state_dict().items()}, stream)
            output_file.write(self.run.path / ENCODER, stream.getvalue())

    def _steps(self, batches: tqdm[Batch], interrupts: Interrupts) -> None:
        """The steps that are left, with a checkpoint and a line now and then."""
        every, pending = self.config.save_every, list[Tensor]()
        for step, batch in enumerate(batches, len(self.losses) + 1):
            pending.append(self._step(step - 1, batch))
            saving = step % every == 0 or step == self.steps
            if not saving and len(pending) < SELDOM and self.team.device.type != "cpu":
                continue
            self._keep(pending)
            pending.clear()
            batches.set_postfix_str(f"loss {np.mean(self.losses[-SELDOM:]):.3f}")
            stopping = step < self.steps and self.team.any(interrupts.wished)
            if saving or stopping:
                self._save()
            if saving:
                recent = np.mean(self.losses[-every:])
                self.say(f"step {step}/{self.steps}, loss {recent:.4f}, learning rate {self.rate(step - 1):.3g}")
                if abs(self.losses[-1] - self.chance) < ALIKE:
                    self.say(
                        "the features of all images have become alike, of which nothing is learned; take a lower --lr"
                    )
            if stopping:
                raise Stopped

    def _keep(self, pending: Sequence[Tensor]) -> None:
        """Take losses from the device, which is waited for."""
        losses = torch.stack(list(pending)).tolist()
        if not np.isfinite(losses).all():
            step = len(self.losses) + 1
            raise PscrError(
                Status.INVALID_ARGUMENT, f"the loss is no number at step {step}; take a lower --lr, or a --clip"
            )
        self.losses += losses

    def _step(self, step: int, batch: Batch) -> Tensor:
        """One update of the weights. Returns the loss, on the device: nobody waits."""
        config, device = self.config, self.team.device
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(step)
        views = torch.from_numpy(batch.views).to(device).flatten(0, 1)
        classes = torch.from_numpy(batch.classes).to(device).repeat_interleave(2 * PARTS**2)
        self.optimizer.zero_grad()
        with torch.autocast(device.type, self.precision, enabled=self.precision is not None):
            features = self.network.local(views, config.frozen_blocks)
        projected = self.network.projector(self.team.gather(features))
        loss = contrastive_loss(projected, classes, config.temperature)
        self.scaler.scale(loss).backward()
        self.team.reduce_gradients(self.encoder_part, self.projector_part)
        self.scaler.unscale_(self.optimizer)
        if config.clip:
            nn.utils.clip_grad_norm_([*self.encoder_part, *self.projector_part], config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach()

    def _save(self) -> None:
        """Write the checkpoint, and the loss of every step until then."""
        if not self.team.first:
            return
        tensors = {
            **checkpoint.prefixed("encoder", self.network.encoder.state_dict()),
            **checkpoint.prefixed("projector", self.network.projector.state_dict()),
            **checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer)),
            "losses": torch.tensor(self.losses, dtype=torch.float64),
        }
        meta = {
            "config": asdict(self.config),
            "steps": self.steps,
            "images": {"count": len(self.images), "digest": self.images.digest},
            "scaler": self.scaler.state_dict(),
        }
        checkpoint.write(self.run.last, tensors, meta)
        rows = ((step + 1, f"{loss:.6g}", f"{self.rate(step):.6g}") for step, loss in enumerate(self.losses))
        self.run.write_metrics(("step", "loss", "learning_rate"), rows)

    def _restore(self) -> None:
        file = self.run.last
        tensors, meta = checkpoint.read(file)
        self.config.check_same(ContrastiveConfig.of(meta["config"], file), file)
        if meta["images"]["digest"] != self.images.digest:
            found = f"{file}: begun with {meta['images']['count']} other images"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; give the same, or choose another -o folder")
        self.network.encoder.load_state_dict(checkpoint.part("encoder", tensors))
        self.network.projector.load_state_dict(checkpoint.part("projector", tensors))
        checkpoint.restore_optimizer(self.optimizer, checkpoint.part("optimizer", tensors))
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(meta["scaler"])
        self.losses = tensors["losses"].tolist()
