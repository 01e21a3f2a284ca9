"""What training steps are given: batches drawn in order, and fetched ahead of their step where a GPU computes.

While a GPU works on one step the CPU would wait for it, and then the GPU for the CPU to decode and cut the next images.
So there the next steps' images are fetched by a thread meanwhile, into pinned memory, from which they are copied while
other work goes on. They are drawn in this thread and in the same order as ever; each step brings the state of the
generator behind its own drawing, for a checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.ordered import results
from .config import Config
from .mixture import Mixture
from .model import PSCR
from .patches import Choice, Indices, PatchSource
from .processes import Processes

S = TypeVar("S")
T = TypeVar("T")
AHEAD = 2  # steps


@dataclass(frozen=True)
class Batch:
    """Images that are compared with each other, on the host.

    shape: images and patches of each that this process computes. fetched: what `PatchSource.fetch` gave of those.
    opinion: [B] of all. pairs: which of all may be compared, see `Mixture.pairs`; None where each with each.
    """

    shape: tuple[int, int]
    fetched: Tensor
    opinion: Tensor
    pairs: tuple[Tensor, Tensor] | None


class Step(NamedTuple):
    """The batches of one step, and the state of the generator that drew them when it had."""

    batches: list[Batch]
    state: dict[str, Any]


class _Drawn(NamedTuple):
    batches: list[tuple[Indices, Choice]]
    state: dict[str, Any]


class Batches:
    """Draws and fetches the batches of a run's steps."""

    def __init__(
        self, config: Config, mixture: Mixture, source: PatchSource, model: PSCR, processes: Processes
    ) -> None:
        self.config, self.mixture, self.source, self.model, self.processes = config, mixture, source, model, processes
        self.opinion = torch.tensor(mixture.opinion, dtype=torch.float32)
        self.ahead = processes.device.type == "cuda"

    @property
    def mixed(self) -> bool:
        """Whether there are copies or other databases, so that not every pair of a batch may be compared."""
        return bool(self.config.copies or self.config.also)

    def steps(self, order: NDArray[np.int64], rng: np.random.Generator) -> Generator[Step, None, None]:
        """The steps of images [steps, accumulate, batch] by their indices, in order; to be closed.

        Errors as of reading an image.
        """
        return fetched(self._fetch, (self._draw(images, rng) for images in order), self.ahead)

    def _draw(self, batches: NDArray[np.int64], rng: np.random.Generator) -> _Drawn:
        drawn = []
        for images in batches:
            if self.config.pairs == "partner":
                images = np.concatenate([images, self._partners(images, rng)])
            if self.mixed:
                images = self.mixture.with_copies(images, rng)
            drawn.append((images, self.source.draw(rng, images, self.config.patches)))
        return _Drawn(drawn, dict(rng.bit_generator.state))

    def _partners(self, images: Indices, rng: np.random.Generator) -> Indices:
        """For each image another one of the training set, drawn at random."""
        train = self.mixture.train
        places = np.searchsorted(train, images)
        partners: Indices = train[(places + rng.integers(1, len(train), len(images))) % len(train)]
        return partners

    def _fetch(self, drawn: _Drawn) -> Step:
        batches = []
        for images, choices in drawn.batches:
            own = self.processes.shard(len(images))
            patches = self.source.fetch(self.model, images[own], choices[own])
            pairs = None
            if self.mixed:
                between, copies = (self._pinned(torch.from_numpy(some)) for some in self.mixture.pairs(images))
                pairs = between, copies
            opinion = self._pinned(self.opinion[images])
            batches.append(Batch(choices[own].shape[:2], self._pinned(patches), opinion, pairs))
        return Step(batches, drawn.state)

    def _pinned(self, values: Tensor) -> Tensor:
        return values.pin_memory() if self.processes.device.type == "cuda" else values


def fetched(work: Callable[[S], T], items: Iterable[S], ahead: bool) -> Generator[T, None, None]:
    """What `work` gives of each item, in order; ahead: in a thread, some items before they are asked for."""
    yield from results(work, items, ahead=AHEAD) if ahead else map(work, items)
