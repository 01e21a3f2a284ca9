"""The recipes of `pscr train`, each a set of options, and what the options are that nobody gives."""

from __future__ import annotations

from typing import Any

from . import backbones
from .config import Config
from .options import defaults as defaults_of

PUBLISHED_EXEMPLARS = 10

# The published training: one random partner per image, all nine patches, everything trained (DESIGN 2).
PUBLISHED: dict[str, Any] = {
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
DENSE: dict[str, Any] = {
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
RECIPES: dict[str, dict[str, Any]] = {"ours": {}, "published": PUBLISHED, "dense": DENSE}


def defaults(recipe: str, method: str, sampling: str, protocol: str, backbone: str) -> dict[str, Any]:
    """What the options are that nobody gives, where these five are as they are; `sampling` may be empty.

    Crops are random where the paper's are (RPS, CR and NR), and CR and NR have one a step.
    """
    sampling = sampling or (RECIPES[recipe].get("sampling", "ops") if method == "pscr" else "resize")
    frozen = backbones.frozen(backbone)
    found = {**defaults_of(Config), "frozen_blocks": frozen, **RECIPES[recipe], "sampling": sampling}
    if sampling in ("rps", "resize"):
        found["crops"] = "random"
    if sampling in ("resize", "dense"):
        found["patches"] = 1
    if method == "nr":
        found["pairs"] = "all"  # it has none
    if protocol == "published":
        found["exemplars"] = PUBLISHED_EXEMPLARS
    return found
