"""What `pscr bank build` and `pscr regress` share: a csv of labelled images, what its labels mean, an .npz to write."""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from .console import UsageError
from .runtime import output_file
from .runtime.labelled_images import Labelled
from .runtime.score_scale import ScoreScale


class Writable(Protocol):
    """A Bank or a Regressor."""

    def write(self, path: IO[bytes]) -> None: ...


def add(parser: argparse.ArgumentParser, output: str) -> None:
    """Add the options. output: what the file is called in the help."""
    parser.add_argument("labels", metavar="LABELLED.csv", help="a header, then a row for each image")
    parser.add_argument("-o", "--output", metavar=output, required=True)
    parser.add_argument("--path-column", default="path", help="images, relative to the csv file (default: %(default)s)")
    parser.add_argument("--score-column", default="score", help="opinion scores (default: %(default)s)")
    parser.add_argument("--meaning", default="opinion score", help="what people judged (default: %(default)s)")
    parser.add_argument(
        "--range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="of the scale that they judged on (default: the lowest and highest label)",
    )
    parser.add_argument(
        "--lower-is-better", action="store_true", help="a lower label is the better one, as with DMOS or a rank"
    )


def check_output(options: argparse.Namespace) -> Path:
    """Where to write, found out before the work.

    Raises:
        UsageError: it is not called like an .npz.
        PscrError: it cannot be written.
    """
    output = Path(options.output)
    output_file.check(output)
    if output.suffix != ".npz" and (output.is_file() or not output.exists()):  # /dev/null is what it is
        raise UsageError(f"-o {output}: expected a name ending in .npz")
    return output


def read(options: argparse.Namespace, group_column: str = "") -> tuple[list[Labelled], list[str] | None]:
    """The images with their labels, and their groups where a column is named.

    Raises:
        PscrError: the labels cannot be used.
    """
    from .training import databases  # reads label files; needs no torch

    columns = {"path_column": options.path_column, "score_column": options.score_column}
    more = (group_column,) if group_column else ()
    items = databases.load(f"csv:{options.labels}", **columns, more_columns=more).items
    images = [Labelled(item.name, item.path, item.score) for item in items]
    return images, [item.groups[group_column] for item in items] if group_column else None


def scale(options: argparse.Namespace, labels: Sequence[float]) -> ScoreScale:
    """What the labels mean.

    Raises:
        UsageError: a range that is none.
    """
    low, high = options.range or (min(labels, default=0.0), max(labels, default=1.0))
    if options.range and not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"--range {low:g} {high:g}: expected two numbers, the lower one first")
    return ScoreScale(options.meaning, Path(options.labels).stem, (low, high), not options.lower_is_better)


def source(options: argparse.Namespace) -> str:
    """Where the labels are from, in words."""
    return f"{Path(options.labels).name}, column {options.score_column}"


def write(made: Writable, output: Path) -> None:
    """Write it whole.

    Raises:
        OSError: it cannot be written.
    """
    data = io.BytesIO()
    made.write(data)
    output_file.write(output, data.getvalue())
