"""`pscr compare`: its command line. What compares is imported after it was read."""

from __future__ import annotations

import argparse

from ..tables.formats import READABLE
from . import options as shared

DESCRIPTION = """\
Whether one set of images is better than another, by how much, and how sure that is. Each set is what pscr score has
written, or a folder or a quoted pattern of images, which are scored first.
"""
EPILOG = """\
examples:
  pscr compare before.csv after.csv                          two sets of images of the same kind
  pscr compare before/ after/ --pair-by path-stem            files that are called alike, whatever their ending
  pscr compare before.csv after.csv --pair-by prompt --columns prompts.csv
  pscr compare main.csv branch.csv --fail-if-worse --margin 0.05

The model gives the direction of the scale, and scores the first images of results again, where they are there still:
results of other models are refused. Intervals hold with 95 %, those of --by each by itself.
exit codes: 1 where --fail-if-worse finds AFTER worse, all images together; else as of every verb.
"""


def add(verbs: shared.Verbs) -> None:
    compare = shared.add_verb(
        verbs,
        "compare",
        "say whether one set of images is better than another",
        run,
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    for name in ("before", "after"):
        compare.add_argument(name, metavar=name.upper(), help=f"results of pscr score ({READABLE}), or images")
    compare.add_argument(
        "--pair-by", metavar="COLUMN", help="compare images with equal cells, such as prompt, or of equal path-stem"
    )
    compare.add_argument("--by", metavar="COLUMN", help="and a line for each value of a column")
    compare.add_argument("--columns", metavar="CSV", help="where columns are that the results lack")
    compare.add_argument(
        "--path-column", default="path", metavar="NAME", help="of --columns: images (default: %(default)s)"
    )
    compare.add_argument("--fail-if-worse", action="store_true", help="exit with 1 where AFTER is worse")
    compare.add_argument(
        "--margin", type=_margin, default=0.0, metavar="X", help="worse or better by more than X only (default: 0)"
    )
    compare.add_argument("--no-check", action="store_true", help="do not score images of results again")
    shared.json(compare)
    shared.model(compare)
    shared.device(compare)
    shared.bank(compare)
    shared.threads(compare)
    shared.max_pixels(compare)
    shared.quiet(compare, "the comparison and errors only")


def run(options: argparse.Namespace) -> int:
    """Compare; returns 1 where --fail-if-worse finds AFTER worse. Errors: as `compare_engine.run`."""
    from ..report import compare_engine  # not before: --help needs none of it

    return compare_engine.run(options)


def _margin(text: str) -> float:
    """A finite number from 0."""
    number = shared.number(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 0")
    return number
