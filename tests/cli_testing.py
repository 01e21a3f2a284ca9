"""What the command line's tests share: how to run it, and how to make a real image."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np


@dataclass(frozen=True)
class Outcome:
    """What a run in this process gave."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, f"expected one line on stderr, found {lines}"
        return lines[0]


Cli = Callable[..., Outcome]
Process = Callable[..., "CompletedProcess[bytes]"]


def command(*words: object) -> list[bytes]:
    """`python -m pscr WORDS...`; the words may be bytes."""
    parts = (word if isinstance(word, bytes) else os.fsencode(str(word)) for word in words)
    return [os.fsencode(sys.executable), b"-m", b"pscr", *parts]


def write_image(path: Path, seed: int = 0, side: int = 96) -> Path:
    """A smooth random picture, in the format that the name ends in."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    done, encoded = cv2.imencode(path.suffix, cv2.resize(coarse, (side, side)))
    assert done
    path.write_bytes(encoded.tobytes())
    return path
