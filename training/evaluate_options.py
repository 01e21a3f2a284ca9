"""The options of `pscr evaluate`, and whether they go together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from ..runtime import output_file
from ..runtime.calibration import BY
from ..runtime.errors import PscrError, Status
from . import databases
from .options import Formatter
from .run_plots import check_plot


class UsageError(Exception):
    """The options do not go together."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as every other error of this program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


def parser() -> argparse.ArgumentParser:
    """The command line of `pscr evaluate`."""
    result = _Parser(
        prog="pscr evaluate",
        description="Score databases with a model and compare with their opinion scores: rank and linear correlations, "
        "raw and after a four-parameter logistic curve, and errors, each with a 95 %% bootstrap interval. The bank's "
        "own exemplars are left out.",
        formatter_class=Formatter,
    )
    add = result.add_argument
    add("model", metavar="MODEL", help="a model's name ('pscr models' lists them) or its folder")
    add(
        "--data",
        required=True,
        action="append",
        metavar="SPEC[@LABEL]",
        help=f"{databases.EXPECTED}; repeatable; avt_ai:DIR@appeal takes another label than --label",
    )
    add("--label", default="quality", help="what the scores judge; see 'pscr train --help'")
    add(
        "--split",
        action="append",
        default=None,
        help="all; a part of a split that pscr train wrote: RUN/split.json:val; or the part that pscr train holds out, "
        "made again: image:0.2:SEED or prompt:0.2:SEED; with several databases once for each --data, in their order",
    )
    add("--bank", metavar="BANK.npz", help="exemplars in place of the model's own (pscr bank build), and their scale")
    more = result.add_argument_group("what is compared")
    more.add_argument("--against", metavar="MODEL2", help="a second model: differences on the same images, paired")
    more.add_argument(
        "--peers", type=Path, metavar="FILE.csv", help="scores of other metrics: path, and a column for each metric"
    )
    more.add_argument(
        "--by", metavar="GROUP", help="generator or prompt; of a csv: file any column: figures by and within groups"
    )
    add(
        "--record",
        action="store_true",
        help="write SRCC and PLCC on each --data into the model's manifest, where 'pscr info' shows them",
    )
    add(
        "--calibrate",
        action="store_true",
        help="measure on these images, which must not have trained the model, what its spread stands for; writes "
        "'calibration' into the model's manifest and reliability.png beside it",
    )
    add(
        "--calibrate-by",
        choices=BY,
        help="whether intervals are as wide as the spread says, or all the same (default: spread, where there is one)",
    )
    add("--csv", type=Path, metavar="FILE", help="write path, opinion, score, spread, model, database, group")
    add("--plot", type=Path, metavar="FILE", help="draw the model's scores against opinions, with the fitted curve")
    add("--resamples", type=int, default=1000, help="resamples of the intervals")
    add("--seed", type=int, default=0, help="decides the resamples")
    add("--device", default="auto", help="auto, cpu or cuda[:N]; only auto chooses for itself")
    add("--threads", type=int, default=None, help="CPU threads (default: every core)")
    columns = result.add_argument_group("columns of a csv: file")
    columns.add_argument("--path-column", default="path", help="image files, relative to the CSV file")
    columns.add_argument("--score-column", default="score", help="opinion scores")
    columns.add_argument("--group-column", default="", help="prompts, for --split prompt:... and --by prompt")
    return result


def check(given: argparse.Namespace) -> None:
    """Refuse what would be refused after an hour of scoring; `split` becomes a list, one for each `data`.

    Raises:
        UsageError: options that do not go together.
        PscrError: INVALID_ARGUMENT: a file that cannot be written or drawn.
        ModuleNotFoundError: matplotlib is not installed, and a plot is asked for.
    """
    count = len(given.data)
    given.split = given.split or ["all"] * count
    if len(given.split) != count:
        found = f"--data is given {count} times and --split {len(given.split)} times"
        raise UsageError(f"{found}; give --split once for each --data, 'all' where every image counts")
    if given.resamples < 1 or given.seed < 0:
        raise UsageError(f"--resamples {given.resamples} --seed {given.seed}; expected 1 or more, and 0 or more")
    if given.calibrate and (count > 1 or given.bank):
        raise UsageError("--calibrate measures the model's own bank on one database; leave out --bank and other --data")
    if given.record and given.bank:
        raise UsageError("--record says what the model reaches with its own bank; leave out --bank")
    if given.calibrate and given.split == ["all"]:
        found = "--calibrate needs images that did not train the model"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; choose them with --split RUN/split.json:val")
    for option, file in (("--csv", given.csv), ("--plot", given.plot)):
        if file:
            output_file.check(file, option)
    if given.plot:
        check_plot(given.plot)
