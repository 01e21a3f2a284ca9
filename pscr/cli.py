"""The command line: `pscr VERB ...`. Each verb's work, and what it imports, lives in its own module."""

from __future__ import annotations

import argparse
import difflib
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from . import __version__, ray_options
from .console import INTERRUPTED, UsageError, err, error
from .runtime.errors import PscrError, Status
from .runtime.image import DEFAULT_MAX_PIXELS
from .runtime.scorer import DEFAULT_MODEL

USAGE, UNUSABLE, BROKEN_PIPE = 2, 3, 141

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

SCORE_EPILOG = """\
examples:
  pscr score image.jpg
  pscr score outputs/ -o scores.csv                 every image below a folder
  pscr score 'runs/**/*.png' --format jsonl         a pattern, quoted, '**' crosses folders
  find . -name '*.webp' -print0 | pscr score -0 -   a list on standard input
  pscr score outputs/ -o scores.csv --resume        the rest, after an interruption
  pscr score outputs/ -o scores/ --engine ray       worker processes, here or on a Ray cluster; Parquet

csv columns and jsonl keys: path, score, spread, width, height, status, message. The spread is the standard deviation of
the exemplars' votes. Status is OK or says what went wrong; a failed image has no score, and the exit code is then 1.
"""

MAP_EPILOG = """\
examples:
  pscr map image.jpg -o map.png      the image, the map over it, a colour bar; the frame marks the lowest window
  pscr map image.jpg -o map.npy      an array [height, width]: the mean of the windows that cover each pixel
  pscr map image.jpg -o map.csv      the windows: top, left, height, width, score

Windows overlap, and each is scored as an image of its own. Dark is low.
"""

# Verbs with a parser of their own, which need libraries that scoring does not: module, extra, one-line summary.
DELEGATED = {
    "train": ("pscr.training.train", "train", "train a model on labelled images"),
    "evaluate": ("pscr.training.evaluate", "evaluate", "compare models' scores with the opinion scores of databases"),
    "export": ("pscr.export.command", "export", "turn a trained checkpoint into a model folder with one ONNX graph"),
    "report": ("pscr.report.command", "report", "write one HTML page on many images, and compare generators"),
    "serve": ("pscr.verb_serve", "serve", "score images over HTTP, with a page to look at"),
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as every other error of this program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see '{self.prog} --help'")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing escapes as a traceback unless it is asked for."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = os.environ.get("PSCR_DEBUG", "0") not in ("", "0") or "--debug" in words
    if debug:
        logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s")
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
        return USAGE if problem.status == Status.INVALID_ARGUMENT else UNUSABLE
    if isinstance(problem, OSError):
        _drop_unwritable_stdout()
        where = f" ({problem.filename})" if problem.filename else ""
        error(f"the system refused to read or write{where}: {problem.strerror}; what was written before is kept")
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
    rest = words[1:] if words[:1] == ["--debug"] else words
    if rest and rest[0] in DELEGATED:
        return _delegate(rest[0], rest[1:])
    parser = build_parser()
    if not rest:
        parser.print_help()
        return USAGE
    options, unknown = parser.parse_known_args(words)
    if unknown:
        _refuse(unknown, options.verb)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _delegate(verb: str, words: list[str]) -> int:
    """Hand the rest of the command line to a verb's own parser.

    Raises:
        PscrError: a library that the verb needs is not installed.
    """
    module, extra, _ = DELEGATED[verb]
    try:
        code: int | None = importlib.import_module(module).main(words)
    except ModuleNotFoundError as problem:
        if problem.name is None or problem.name.partition(".")[0] == "pscr":
            raise
        raise PscrError(
            Status.MODEL_INVALID,
            f"'pscr {verb}' needs the Python module {problem.name}, which is not installed here; "
            f"install it with: pip install 'pscr[{extra}]'",
        ) from problem
    return code or 0


def _lazily(module: str, function: str = "run") -> Callable[[argparse.Namespace], int]:
    """A verb whose module is imported when it runs, so that help and errors stay quick."""

    def run(options: argparse.Namespace) -> int:
        code: int = getattr(importlib.import_module(f"pscr.{module}"), function)(options)
        return code

    return run


def _refuse(unknown: list[str], verb: str | None) -> NoReturn:
    """Name the arguments that no option takes, and the nearest option there is."""
    parsers: dict[str, Parser] = {}
    parser = build_parser(parsers)
    chosen = parsers.get(verb or "", parser)
    options = [name for action in chosen._actions for name in action.option_strings]
    near = difflib.get_close_matches(unknown[0].partition("=")[0], options, 1)
    guess = f"; did you mean {near[0]}?" if near else ""
    kind = "unknown option" if unknown[0].startswith("-") else "unexpected argument"
    raise UsageError(f"{kind} {unknown[0]}{guess}; '{chosen.prog} --help' lists what there is")


def build_parser(verbs: dict[str, Parser] | None = None) -> Parser:
    """The whole command line's parser; `verbs` is filled with each verb's own."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        "pscr",
        description="Quality scores for AI-generated images.",
        epilog=EPILOG,
        formatter_class=raw,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pscr {__version__}")
    _debug(parser)
    choices = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)

    def verb(name: str, summary: str, run: Callable[[argparse.Namespace], int] | None, **more: Any) -> Parser:
        added: Parser = choices.add_parser(
            name, help=summary, formatter_class=raw, allow_abbrev=False, **{"description": _sentence(summary), **more}
        )
        if run is not None:
            _debug(added)
            added.set_defaults(run=run)
        if verbs is not None:
            verbs[name] = added
        return added

    score = verb(
        "score", "score files, folders, patterns or a list of images", _lazily("verb_score"), epilog=SCORE_EPILOG
    )
    _score_options(score)
    ray_options.add(score, _positive)
    ranking = verb("rank", "put candidates for the same prompt in order, the best first", _lazily("verb_rank"))
    ranking.add_argument(
        "paths", metavar="PATH", nargs="+", help="files, folders or quoted patterns; two images or more"
    )
    ranking.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or its folder (default: %(default)s)")
    _device(ranking)
    ranking.add_argument("--threads", type=_positive, metavar="N", help="CPU threads (default: all cores)")
    ranking.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: %(default)s")
    ranking.add_argument("-q", "--quiet", action="store_true", help="rows and errors only")
    mapping = verb("map", "show where in an image the quality is good or bad", _lazily("verb_map"), epilog=MAP_EPILOG)
    _map_options(mapping)
    verb("models", "list the models that come with this installation", _lazily("verb_model", "models"))
    info = verb(
        "info", "say what a model is, how it was trained and how its scores read", _lazily("verb_model", "info")
    )
    verify = verb(
        "verify",
        "check a model's files against their hashes, then its scores against recorded ones",
        _lazily("verb_model", "verify"),
    )
    engines = verb(
        "engines", "list a model's TensorRT engines and which of them would run here", _lazily("verb_engines")
    )
    for command in (info, verify, engines):
        command.add_argument("model", metavar="MODEL", help="a model's name ('pscr models' lists them) or its folder")
    for command in (info, verify):
        _device(command)
    doctor = verb("doctor", "say which libraries and devices can be used here, and what would help", _lazily("doctor"))
    doctor.add_argument("--model", default=DEFAULT_MODEL, help="the model that is tried (default: %(default)s)")
    for command in (info, doctor, engines):
        command.add_argument("--json", action="store_true", help="write one JSON object")
    _bench_options(verb("bench", "measure how fast a model is on this machine", _lazily("verb_bench")))
    _bank_verbs(verb("bank", "build a bank from labelled images, without training, or show one", None))
    for command in (score, ranking, mapping, info):
        _bank(command)
    for name, (_, extra, summary) in DELEGATED.items():
        verb(name, f"{summary} (needs pscr[{extra}])", None, add_help=False)
    return parser


def _score_options(score: Parser) -> None:
    score.description = "Score images and write one row for each: path, score, spread, size, status."
    score.add_argument(
        "paths", metavar="PATH", nargs="+", help="a file, a folder (all images below it), a quoted pattern, or '-'"
    )
    score.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or its folder (default: %(default)s)")
    _device(score)
    score.add_argument(
        "--batch", type=_positive, metavar="N", help="images per run of the network (default: by device)"
    )
    score.add_argument("--threads", type=_positive, metavar="N", help="CPU threads for everything (default: all cores)")
    score.add_argument(
        "--format",
        choices=("table", "csv", "jsonl"),
        help="default: by the ending of -o FILE (.csv, .jsonl, .txt), else table",
    )
    score.add_argument("-o", "--output", metavar="FILE", help="write the results to FILE ('-': standard output)")
    score.add_argument(
        "--resume", action="store_true", help="go on with the -o FILE of an interrupted run (csv or jsonl)"
    )
    score.add_argument("-0", "--null", action="store_true", help="paths on standard input end in NUL bytes, not lines")
    score.add_argument("--fail-fast", action="store_true", help="stop after the first input that fails")
    _max_pixels(score)
    score.add_argument("-q", "--quiet", action="store_true", help="rows and errors only: no title, summary or progress")


def _map_options(mapping: Parser) -> None:
    mapping.add_argument("image", metavar="IMAGE", help="an image file")
    mapping.add_argument("-o", "--output", metavar="FILE", required=True, help="'-': standard output, with --format")
    mapping.add_argument("--format", choices=("png", "npy", "csv"), help="default: by the ending of -o FILE")
    mapping.add_argument("--window", type=_positive, metavar="N", help="side of a window in pixels (default: by model)")
    mapping.add_argument(
        "--stride", type=_positive, metavar="N", help="pixels from one window to the next (default: half a window)"
    )
    mapping.add_argument(
        "--native", action="store_true", help="windows of a large image's own pixels, not of the view that is scored"
    )
    mapping.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or its folder (default: %(default)s)")
    _device(mapping)
    mapping.add_argument("--threads", type=_positive, metavar="N", help="CPU threads (default: all cores)")
    _max_pixels(mapping)
    mapping.add_argument("-q", "--quiet", action="store_true", help="errors only: no summary")


def _bench_options(bench: Parser) -> None:
    bench.description = (
        "Latency in the scenarios of MLPerf (single-stream, multi-stream, server, offline) and by stage: decode, "
        "sample, infer, rest. Nothing is judged: the exit code never depends on a time."
    )
    bench.add_argument(
        "paths", metavar="PATH", nargs="*", help="images, resized and encoded alike (default: built-in ones)"
    )
    bench.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or its folder (default: %(default)s)")
    _device(bench)
    bench.add_argument("--threads", type=_positive, metavar="N", help="CPU threads (default: all cores)")
    bench.add_argument(
        "--scenario", action="append", choices=("single-stream", "multi-stream", "offline", "server"), help="repeatable"
    )
    bench.add_argument("--seconds", type=float, default=5.0, help="of each row of the table (default: %(default)s)")
    bench.add_argument("--side", type=_positive, default=512, help="of the images, in pixels (default: %(default)s)")
    bench.add_argument("-o", "--output", metavar="DIR", help="also write JSON, CSV and a plot into DIR")
    bench.add_argument("--json", action="store_true", help="write the results as JSON in place of tables")


def _bank_verbs(bank: Parser) -> None:
    bank.description = (
        "A bank moves the score to a scale of your own: it takes opinion scores of your images and no training."
    )
    actions = bank.add_subparsers(dest="action", metavar="build|show", required=True, parser_class=Parser)
    build = actions.add_parser("build", help="make a bank from a csv of paths and opinion scores", allow_abbrev=False)
    build.add_argument("labels", metavar="LABELLED.csv", help="a header, then a row for each image")
    build.add_argument("-o", "--output", metavar="BANK.npz", required=True)
    build.add_argument("--model", default=DEFAULT_MODEL, help="a model's name or its folder (default: %(default)s)")
    _device(build)
    build.add_argument("--threads", type=_positive, metavar="N", help="CPU threads (default: all cores)")
    build.add_argument("--path-column", default="path", help="images, relative to the csv file (default: %(default)s)")
    build.add_argument("--score-column", default="score", help="opinion scores (default: %(default)s)")
    build.add_argument(
        "--keep-scale", action="store_true", help="the labels are on the model's own scale: do not fit another"
    )
    build.add_argument("-q", "--quiet", action="store_true", help="warnings and errors only")
    show = actions.add_parser("show", help="say what a bank holds and how good it is", allow_abbrev=False)
    show.add_argument("bank", metavar="BANK.npz")
    show.add_argument("--json", action="store_true", help="write one JSON object")
    for command, function in ((build, "build"), (show, "show")):
        _debug(command)
        command.set_defaults(run=_lazily("verb_bank", function))


def _bank(parser: Parser) -> None:
    parser.add_argument("--bank", metavar="BANK.npz", help="exemplars in place of the model's own (pscr bank build)")


def _device(parser: Parser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda[:N] or tensorrt[:N]; only auto chooses for itself (default: %(default)s)",
    )


def _max_pixels(parser: Parser) -> None:
    parser.add_argument(
        "--max-pixels",
        type=_positive,
        metavar="N",
        default=DEFAULT_MAX_PIXELS,
        help="refuse larger images undecoded (default: %(default)s)",
    )


def _debug(parser: Parser) -> None:
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 1")
    return number


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


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
