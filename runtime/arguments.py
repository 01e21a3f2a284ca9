"""What callers may pass, where several calls take the same thing."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from .errors import PscrError, Status
from .image import Source

_CHANNELS = (1, 3, 4)


def whole(value: object, least: int = 1, most: int | None = None) -> int | None:
    """The whole number from `least` to `most` that a value is, whatever its type (int, NumPy's ...); else None."""
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None
    return number if number is not None and number >= least and (most is None or number <= most) else None


def several(sources: object) -> Iterator[Source]:
    """Images one by one, in order, from what iterates over them: a list, a column of a table, an array [N,H,W,C].

    Raises:
        PscrError: INVALID_ARGUMENT for one image, whose rows or letters are none, and for a whole table.
    """
    if hasattr(sources, "columns") or hasattr(sources, "column_names"):  # iterating gives names, or whole rows
        found = f"sources is a table ({type(sources).__name__}); expected one column of it"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}, such as table['path']")
    if not isinstance(sources, Iterable) or _is_one(sources):
        found = f"sources is one {type(sources).__name__}; expected several; pass a list, or use score"
        raise PscrError(Status.INVALID_ARGUMENT, found)
    return map(plain, sources)


def plain(source: Any) -> Source:
    """What a value of a pyarrow column holds; anything else, and what Python cannot hold, as it is."""
    try:
        return source.as_py() if hasattr(source, "as_py") else source
    except (ValueError, NotImplementedError):  # text that is not UTF-8: one image's fault, told where it is loaded
        return source


def _is_one(sources: Iterable[object]) -> bool:
    if isinstance(sources, np.ndarray):
        return sources.ndim in (0, 2) or (sources.ndim == 3 and sources.shape[2] in _CHANNELS)
    return isinstance(sources, (str, bytes, bytearray, memoryview, os.PathLike, Mapping))
