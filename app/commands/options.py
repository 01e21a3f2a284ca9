"""What the parsers of several verbs share: options, types of their values, and how a verb is added."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from ..console import UsageError
from ..runtime.devices import EXPECTED
from ..runtime.image import DEFAULT_MAX_PIXELS
from ..runtime.open_model import DEFAULT_MODEL, PRECISIONS

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"
Run: TypeAlias = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as every other error of this program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


def add_verb(verbs: Verbs, name: str, summary: str, run: Run | None = None, **more: Any) -> Parser:
    """Add a verb that `run` runs, or, without one, what holds further verbs or is only listed.

    summary: the verb's line in `pscr --help`, and its description where `more`, which the parser gets, has none.
    """
    usual = {"description": f"{summary[0].upper()}{summary[1:]}.", "allow_abbrev": False}
    added: Parser = verbs.add_parser(
        name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter, **{**usual, **more}
    )
    if run is not None:
        debug(added)
        added.set_defaults(run=run, parser=added)
    return added


# --- options ----------------------------------------------------------------------------------------------------------


def model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or its folder (default: %(default)s)")


def model_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model's name ('pscr models' lists them) or its folder")


def device(parser: argparse.ArgumentParser, *, precision: bool = True) -> None:
    """precision: whether the verb opens the model by `voting.opened`, so that --precision is there too."""
    parser.add_argument(
        "--device",
        default="auto",
        help=f"{EXPECTED}; only auto chooses for itself (default: %(default)s)",
    )
    if precision:
        parser.add_argument(
            "--precision",
            choices=PRECISIONS,
            default="exact",
            help="what auto may choose on a CPU: exact, fp32 only; or fast, also what rounds, where scores differ by "
            "2 %% of the range at most (default: %(default)s)",
        )


def threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: all cores)")


def batch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="images per run of the network (default: by device)"
    )


def bank(parser: argparse.ArgumentParser) -> None:
    """What votes in place of the model's own: exemplars, or regressors."""
    votes = parser.add_mutually_exclusive_group()
    votes.add_argument("--bank", metavar="BANK.npz", help="exemplars in place of the model's own (pscr bank build)")
    votes.add_argument("--head", metavar="HEAD.npz", help="regressors in place of what votes (pscr regress)")


def diagnose(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--diagnose", action="store_true", help=what)


def max_pixels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        default=DEFAULT_MAX_PIXELS,
        help="refuse larger images undecoded (default: %(default)s)",
    )


def json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="write one JSON object")


def quiet(parser: argparse.ArgumentParser, left: str) -> None:
    """left: what is written still."""
    parser.add_argument("-q", "--quiet", action="store_true", help=left)


def debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


# --- types of values --------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """A whole number from 1."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 1")
    return number


def natural(text: str) -> int:
    """A whole number from 0."""
    return 0 if text == "0" else positive(text)


def number(text: str) -> float:
    """A finite number."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number")
    return found
