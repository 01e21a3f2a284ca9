"""The options of `pscr score` that are of tables, and of what stands beside the results."""

from __future__ import annotations

import argparse

from ..console import UsageError
from ..runtime.score_scale import ScoreScale
from ..tables.fields import Columns
from ..tables.generation import NAMES
from ..tables.groups import Groups
from ..tables.table_inputs import Wanted

_OWN = ("image_column", "columns", "metadata", "group_by")


def add(score: argparse.ArgumentParser) -> None:
    """Add the options to the parser of `pscr score`."""
    group = score.add_argument_group("tables (.parquet, .arrow and folders of them need pscr[tables])")
    group.add_argument(
        "--image-column", metavar="NAME", help="the table's column of images or of their paths (default: the only one)"
    )
    group.add_argument(
        "--columns",
        metavar="NAMES",
        type=_names,
        help="columns to stand beside the results, with commas (default: all of a table without bytes)",
    )
    group.add_argument(
        "--metadata",
        action="store_true",
        help=f"columns {', '.join(NAMES)}, as ComfyUI and AUTOMATIC1111 write them into PNG files",
    )
    group.add_argument(
        "--group-by", metavar="NAME", help="number, mean and range of the scores for each value of a column, at the end"
    )


def check(options: argparse.Namespace) -> None:
    """Refuse what another engine does not know.

    Raises:
        UsageError: such an option.
    """
    given = next((name for name in _OWN if getattr(options, name)), None)
    if options.engine != "local" and given:
        raise UsageError(f"--{given.replace('_', '-')} goes with --engine local; leave one of the two out")
    if options.group_by and options.resume:
        raise UsageError("--group-by sums up one run, and --resume adds to another; leave one of the two out")
    if options.group_by and options.quiet:
        raise UsageError("--group-by writes a summary, and --quiet leaves it out; leave one of the two out")


def wanted(options: argparse.Namespace) -> Wanted:
    """What the options ask of the inputs."""
    return Wanted(options.image_column, options.columns, options.metadata)


def groups(options: argparse.Namespace, columns: Columns, scale: ScoreScale) -> Groups | None:
    """What sums up by the column that was named; None where none was.

    Raises:
        UsageError: the output has no such column.
    """
    if not options.group_by:
        return None
    if options.group_by not in columns.names:
        found = f"--group-by {options.group_by}: there is no such column; the output has {', '.join(columns.names)}"
        raise UsageError(f"{found}; --metadata and --columns add some")
    return Groups(options.group_by, scale.sign)


def _names(text: str) -> tuple[str, ...]:
    """Names with commas, each once; none for an empty text."""
    return tuple(dict.fromkeys(name for name in text.split(",") if name))
