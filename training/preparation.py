"""What a run begins with: options that go together, first weights, frozen layers, and where its patches come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from ..runtime.errors import PscrError, Status
from . import checkpoint
from .backbones.base import Backbone
from .config import Config
from .digests import sha256
from .model import PSCR, load_pretrained, load_state
from .patches import CropSource, PatchSource, Source, StemCache, patch_counts
from .processes import Processes
from .run_folder import RunFolder

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check(config: Config, model: PSCR, images: int, processes: int) -> None:
    """See that the options go together for a network that `images` images train in so many processes.

    Raises:
        PscrError: INVALID_ARGUMENT.
    """
    stages, together = model.backbone.stages(), config.batch * config.accumulate
    if not 0 <= config.frozen_blocks <= model.spec.blocks:
        raise _refused(f"{config.frozen_blocks} frozen blocks; expected 0 to {model.spec.blocks} for {config.backbone}")
    if config.features == "depths" and config.frozen_blocks > stages[0][0]:
        raise _refused(
            f"{config.frozen_blocks} frozen blocks; features of several depths begin behind block {stages[0][0]}"
        )
    if not 0 < config.window <= 1 or (config.window < 1 and not (config.frozen_blocks and config.crops == "grid")):
        raise _refused(
            f"window {config.window}; expected above 0 to 1, and 1 without frozen blocks or with random crops"
        )
    if config.batch % processes or config.batch < 2:
        raise _refused(
            f"a batch of {config.batch} cannot be shared by {processes} processes; expected a multiple, 2 or more"
        )
    if config.accumulate < 1 or images < together:
        raise _refused(f"{images} training images do not fill one batch of {together}")
    if config.pairs == "partner" and model.direct:
        raise _refused("pairs with a partner need exemplars")
    if (config.copies or config.also) and (config.pairs != "all" or model.direct or processes > 1):
        raise _refused("copies and further databases need exemplars, all pairs of a batch and one process")


def first_weights(config: Config, model: PSCR) -> str:
    """Load the weights that training begins with; gives what the cache of frozen layers depends on."""
    load_pretrained(model, config.pretrained)
    named = config.pretrained in ("imagenet", "none")
    key = f"{config.backbone}/{config.pretrained if named else sha256(Path(config.pretrained))}"
    if config.pretrained == "none":
        key += f"/{config.seed}"
    if config.initial:
        file = RunFolder(Path(config.initial)).selected
        before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
        load_state(model, checkpoint.part("model", checkpoint.read(file)[0]), str(file))
        frozen = model.backbone.state_dict()
        free = {id(parameter) for parameter in model.backbone.after(config.frozen_blocks)}
        kept = [name for name, parameter in model.backbone.named_parameters() if id(parameter) not in free]
        if any(not torch.equal(before[name], frozen[name]) for name in kept):
            key += f"/{sha256(file)}"
    return key


def trainable(backbone: Backbone, frozen_blocks: int) -> list[nn.Parameter]:
    """A backbone's parameters behind the frozen blocks; the others lose their gradients."""
    if not frozen_blocks:
        return list(backbone.parameters())
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    free: list[nn.Parameter] = backbone.after(frozen_blocks)
    for parameter in free:
        parameter.requires_grad_(True)
    return free


def precision(name: str, device: torch.device) -> torch.dtype | None:
    """What the backbone computes in while it trains, by the option's value; None for fp32.

    Raises:
        PscrError: INVALID_ARGUMENT for fp16 elsewhere than on a GPU.
    """
    on_gpu = device.type == "cuda"
    if name == "auto":
        return (torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16) if on_gpu else None
    if name == "fp16" and not on_gpu:
        raise _refused(f"fp16 trains on a GPU only, not on {device}; use bf16")
    return PRECISIONS.get(name)


def patch_sources(
    config: Config, model: PSCR, images: Sequence[Source], cache: Path, key: str, processes: Processes
) -> tuple[PatchSource, PatchSource]:
    """Where training steps take their patches from, and where whole images are read from.

    cache: the folder of frozen layers. key: what they depend on, see `first_weights`.
    """
    counts = patch_counts(model.sampling, images)
    crops = CropSource(images, counts, config.frozen_blocks, config.threads, config.crops == "grid")
    if not config.frozen_blocks:
        return crops, crops
    if not processes.first:
        processes.barrier()  # until the first has filled the cache
    stems = StemCache(model, images, counts, config.frozen_blocks, cache, key, config.window)
    if processes.first:
        processes.barrier()
    return (stems if config.crops == "grid" else crops), stems


def _refused(found: str) -> PscrError:
    return PscrError(Status.INVALID_ARGUMENT, found)
