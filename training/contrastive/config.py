"""What decides a self-supervised run: every option of `pscr train --method contrique`, declared once."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...runtime import cores
from ...runtime.errors import PscrError, Status
from ..backbones import BACKBONES, BackboneSpec, find
from ..config import SELF_SUPERVISED
from ..options import check_same, option
from ..run_folder import RunFolder

REFERENCE_BATCH = 1024  # images per step that --lr is meant for, the paper's
SMALLEST_CROP = 64  # pixels; below, the deepest layers have nothing left to pool in 2x2 parts
ANYWHERE = ("threads", "workers", "device", "save_every")  # a run may go on with others

_TRAINED = "what is trained"
_HOW = "how it is trained"
_WHERE = "where it runs"
_ENCODERS = sorted(BACKBONES)  # not those of timm, of which only the pooled features are known


@dataclass(frozen=True)
class Output:
    """Where a run lies."""

    output: Path = option(short="-o", metavar="RUN", help="the run folder")


@dataclass(frozen=True)
class ContrastiveConfig:
    """Everything that decides a run; it is written to config.json and a resumed run must have the same.

    images: folders, or image files. frozen_blocks: leading blocks that keep their first weights.
    batch: images per step over all processes, an even number: half of them are distorted, half taken as they are.
    lr: highest learning rate at a batch of 1024; one of B images has lr * B / 1024 (the linear scaling rule).
    warmup: share of the steps in which it rises; then it falls to zero as a cosine.
    batch_norm: "frozen": the encoder's statistics stay those of its first weights, since those of few images, half of
        them distorted, say little of whole photographs; "trained" is for batches of a hundred images or more.
    crop: side in pixels of what the encoder sees. temperature: of the loss. clip: largest norm of the gradient, 0 for
        any. save_every: steps between checkpoints. workers: threads that decode and distort images.
    """

    images: tuple[str, ...] = option(metavar="DIR", help="folders of unlabelled images, searched to any depth")

    method: str = option("contrique", choices=SELF_SUPERVISED, help="the self-supervised method", group=_TRAINED)
    backbone: str = option("efficientnet_lite0", choices=_ENCODERS, help="the encoder", group=_TRAINED)
    pretrained: str = option("imagenet", help="imagenet, none, or a checkpoint file", group=_TRAINED)
    frozen_blocks: int = option(0, metavar="N", help="leading blocks kept as they are", group=_TRAINED)

    epochs: int = option(25, help="passes over the images", group=_HOW)
    steps: int = option(0, metavar="N", help="updates of the weights, in place of --epochs", group=_HOW)
    batch: int = option(16, help="images per step, over all processes; two views of each", group=_HOW)
    crop: int = option(256, metavar="PIXELS", help="side of a view", group=_HOW)
    lr: float = option(
        0.03,
        help=f"highest learning rate at a batch of {REFERENCE_BATCH}; a batch of B has lr * B / {REFERENCE_BATCH}; the "
        "paper has 0.6, for random weights, which is too much for ImageNet's",
        group=_HOW,
    )
    warmup: float = option(0.1, metavar="SHARE", help="share of the steps in which it rises", group=_HOW)
    weight_decay: float = option(1e-4, help="not on batch normalisations and biases", group=_HOW)
    temperature: float = option(0.1, help="of the contrastive loss", group=_HOW)
    clip: float = option(5.0, help="largest norm of the gradient; 0 for any", group=_HOW)
    batch_norm: str = option(
        "frozen",
        choices=("frozen", "trained"),
        help="statistics of the encoder's batch normalisations; trained: for batches of a hundred images or more",
        group=_HOW,
    )
    seed: int = option(1, help="decides the projector's first weights and every view", group=_HOW)

    device: str = option("auto", help="auto, cpu, cuda or cuda:N; several GPUs: accelerate launch", group=_WHERE)
    precision: str = option(
        "auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="of the encoder; auto: bf16 or fp16 on a GPU, fp32 elsewhere",
        group=_WHERE,
    )
    threads: int = option(factory=cores.usable, help="CPU threads of the network", group=_WHERE)
    workers: int = option(factory=cores.usable, help="threads that decode and distort images", group=_WHERE)
    save_every: int = option(100, metavar="N", help="steps between checkpoints", group=_WHERE)

    @classmethod
    def of(cls, entries: dict[str, Any], origin: object) -> ContrastiveConfig:
        """The configuration that a run was written with. origin: the file that it was read from.

        Raises:
            PscrError: MODEL_INVALID: no such configuration.
        """
        try:
            known = {field.name: entries[field.name] for field in fields(cls)}
            return cls(**{**known, "images": tuple(known["images"])})
        except (KeyError, TypeError) as error:
            raise PscrError(Status.MODEL_INVALID, f"{origin}: not a self-supervised run ({error!r})") from error

    @property
    def spec(self) -> BackboneSpec:
        """The encoder's entry in the registry."""
        return find(self.backbone)

    @property
    def rate(self) -> float:
        """The highest learning rate, by the linear scaling rule."""
        return self.lr * self.batch / REFERENCE_BATCH

    def steps_of(self, images: int) -> int:
        """How many steps there are, with so many images."""
        return self.steps or math.ceil(self.epochs * images / self.batch)

    def check(self, images: int, processes: int) -> None:
        """See that the options go together, for so many images and processes.

        Raises:
            PscrError: INVALID_ARGUMENT.
        """
        if images < 2:
            raise _refused(f"{images} image in {', '.join(self.images)}; expected 2 or more, to tell them apart")
        if self.batch < 2 or self.batch % 2 or self.batch % processes:
            shared = f" and a multiple of {processes} processes" if processes > 1 else ""
            raise _refused(f"a batch of {self.batch}; expected an even number, 2 or more{shared}")
        if self.crop < SMALLEST_CROP:
            raise _refused(f"crops of {self.crop} pixels; expected {SMALLEST_CROP} or more")
        if not 0 <= self.frozen_blocks < self.spec.blocks:
            raise _refused(
                f"{self.frozen_blocks} frozen blocks; expected 0 to {self.spec.blocks - 1} for {self.backbone}"
            )
        if self.steps < 0 or (not self.steps and self.epochs < 1):
            raise _refused(f"{self.steps} steps, {self.epochs} epochs; expected 1 or more of one")
        for name in ("lr", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise _refused(f"--{name} {getattr(self, name)}; expected more than 0")
        if not 0 <= self.warmup < 1 or self.weight_decay < 0 or self.clip < 0 or self.seed < 0:
            raise _refused("expected --warmup of 0 to below 1, and --weight-decay, --clip and --seed of 0 or more")
        if min(self.threads, self.workers, self.save_every) < 1:
            raise _refused("expected --threads, --workers and --save-every of 1 or more")

    def check_same(self, stored: ContrastiveConfig, origin: object) -> None:
        """See that a run that was begun with `stored` may go on with this configuration.

        Raises:
            PscrError: INVALID_ARGUMENT naming the first option that differs. origin: the file that it was read from.
        """
        check_same(stored, self, origin, (*ANYWHERE, "images"))  # of which their digest tells


def is_contrastive(run: Path) -> bool:
    """Whether a folder is a self-supervised run."""
    folder = RunFolder(run)
    return folder.has_options and folder.options().get("method") in SELF_SUPERVISED


def _refused(found: str) -> PscrError:
    return PscrError(Status.INVALID_ARGUMENT, found)
