"""The options of `pscr score --engine ray`. Ray itself is imported where it runs, not here."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable
from pathlib import Path

from ..console import UsageError, needing, show_log
from ..runtime.errors import PscrError, Status
from ..tables.formats import BY_ENDING
from ..tables.inputs import EXTENSIONS

ENGINES = ("local", "ray")
OWN = {"workers": None, "ray_address": None, "path_column": None, "part": None}  # without a meaning elsewhere


def add(score: argparse.ArgumentParser, positive: Callable[[str], int]) -> None:
    """Add the options to the parser of `pscr score`; `positive` reads a whole number from 1."""
    group = score.add_argument_group("many machines (needs pscr[ray]; -o names a folder of Parquet files)")
    group.add_argument(
        "--engine", choices=ENGINES, default="local", help="local: this process; ray: worker processes, on one machine "
        "or on a Ray cluster (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--workers", type=positive, metavar="N", help="worker processes (default: one for four cores)")
    group.add_argument(
        "--ray-address", metavar="ADDRESS", help="the cluster (default: $RAY_ADDRESS, else one on this machine)"
    )
    group.add_argument(
        "--path-column", metavar="NAME", help="column of a PATH that ends in .csv or .parquet (default: path)"
    )
    group.add_argument(
        "--part", type=positive, metavar="N", help="images in each output file (default: up to 256, by their number)"
    )


def check(options: argparse.Namespace) -> None:
    """Refuse options that do not go with the engine.

    Raises:
        UsageError: such an option, an output that is no folder for Parquet files, or a system that Ray is not used on.
    """
    if options.engine == "local":
        given = [name for name, unset in OWN.items() if getattr(options, name) != unset]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} belongs to --engine ray; add it, or leave the option out")
        return
    if not hasattr(os, "setsid"):  # Windows; see own_process
        raise UsageError("--engine ray does not run on this system; expected Linux or macOS, or --engine local")
    if options.precision != "exact":
        raise UsageError("--engine ray runs one device on every worker; name it, such as --device openvino-bf16")
    if options.format:
        raise UsageError(f"--engine ray writes Parquet; --format {options.format} goes with --engine local")
    if options.output in (None, "-"):
        raise UsageError("--engine ray writes a folder of Parquet files; expected -o FOLDER")
    output = Path(options.output)
    if output.is_file() or output.suffix.lower() in EXTENSIONS | BY_ENDING.keys() - {".parquet"}:
        raise UsageError(f"-o {output}: --engine ray writes a folder of Parquet files; expected the name of a folder")
    if not output.parent.is_dir():
        raise UsageError(f"-o {output}: there is no folder {output.parent}; make it first, or name another folder")
    if not os.access(output if output.exists() else output.parent, os.W_OK):
        raise UsageError(f"-o {output} cannot be written: no permission; name another folder")


def run(options: argparse.Namespace) -> int:
    """Score with Ray; returns the exit code.

    Ray ends a program whose raylet or cluster is gone: exit code 1, no exception, no handler, not a word. So it is
    used in a process of its own.

    Raises:
        PscrError: ray or pyarrow is not installed, or Ray's end; and all that `engine.run` raises.
    """
    from .. import own_process  # 10 ms, which no other command has to wait for

    told = argparse.Namespace(**{name: value for name, value in vars(options).items() if name not in ("parser", "run")})
    try:
        return own_process.call(_score, told, logging.getLogger().isEnabledFor(logging.DEBUG))
    except own_process.EndedError as problem:
        found = f"the process that led the run was ended ({problem}), by Ray, whose processes here or whose cluster "
        hint = "are gone, or by the system, short of memory; what was written is kept, and the same command with "
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{found}{hint}--resume goes on") from problem


def _score(options: argparse.Namespace, debug: bool) -> int:
    if debug:
        show_log()
    with needing("ray", "--engine ray"):
        from . import engine

        return engine.run(options)
