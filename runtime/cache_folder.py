"""Where files are kept that can be made or fetched again: $PSCR_CACHE, else ~/.cache/pscr."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(*parts: str) -> Path:
    """The folder, or one below it; it need not be there.

    Raises:
        RuntimeError: PSCR_CACHE is not set, and there is no home folder.
    """
    return Path(os.environ.get("PSCR_CACHE") or Path.home() / ".cache" / "pscr", *parts)
