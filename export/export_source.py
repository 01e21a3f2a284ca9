"""What a model folder is made of: a trained network, its exemplars, and what is known of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..runtime.score_scale import ScoreScale
from ..training.databases import Item
from ..training.model import PSCR
from .agreement import Measured


@dataclass(frozen=True)
class ExportSource:
    """A network that is to be exported, with predictions in opinion-score units.

    exemplars: the bank's images; where there are none, `mean` is the opinion that direct regression's 0 stands for.
    selection: how they were chosen, for the manifest. checked: images that parity is proved on. unseen: images that
    did not train, to measure the export on. trained: images that other precisions are calibrated on unless others are
    given. training: the manifest's `training` entry, given what was measured.
    published: whether scores must equal the published computation.
    """

    model: PSCR
    exemplars: list[Item]
    selection: str
    checked: list[Item]
    unseen: list[Item]
    trained: list[Item]
    score: ScoreScale
    training: Callable[[Measured], dict[str, Any]]
    mean: float = 0.0
    published: bool = False
