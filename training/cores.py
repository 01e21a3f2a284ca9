"""How many CPU threads a command uses that was not told."""

from __future__ import annotations

import os


def available() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
