"""Scores of a network in training: features of whole images, and votes of exemplars as the runtime will count them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .config import Config
from .metrics import agreement
from .model import PSCR
from .patches import PatchSource, every_patch
from .processes import Processes
from .regressor import Regressor

Indices = NDArray[np.int64]
Scores = NDArray[np.float32]
FIGURES = ("srcc", "krcc", "plcc", "rmse")
_TOGETHER = 8  # images in one pass


class Judge:
    """Scores images of a database with a network, against exemplars drawn from the training images."""

    def __init__(
        self, config: Config, source: PatchSource, opinion: Tensor, train: Indices, processes: Processes
    ) -> None:
        """opinion: of every image of the database, [images]. train: indices of the training images."""
        self.config, self.source, self.opinion, self.train = config, source, opinion, train
        self.processes = processes

    def features(self, model: PSCR, images: Indices, mirrored: bool = False) -> Tensor:
        """Features over all patches of each image, [n, C], without gradients; processes share the work."""
        count = model.sampling.count
        found = torch.zeros(len(images), model.width, device=model.mean.device)
        mine = range(self.processes.rank * _TOGETHER, len(images), self.processes.count * _TOGETHER)
        with torch.no_grad():
            for start in mine:
                some = images[start : start + _TOGETHER]
                choices = every_patch(len(some), count, mirrored)
                found[start : start + len(some)] = self.source.pooled(model, some, choices)
        return self.processes.sum(found)

    def scores(self, model: PSCR, images: Indices, epoch: int = 0) -> Scores:
        """Scores [n] of images by their indices.

        The exemplars are a fixed draw of training images; in the published protocol another draw for every image,
        and other ones in every epoch; none where the score is regressed directly.
        """
        queries, config = self.features(model, images), self.config
        if model.direct:
            return predict(model.regressor, queries, queries[:1], self.opinion[self.train].mean()[None])
        if config.protocol != "published":
            exemplars = np.random.default_rng(config.seed).permutation(self.train)[: config.exemplars]
            return predict(model.regressor, queries, self.features(model, exemplars), self.opinion[exemplars])
        rng = np.random.default_rng([config.seed, epoch])
        drawn = np.stack([rng.permutation(self.train)[: config.exemplars] for _ in images])
        known, places = np.unique(drawn, return_inverse=True)
        features, opinion = self.features(model, known), self.opinion[known]
        votes = [
            predict(model.regressor, query[None], features[chosen], opinion[chosen])
            for query, chosen in zip(queries, places.reshape(drawn.shape), strict=True)
        ]
        return np.concatenate(votes)

    def figures(self, scores: Scores, images: Indices) -> dict[str, float]:
        """SRCC, KRCC, PLCC and RMSE of scores [n] against the opinions of the images."""
        return agreement(scores, self.opinion[images].cpu())


def predict(regressor: Regressor, queries: Tensor, exemplars: Tensor, exemplar_scores: Tensor) -> Scores:
    """Scores [N] of query features [N,C] against exemplar features [K,C] with opinion scores [K]."""
    with torch.no_grad():
        terms = regressor.terms(exemplars)
        parts = [
            (regressor.differences(regressor.query_part(some), terms) + exemplar_scores).mean(1)
            for some in queries.split(64)
        ]
    scores: Scores = torch.cat(parts).cpu().numpy()
    return scores


def merit(row: dict[str, float], part: str) -> float:
    """What selects an epoch: SRCC + PLCC of the judged part; minus infinity where the row has none."""
    found = row.get(f"{part}_srcc", math.nan) + row.get(f"{part}_plcc", math.nan)
    return found if math.isfinite(found) else -math.inf


def best(rows: Sequence[dict[str, float]], part: str) -> dict[str, float]:
    """The row of the highest merit; the last of equals, and the last row where none was judged."""
    return max(reversed(rows), key=lambda row: merit(row, part))
