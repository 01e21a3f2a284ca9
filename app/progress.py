"""A progress line on a terminal: how many, how fast, how long still."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

_EVERY = 0.1


class Progress:
    """The progress line; it draws nothing where `stream` (by default stderr) is not a terminal.

    total: how many there are, or None where a list is still being read.
    """

    def __init__(self, total: int | None, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.total = total
        self.count = 0
        self.on = not quiet and self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._start = time.monotonic()
        self._drawn_at = 0.0
        self._width = 0  # of what stands there; blanks erase it, which every terminal understands

    @property
    def rate(self) -> float:
        """Images per second since the start."""
        return self.count / max(time.monotonic() - self._start, 1e-9)

    def step(self) -> None:
        """One more is done; redrawn ten times a second at most."""
        self.count += 1
        now = time.monotonic()
        if self.on and (now - self._drawn_at >= _EVERY or self.count == self.total):
            self._drawn_at = now
            text = self.line()[: self._room()]
            self.stream.write("\r" + text.ljust(self._width))
            self.stream.flush()
            self._width = len(text)

    def hide(self) -> None:
        """Clear the line, so that something else can be written in its place."""
        if self._width:
            self.stream.write(f"\r{'':{self._width}}\r")
            self.stream.flush()
            self._width = 0
            self._drawn_at = 0.0

    def line(self) -> str:
        """The text of the line, such as `[######----] 60/100  41.2 images/s  0:01 left`."""
        if self.total is None:
            return f"{self.count} done  {self.rate:.1f} images/s"
        done = 20 * self.count // max(self.total, 1)
        left = int((self.total - self.count) / max(self.rate, 1e-9))
        clock = (
            f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
        )
        return f"[{'#' * done:-<20}] {self.count}/{self.total}  {self.rate:.1f} images/s  {clock} left"

    def _room(self) -> int:
        try:
            return (os.get_terminal_size(self.stream.fileno()).columns or 80) - 1  # some terminals say 0
        except OSError:
            return 79
