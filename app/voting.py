"""The model that a command line names, and what votes in place of its own: the file that --bank or --head names."""

from __future__ import annotations

import argparse
from typing import Any, TypedDict

from .runtime.scorer import Scorer
from .runtime.scorer import open as open_scorer


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


def opened(options: argparse.Namespace, **more: Any) -> Scorer:
    """The model of --model, --device, --precision, --threads and of what votes. more: other arguments of `pscr.open`.

    Raises:
        PscrError: see there.
    """
    return open_scorer(
        options.model, options.device, options.threads, precision=options.precision, **votes(options), **more
    )
