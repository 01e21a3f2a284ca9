"""What votes in place of a model's own: the file that --bank or --head names."""

from __future__ import annotations

import argparse


def votes(options: argparse.Namespace) -> dict[str, str | None]:
    """The two options as `pscr.open` takes them; at most one is set."""
    return {"bank": options.bank, "head": options.head}


def named(options: argparse.Namespace) -> str | None:
    """The file that was named; None where the model's own votes."""
    found: str | None = options.bank or options.head
    return found
