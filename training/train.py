"""`pscr train`: train a model on a database and leave a run folder.

Several GPUs or machines: `accelerate launch -m pscr.training.train ...`.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import OUTSIDE, PscrError, one_line
from . import options
from .backbones import NAMES
from .config import SELF_SUPERVISED, Config
from .contrastive.config import ContrastiveConfig, Output
from .interrupts import Stopped
from .memory import keep_freed
from .options import option
from .recipes import RECIPES, defaults

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a full disk, or a limit that stands for one


@dataclass(frozen=True)
class Run:
    """Where a run lies and how often it is done; what it trains is a `Config`.

    output: the run folder. repeats: so many runs, with seeds from the configuration's on, in output/seed-K.
    recipe: a set of defaults. cache: where frozen layers are cached, None for the run folder.
    """

    output: Path = option(short="-o", metavar="RUN", help="the run folder")
    repeats: int = option(1, metavar="N", help="run N times, with seeds from --seed on, in RUN/seed-K")
    recipe: str = option(
        "ours",
        choices=tuple(RECIPES),
        help="defaults of the options below: ours; published, as PSCR was trained; dense, as the default model was",
    )
    cache: Path | None = option(None, metavar="DIR", help="where frozen layers are cached (default: RUN/cache)")


def parse(words: Sequence[str] | None) -> tuple[Run, Config]:
    """Read a command line. The recipe, method, sampling, protocol and backbone decide the other options' defaults."""
    known = {**options.defaults(Run), **options.defaults(Config), "sampling": ""}
    found = _read(words, {name: known[name] for name in ("recipe", "method", "sampling", "protocol", "backbone")})
    command = options.parser(
        "pscr train",
        "Train a PSCR model. Running the same command again goes on from where the run was stopped.",
        Run,
        Config,
    )
    if found["recipe"] in RECIPES and found["backbone"] in NAMES:
        command.set_defaults(**defaults(**found))
    arguments = command.parse_args(words)
    return options.given(Run, arguments), options.given(Config, arguments)


def parse_contrastive(words: Sequence[str] | None) -> tuple[Output, ContrastiveConfig]:
    """Read a command line of a self-supervised method."""
    command = options.parser(
        "pscr train",
        "Train an encoder on unlabelled images, without opinion scores. Running the same command again goes on from "
        "where the run was stopped.",
        Output,
        ContrastiveConfig,
    )
    arguments = command.parse_args(words)
    return options.given(Output, arguments), options.given(ContrastiveConfig, arguments)


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr train`. Returns 0; the exit code of an error's status; 3 for a full disk; 130 after Ctrl-C."""
    if _read(words, {"method": ""})["method"] in SELF_SUPERVISED:
        place, contrastive = parse_contrastive(words)
        return _run(lambda: _train_contrastive(place, contrastive), "checkpoint")
    run, config = parse(words)
    return _run(lambda: _train(run, config), "finished epoch")


def _train(run: Run, config: Config) -> None:
    from .runs import train  # torch

    train(config, run.output, repeats=run.repeats, cache=run.cache, say=say)


def _train_contrastive(place: Output, config: ContrastiveConfig) -> None:
    from .contrastive.trainer import train  # torch

    train(config, place.output, say)


def _read(words: Sequence[str] | None, known: dict[str, str]) -> dict[str, str]:
    """The values of the options that decide others' defaults, as far as they are given. known: their own defaults."""
    deciding = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name, default in known.items():
        deciding.add_argument(f"--{name}", default=default)
    return vars(deciding.parse_known_args(words)[0])


def _run(work: Callable[[], None], kept: str) -> int:
    """Train, and say what went wrong. kept: what a run goes on from that could not save; returns the exit code."""
    keep_freed()
    try:
        work()
        return 0
    except PscrError as error:
        say(f"pscr train: error: {error}")
        return OUTSIDE[error.status].exit_code
    except Stopped:
        say("pscr train: stopped and saved; the same command goes on from here")
        return 130
    except KeyboardInterrupt:
        say(f"pscr train: stopped; the same command goes on from the last {kept}")
        return 130
    except OSError as error:
        say(
            f"pscr train: error: cannot write {error.filename or 'the run'} ({error.strerror or one_line(error)}); "
            f"what was saved before is whole: {'make room' if error.errno in FULL else 'mend that'}, and the same "
            f"command goes on from the last {kept}"
        )
        return 3


def say(line: str) -> None:
    """Write a line to stderr, in the first process only; also before the processes have met."""
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
