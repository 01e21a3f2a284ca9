"""The unlabelled images of a run: which there are, and their pixels; one that cannot be read is passed over."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from ...runtime.errors import OF_AN_IMAGE, PscrError, Status
from ...runtime.image import load
from ...runtime.samplings import Pixels

Say = Callable[[str], None]


class Images:
    """Image files in a fixed order.

    `pixels` may be called by several threads. say: is told of each image that cannot be read, once.
    """

    def __init__(self, files: Sequence[Path], say: Say = lambda line: None) -> None:
        self.files = list(files)
        self.damaged: set[int] = set()
        self._say = say
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.files)

    @cached_property
    def digest(self) -> str:
        """What tells this list of images from another: a hash of the files' names and sizes, wherever they lie."""
        root = Path(os.path.commonpath([file.parent.absolute() for file in self.files]))
        found = hashlib.sha256()
        for file in self.files:
            name = file.absolute().relative_to(root).as_posix()
            found.update(f"{name}\0{file.stat().st_size}\n".encode("utf-8", "surrogateescape"))
        return found.hexdigest()

    def pixels(self, index: int) -> Pixels:
        """An image, [H,W,3] uint8 RGB, or where it cannot be read the next one in order that can.

        Raises:
            PscrError: DECODE_FAILED where none can.
        """
        for step in range(len(self.files)):
            place = (index + step) % len(self.files)
            try:
                return load(self.files[place])
            except PscrError as error:
                if error.status not in OF_AN_IMAGE:
                    raise
                with self._lock:
                    new = place not in self.damaged
                    self.damaged.add(place)
                if new:
                    self._say(f"left out: {error}")
        raise PscrError(Status.DECODE_FAILED, f"none of the {len(self.files)} images can be read")
