"""The options of `pscr score` that hold back images whose score is not good enough."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..console import UsageError
from ..runtime.output_file import STDOUT
from ..runtime.video_file import ENDINGS
from ..tables.gate import Gate
from ..tables.inputs import EXTENSIONS
from . import options as shared


def add(score: argparse.ArgumentParser) -> None:
    """Add the options to the parser of `pscr score`."""
    group = score.add_argument_group("images that are not good enough, once all rows are written")
    limits = group.add_mutually_exclusive_group()
    limits.add_argument("--min-score", metavar="X", type=shared.number, help="they score below X")
    limits.add_argument("--max-score", metavar="X", type=shared.number, help="above X, where lower scores are better")
    aims = group.add_mutually_exclusive_group()
    aims.add_argument("--move-to", metavar="DIR", type=Path, help="move them to DIR, over nothing that is there")
    aims.add_argument(
        "--delete-list",
        metavar="FILE",
        help="write their paths to FILE, a line each, with -0 ended by NUL; delete none",
    )


def gate(options: argparse.Namespace) -> Gate | None:
    """What holds images back; None where nothing is asked for.

    Raises:
        UsageError: options that do not go together.
    """
    limit = options.min_score if options.max_score is None else options.max_score
    aimed = options.move_to is not None or options.delete_list is not None
    if limit is None and not aimed:
        return None
    if limit is None:
        raise UsageError(
            "--move-to and --delete-list are of images below --min-score X, or above --max-score X; add one"
        )
    if not aimed:
        raise UsageError("--min-score and --max-score go with --move-to DIR or --delete-list FILE; add one of these")
    if options.engine != "local" or options.resume:
        other = "--resume" if options.resume else f"--engine {options.engine}"
        raise UsageError(f"--move-to and --delete-list are of the images of one local run; leave them or {other} out")
    if options.per_frame:
        raise UsageError("--move-to and --delete-list are of whole files, and --per-frame scores parts; leave one out")
    if options.delete_list == STDOUT and options.output in (None, STDOUT):
        raise UsageError("--delete-list - would mix paths with the rows on standard output; add -o FILE")
    if options.delete_list is not None and Path(options.delete_list).suffix.lower() in EXTENSIONS | ENDINGS:
        raise UsageError(f"--delete-list {options.delete_list} would write paths over an image; expected another name")
    return Gate(limit, options.max_score is None, options.move_to, options.delete_list, options.null)
