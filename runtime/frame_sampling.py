"""Which frames of a clip are taken, and what one is."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple

from .arguments import whole
from .errors import PscrError, Status
from .samplings import Pixels

FRAMES = 16  # sampled where the caller says nothing


@dataclass(frozen=True)
class FrameSampling:
    """Which frames are taken. frames: the centres of so many equal parts; every: one each so many seconds instead.

    Raises:
        PscrError: INVALID_ARGUMENT for frames below 1, and for seconds that are not above 0.
    """

    frames: int = FRAMES
    every: float | None = None

    def __post_init__(self) -> None:
        if whole(self.frames) is None:
            found = f"frames is {self.frames!r}; expected a whole number of 1 or more"
            raise PscrError(Status.INVALID_ARGUMENT, found)
        if self.every is not None and not _is_time(self.every):
            raise PscrError(Status.INVALID_ARGUMENT, f"every is {self.every!r}; expected seconds above 0")

    def places(self, count: int, rate: float) -> Generator[int, None, None]:
        """The numbers of the frames to take, ascending, of `count` frames at `rate` a second."""
        if self.every is None:
            taken = min(self.frames, count)
            yield from ((2 * part + 1) * count // (2 * taken) for part in range(taken))
            return
        step, place, number = max(self.every * rate, 1.0), 0, 0
        while place < count:
            yield place
            number += 1
            place = math.ceil(number * step - 1e-6)


def _is_time(value: object) -> bool:
    """Whether a value is a finite number above 0."""
    try:
        return math.isfinite(value) and value > 0  # type: ignore[arg-type,operator]
    except (TypeError, OverflowError):
        return False


class Frame(NamedTuple):
    """One frame of a clip. time: seconds from the start; pixels: [H,W,3] uint8, RGB."""

    time: float
    pixels: Pixels
