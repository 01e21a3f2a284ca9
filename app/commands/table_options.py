"""The options of `pscr score` that are of tables, and of what stands beside the results."""

from __future__ import annotations

import argparse

from ..console import UsageError

_OWN = ("image_column", "columns")


def add(score: argparse.ArgumentParser) -> None:
    """Add the options to the parser of `pscr score`."""
    group = score.add_argument_group("tables (.parquet, .arrow and folders of them need pscr[tables])")
    group.add_argument("--image-column", metavar="NAME", help="the table's column of images or paths (default: the only one)")
    group.add_argument(
        "--columns",
        metavar="NAMES",
        type=_names,
        help="columns to stand beside the results, with commas (default: all of a table without bytes)",
    )


def check(options: argparse.Namespace) -> None:
    """Refuse what another engine does not know.

    Raises:
        UsageError: such an option.
    """
    given = next((name for name in _OWN if getattr(options, name)), None)
    if options.engine != "local" and given:
        raise UsageError(f"--{given.replace('_', '-')} goes with --engine local; leave one of the two out")


def _names(text: str) -> tuple[str, ...]:
    """Names with commas, each once; none for an empty text."""
    return tuple(dict.fromkeys(name for name in text.split(",") if name))
