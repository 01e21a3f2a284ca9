"""What a run learns from: the images of one or more databases, and altered copies of them.

Scores are standardised within each database, so that the loss, the clipped gradient and every other setting mean the
same on any scale of labels. Differences are only ever predicted between images of one database, or between an image
and its own copy: how two databases' scores compare is not known, and not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import PscrError, Status
from . import splits
from .config import Config
from .copies import Copy
from .databases import Database, Item

Indices = NDArray[np.int64]
_LOW = 0.02  # quantile of the scores that damage without end leads to


@dataclass(frozen=True)
class Labels:
    """The scale of a database's scores: standardised = (score - mean) / deviation."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, database: Database) -> Labels:
        """Mean and deviation of all scores of a database.

        Raises:
            PscrError: INVALID_ARGUMENT where they are all the same.
        """
        scores = np.array([item.score for item in database.items], np.float64)
        if not scores.std() > 0:
            found = f"{database.name}: all {len(scores)} scores are {scores[0]:g}"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected images of different quality")
        return cls(float(scores.mean()), float(scores.std()))

    def standardised(self, scores: Sequence[float]) -> NDArray[np.float64]:
        """Scores [N] without their unit."""
        found: NDArray[np.float64] = (np.asarray(scores, np.float64) - self.mean) / self.deviation
        return found


@dataclass(frozen=True)
class Mixture:
    """Everything that a run may look at, first the images of its own database in their order.

    sources: images and copies. opinion: [n] their standardised scores. database: [n] which database each is of, 0 the
    run's own. parent: [n] the image that each is a copy of; its own index where it is none. train: the images of all
    databases that train. copies: [images, c], the copies of each image.
    """

    sources: list[Item | Copy]
    opinion: NDArray[np.float64]
    database: Indices
    parent: Indices
    train: Indices
    copies: Indices

    @classmethod
    def of(cls, config: Config, databases: Sequence[Database], trained: Sequence[Sequence[int]]) -> Mixture:
        """databases: the run's own and further ones. trained: indices of the images of each that train.

        Raises:
            PscrError: INVALID_ARGUMENT for a negative number of copies or weight, and as `Labels.of`.
        """
        if config.copies < 0 or config.copy_weight < 0:
            found = f"{config.copies} copies of weight {config.copy_weight:g}"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; expected 0 or more of each")
        sources: list[Item | Copy] = []
        opinion, which, train = [], [], []
        for number, (database, chosen) in enumerate(zip(databases, trained, strict=True)):
            train += [len(sources) + index for index in chosen]
            opinion += Labels.of(database).standardised([item.score for item in database.items]).tolist()
            which += [number] * len(database.items)
            sources += database.items
        images = len(sources)
        parent = list(range(images))
        copies = np.zeros((images, config.copies), np.int64)
        scores = np.array(opinion)
        lowest = [float(np.quantile(scores[np.array(which) == number], _LOW)) for number in range(len(databases))]
        for index in range(images):  # of those too that do not train, so that runs of any split share their cache
            for number in range(config.copies):
                item = sources[index]
                assert isinstance(item, Item)
                copy = Copy(item, number, config.seed * 1_000_003 + index)
                copies[index, number] = len(sources)
                sources.append(copy)
                parent.append(index)
                which.append(which[index])
                low = min(lowest[which[index]], opinion[index])
                opinion.append(opinion[index] - (opinion[index] - low) * (1 - copy.kept))
        return cls(
            sources,
            np.array(opinion),
            np.array(which, np.int64),
            np.array(parent, np.int64),
            np.array(train, np.int64),
            copies,
        )

    def with_copies(self, images: Indices, rng: np.random.Generator) -> Indices:
        """A batch of images [B], and behind it one copy each of half of them; the batch alone where there are none."""
        if not self.copies.shape[1]:
            return images
        chosen = images[rng.permutation(len(images))[: (len(images) + 1) // 2]]
        drawn = self.copies[chosen, rng.integers(0, self.copies.shape[1], len(chosen))]
        return np.concatenate([images, drawn])

    def pairs(self, batch: Indices) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which ordered pairs of a batch [B] may be compared: [B,B] of two images, and [B,B] with a copy among them."""
        parent, which = self.parent[batch], self.database[batch]
        copied = parent != batch
        either = copied[:, None] | copied[None]
        other = ~np.eye(len(batch), dtype=bool)
        images = ~either & (which[:, None] == which[None]) & other
        return images, either & (parent[:, None] == parent[None]) & other


def divide(config: Config, database: Database) -> dict[str, list[int]]:
    """The parts of the split by name, as indices of the database's images: read from a file, or drawn.

    Raises:
        PscrError: as `splits.read` and `splits.draw`; INVALID_ARGUMENT for a file without the parts that are needed.
    """
    judged = config.selection_part
    if config.split:
        parts = splits.read(Path(config.split), database.items)
        if not parts.get("train") or (judged == "test" and not parts.get("test")):
            needed = "train" if judged == "val" else "train and test"
            found = f"{config.split}: has {', '.join(parts) or 'no parts'}; expected {needed}, not empty"
            raise PscrError(Status.INVALID_ARGUMENT, found)
        return {part: parts.get(part, []) for part in ("train", "val", "test") if part in parts or part == judged}
    return drawn(config, database)


def drawn(config: Config, database: Database) -> dict[str, list[int]]:
    """The parts of a split that is drawn, as `divide` gives them. Raises as `splits.draw`."""
    if config.protocol == "published":
        train, test = splits.published(database.items, config.seed)
        return {"train": train, "test": test}
    train, val, test = splits.draw(database.items, config.split_by, (config.val, config.test), config.seed)
    return {"train": train, "val": val, **({"test": test} if config.test else {})}
