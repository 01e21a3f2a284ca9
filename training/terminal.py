"""Words from files on a terminal: a name must not be able to steer it."""

from __future__ import annotations

import sys
from typing import TextIO


def visible(text: object) -> str:
    """The text on one line, with an escape in place of everything that does not print, bytes that are no UTF-8 too."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def say(text: str, stream: TextIO | None = None) -> None:
    """Write lines to standard output, or another stream, with escapes for what its encoding lacks or does not print."""
    stream = stream or sys.stdout
    encoding = stream.encoding or "utf-8"
    text = "\n".join(map(visible, text.split("\n")))
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
