"""The command line: `pscr VERB ...`, its errors and exit codes. Each verb's parser and work lie in its own module."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from ..console import INTERRUPTED, UsageError, err, error, needing, replace_closed_streams, show_log
from ..installation import UNUSABLE, missing
from ..runtime.errors import OUTSIDE, PscrError, one_line
from ..runtime.version import __version__
from . import without_libraries

if TYPE_CHECKING:
    from . import options

USAGE, BROKEN_PIPE = 2, 141

EPILOG = """\
exit codes:
  0    everything was done: all images scored, all checks passed
  1    some inputs failed; the rest are scored and written
  2    the command line was wrong
  3    the model, engine, device or a library could not be used
  130  interrupted (Ctrl-C; 143: SIGTERM); what was written so far is kept

Results go to standard output or to -o; errors, one line each, and the progress bar go to standard error.
'pscr VERB --help' says more about each verb. PSCR_DEBUG=1 or --debug adds the log, and Python tracebacks to errors.
"""

# Verbs of other parts of the package, with a parser of their own: module, extra, one-line summary.
DELEGATED = {
    "train": ("pscr.training.train", "train", "train a model on labelled images"),
    "evaluate": ("pscr.training.evaluate", "evaluate", "compare models' scores with the opinion scores of databases"),
    "export": ("pscr.export.command", "export", "turn a trained checkpoint into a model folder with one ONNX graph"),
    "import": ("pscr.export.import_command", "export", "turn a published checkpoint into a model folder"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing escapes as a traceback unless it is asked for."""
    replace_closed_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = os.environ.get("PSCR_DEBUG", "0") not in ("", "0") or "--debug" in words
    if debug:
        show_log()
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as signal:
        err("pscr: interrupted")
        return int(getattr(signal, "code", INTERRUPTED))
    except BrokenPipeError:  # the reader has seen enough: pscr score folder | head
        _drop_stdout()
        return BROKEN_PIPE
    except Exception as problem:
        if debug:
            traceback.print_exc()
        return _report(problem)


def _report(problem: Exception) -> int:
    """Write the one line for an error; returns its exit code."""
    if isinstance(problem, UsageError):
        error(str(problem))
        return USAGE
    if isinstance(problem, PscrError):
        error(problem.message)
        return OUTSIDE[problem.status].exit_code
    if isinstance(problem, OSError):
        _drop_unwritable_stdout()
        where = f" ({problem.filename})" if problem.filename else ""
        reason = problem.strerror or one_line(problem)
        error(f"the system refused to read or write{where}: {reason}; what was written before is kept")
        return UNUSABLE
    hint = "this is a fault in pscr or in a library it uses; run again with --debug for the traceback, and report it"
    error(f"INTERNAL: {type(problem).__name__}: {problem}; {hint}")
    return UNUSABLE


def _dispatch(words: list[str]) -> int:
    try:
        return _run_verb(words)
    except SystemExit as stop:  # --help, --version and the parsers of the delegated verbs
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else USAGE


def _run_verb(words: list[str]) -> int:
    if found := missing():
        return without_libraries.run(words, found[1])
    rest = words[1:] if words[:1] == ["--debug"] else words
    if rest and rest[0] in DELEGATED:
        return _delegate(rest[0], rest[1:])
    parser = build_parser()
    if not rest:
        parser.print_help()
        return USAGE
    chosen, unknown = parser.parse_known_args(words)
    if unknown:
        _refuse(unknown, getattr(chosen, "parser", parser))
    run: options.Run = chosen.run
    return run(chosen)


def _delegate(verb: str, words: list[str]) -> int:
    """Hand the rest of the command line to a verb's own parser.

    Raises:
        PscrError: a library that the verb needs is not installed.
    """
    module, extra, _ = DELEGATED[verb]
    with needing(extra, f"'pscr {verb}'"):
        code: int | None = importlib.import_module(module).main(words)
    return code or 0


def _refuse(unknown: list[str], parser: argparse.ArgumentParser) -> NoReturn:
    """Name the arguments that no option of the parser takes, and the nearest option there is."""
    there = [name for action in parser._actions for name in action.option_strings]
    near = difflib.get_close_matches(unknown[0].partition("=")[0], there, 1)
    guess = f"; did you mean {near[0]}?" if near else ""
    kind = "unknown option" if unknown[0].startswith("-") else "unexpected argument"
    raise UsageError(f"{kind} {unknown[0]}{guess}; '{parser.prog} --help' lists what there is")


def build_parser() -> options.Parser:
    """The whole command line's parser."""
    # The verbs' files need NumPy and OpenCV, which are proved first.
    from . import bank, bench, compare, doctor, engines, map, models, options, rank, regress, report, score, serve, tag

    parser = options.Parser(
        "pscr",
        description="Quality scores for AI-generated images.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pscr {__version__}")
    options.debug(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    # In the order of the help.
    every = (score, rank, map, tag, models, engines, doctor, bench, bank, regress, report, compare, serve)
    for verb in every:
        verb.add(verbs)
    for name, (_, extra, summary) in DELEGATED.items():
        options.add_verb(verbs, name, f"{summary} (needs pscr[{extra}])", add_help=False)
    return parser


def _drop_unwritable_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()


def _drop_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain about the closed pipe."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
