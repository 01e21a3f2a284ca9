"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress_bar(things: Iterable[T], total: int, what: str) -> tqdm[T]:
    """Iterate with a bar on stderr; `.set_postfix_str` shows a figure beside it."""
    return tqdm(things, total=total, desc=what, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False)
