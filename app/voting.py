"""What votes in place of a model's own: the file that --bank or --head names."""

from __future__ import annotations

import argparse
from typing import TypedDict


class Votes(TypedDict):
    """The two options as `pscr.open` takes them; at most one is set."""

    bank: str | None
    head: str | None


def votes(options: argparse.Namespace) -> Votes:
    """What the command line names."""
    return {"bank": options.bank, "head": options.head}


def named(options: argparse.Namespace) -> str | None:
    """The file that was named; None where the model's own votes."""
    found: str | None = options.bank or options.head
    return found
