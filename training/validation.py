"""Scores of a network in training: features of whole images, and votes of exemplars as the runtime will count them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .batches import fetched
from .config import Config
from .metrics import agreement
from .mixture import Labels
from .model import PSCR
from .patches import PatchSource, every_patch
from .processes import Processes
from .regressor import Regressor

Indices = NDArray[np.int64]
Scores = NDArray[np.float32]
FIGURES = ("srcc", "krcc", "plcc", "rmse")
_TOGETHER = 8  # images in one pass


@contextmanager
def exact() -> Iterator[None]:
    """Products of fp32 in fp32: a GPU's convolutions are by default rounded to TF32, the 10 bits of half precision.

    Scores that select a checkpoint should be those that the exported graph gives.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


class Validator:
    """Scores images of a database with a network, against exemplars drawn from the training images."""

    def __init__(
        self,
        config: Config,
        source: PatchSource,
        opinion: Tensor,
        labels: Labels,
        train: Indices,
        processes: Processes,
    ) -> None:
        """opinion: of every image of the database, [images], standardised by `labels`. train: the training images."""
        self.config, self.source, self.opinion, self.train = config, source, opinion, train
        self.labels, self.processes = labels, processes

    def features(self, model: PSCR, images: Indices, mirrored: bool = False) -> Tensor:
        """Features over all patches of each image, [n, C], without gradients; processes share the work."""
        found = torch.zeros(len(images), model.width, device=model.mean.device)
        counts = self.source.counts[images]
        groups: list[Indices] = []  # of images with equally many patches
        for count in np.unique(counts):
            places, together = np.flatnonzero(counts == count), max(1, _TOGETHER * model.sampling.count // int(count))
            groups += [places[start : start + together] for start in range(0, len(places), together)]
        device = self.processes.device

        def fetch(some: Indices) -> Tensor:
            choices = every_patch(len(some), int(counts[some[0]]), mirrored)
            taken = self.source.fetch(model, images[some], choices)
            return taken.pin_memory() if device.type == "cuda" else taken

        own = groups[self.processes.rank :: self.processes.count]
        with torch.no_grad(), exact(), closing(fetched(fetch, own, device.type == "cuda")) as ahead:
            for some, taken in zip(own, ahead, strict=True):
                there = taken.to(device, non_blocking=True)
                found[some] = self.source.features(model, there, len(some), int(counts[some[0]]))
        return self.processes.sum(found)

    def scores(self, model: PSCR, images: Indices, epoch: int = 0) -> Scores:
        """Scores [n] of images by their indices, in the labels' units.

        The exemplars are a fixed draw of training images; in the published protocol another draw for every image,
        and other ones in every epoch; none where the score is regressed directly.
        """
        queries, config = self.features(model, images), self.config
        if model.direct:
            return self._in_units(predict(model.regressor, queries, queries[:1], self.opinion[self.train].mean()[None]))
        if config.protocol != "published":
            exemplars = np.random.default_rng(config.seed).permutation(self.train)[: config.exemplars]
            found = predict(model.regressor, queries, self.features(model, exemplars), self.opinion[exemplars])
            return self._in_units(found)
        rng = np.random.default_rng([config.seed, epoch])
        drawn = np.stack([rng.permutation(self.train)[: config.exemplars] for _ in images])
        known, places = np.unique(drawn, return_inverse=True)
        features, opinion = self.features(model, known), self.opinion[known]
        votes = [
            predict(model.regressor, query[None], features[chosen], opinion[chosen])
            for query, chosen in zip(queries, places.reshape(drawn.shape), strict=True)
        ]
        return self._in_units(np.concatenate(votes))

    def figures(self, scores: Scores, images: Indices) -> dict[str, float]:
        """SRCC, KRCC, PLCC and RMSE of scores [n] against the opinions of the images, both in the labels' units."""
        return agreement(scores, self._in_units(self.opinion[images].cpu().numpy()))

    def _in_units(self, standardised: Scores) -> Scores:
        found: Scores = (self.labels.mean + self.labels.deviation * standardised.astype(np.float64)).astype(np.float32)
        return found


def predict(regressor: Regressor, queries: Tensor, exemplars: Tensor, exemplar_scores: Tensor) -> Scores:
    """Scores [N] of query features [N,C] against exemplar features [K,C] with opinion scores [K]."""
    with torch.no_grad(), exact():
        terms = regressor.terms(exemplars)
        parts = [
            (regressor.differences(regressor.query_part(some), terms) + exemplar_scores).mean(1)
            for some in queries.split(64)
        ]
    scores: Scores = torch.cat(parts).cpu().numpy()
    return scores


def merit(row: dict[str, float], part: str) -> float:
    """What selects an epoch: SRCC + PLCC of that part; minus infinity where the row has none."""
    found = row.get(f"{part}_srcc", math.nan) + row.get(f"{part}_plcc", math.nan)
    return found if math.isfinite(found) else -math.inf


def best(rows: Sequence[dict[str, float]], part: str) -> dict[str, float]:
    """The row of the highest merit; the last of equals, and the last row where none was scored."""
    return max(reversed(rows), key=lambda row: merit(row, part))
