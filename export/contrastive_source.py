"""A self-supervised run as a model of the family linear: its encoder, at two scales, and no regressor yet."""

from __future__ import annotations

from pathlib import Path

from ..runtime.errors import PscrError, Status
from ..training import checkpoint
from ..training.contrastive.config import ContrastiveConfig
from ..training.model import load_encoder
from ..training.run_folder import RunFolder
from .linear_export import LinearSource
from .linear_graph import Expert, Views
from .linear_import import NO_SCALE

SOURCE = "arXiv 2110.13266"


def of_contrastive(run: Path) -> LinearSource:
    """The encoder of a run of `pscr train --method contrique`, whole images and their half scale.

    Raises:
        PscrError: FILE_NOT_FOUND, MODEL_INVALID: no such run, or a damaged one; INVALID_ARGUMENT for one that is not at
            its end.
    """
    file = RunFolder(run).last
    tensors, meta = checkpoint.read(file)
    try:
        config = ContrastiveConfig.of(meta["config"], file)
        done, steps, images = len(tensors["losses"]), int(meta["steps"]), int(meta["images"]["count"])
    except (KeyError, TypeError, ValueError) as error:
        raise PscrError(Status.MODEL_INVALID, f"{file}: not a self-supervised run ({error!r})") from error
    if done < steps:
        found = f"{run}: stopped behind step {done} of {steps}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; run the same pscr train again, it goes on from there")
    encoder = config.spec.build()
    load_encoder(encoder, checkpoint.part("encoder", tensors), str(file))
    return LinearSource(
        config.method,
        (Expert(encoder.eval(), config.spec.normalisation),),
        Views("pil-bicubic", "whole", unit=True),
        None,
        NO_SCALE,
        SOURCE,
        {"encoder": file},
        backbone=config.backbone,
        trained={
            "split": f"{images} unlabelled images",
            "seed": config.seed,
            "epochs": round(steps * config.batch / images, 2),
            "steps": steps,
        },
    )
