"""`pscr score`: score images and write one row for each."""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from . import ray_options
from .console import INTERRUPTED, UsageError, err, interruptible
from .inputs import EXTENSIONS, STDIN, Item, expand, read_list
from .progress import Progress
from .results_file import RESUMABLE, Earlier, ResultsFile, Tally
from .runtime.errors import PscrError, Status
from .runtime.scorer import Result, Scorer
from .runtime.scorer import open as open_scorer
from .verb_model import reading, runs_on
from .writers import MACHINE_WRITERS, Stream, TableWriter, Writer

BY_ENDING = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "table"}
SAME_MODEL = 0.01  # of the score's range: what devices and precisions of one model may differ by


def run(options: argparse.Namespace) -> int:
    """Score what the command line names; returns the exit code.

    Raises:
        UsageError: nothing to score, or the output cannot be written.
        PscrError: the model or the device cannot be used.
    """
    ray_options.check(options)
    if options.engine == "ray":
        return ray_options.run(options)
    form = output_format(options.format, options.output)
    items, total = items_of(options.paths, options.null)
    check_output(options.output)
    earlier = Earlier()
    if options.resume:
        if options.output in (None, "-") or form not in RESUMABLE:
            raise UsageError("--resume goes on from a file; expected -o FILE in the format csv or jsonl")
        earlier = Earlier.read(Path(options.output), form)
        items, total = _not_done(items, total, earlier)
    with interruptible(), ExitStack() as stack:
        scorer = open_scorer(
            options.model, options.device, options.threads, bank=options.bank, max_pixels=options.max_pixels
        )
        stack.enter_context(scorer)
        check_same_model(scorer, earlier, options.output)
        stream = open_output(options.output, stack, earlier.size)
        writer: Writer
        if form == "table":
            writer = TableWriter(stream, "" if options.quiet else title(scorer, options.bank))
        else:
            writer = MACHINE_WRITERS[form](stream)
        return _write_all(scorer, items, writer, Progress(total, options.quiet), earlier, options)


def title(scorer: Scorer, bank: str | None = None) -> str:
    """The table's first line: the model, how to read its scores, and what runs it. bank: where it is not its own."""
    manifest = scorer.manifest
    low, high = scorer.info["range"]
    scale = f"bank {bank}, {low:g} to {high:g}" if bank else reading(manifest.score)
    return f"model {manifest.name} {manifest.version} ({scale}); {runs_on(scorer.info)}"


def _write_all(
    scorer: Scorer,
    items: Iterator[Item],
    writer: Writer,
    progress: Progress,
    earlier: Earlier,
    options: argparse.Namespace,
) -> int:
    shares_terminal = options.output in (None, "-") and sys.stdout.isatty()
    tally: Tally = earlier.tally
    before = tally.count
    results = in_order(scorer, items, options.batch)
    try:
        with closing(results):
            if not earlier.size:
                writer.header()
            for result in results:
                if shares_terminal:
                    progress.hide()
                writer.row(result)
                progress.step()
                tally.add(result.score)
                if result.status != Status.OK and options.fail_fast:
                    break
    except KeyboardInterrupt as signal:
        progress.hide()
        again = "" if isinstance(writer, TableWriter) else "; the same command with --resume goes on"
        err(f"pscr: interrupted: {tally.count - before} results written{_where(options.output, again)}")
        return int(getattr(signal, "code", INTERRUPTED))
    finally:
        progress.hide()
    summary = summarised(tally, progress, before if options.resume else None)
    writer.footer(summary)
    if not options.quiet and not isinstance(writer, TableWriter):
        err(f"pscr: {summary}{_where(options.output)}")
    return 1 if tally.failed else 0


def summarised(tally: Tally, progress: Progress, before: int | None) -> str:
    """The run in one line; before: how many of the rows an earlier run has left, where this one goes on from it."""
    resumed = "" if before is None else f" ({before} of them before)"
    return f"{tally}{resumed}, {progress.rate:.1f} images/s"


def in_order(scorer: Scorer, items: Iterator[Item], batch: int | None) -> Generator[Result, None, None]:
    """One result per item, in order; an item that names no image gets its result without going to the scorer."""
    without_image: deque[tuple[int, Item]] = deque()

    def paths() -> Iterator[str]:
        for place, item in enumerate(items):
            if item.problem:
                without_image.append((place, item))
            else:
                yield item.path

    place = 0
    for result in scorer.score_many(paths(), batch=batch):
        while without_image and without_image[0][0] == place:
            yield _no_image(without_image.popleft()[1])
            place += 1
        yield result
        place += 1
    for _, item in without_image:
        yield _no_image(item)


def output_format(asked: str | None, output: str | None) -> str:
    """The format asked for, else the one that the output file's name ends in, else a table."""
    ending = "" if output in (None, "-") else Path(str(output)).suffix.lower()
    if ending in EXTENSIONS:
        raise UsageError(f"-o {output} would write results over an image; expected a name ending in .csv or .jsonl")
    if asked:
        return asked
    if ending and ending not in BY_ENDING:
        raise UsageError(
            f"-o {output}: no format is known by {ending!r}; expected {', '.join(BY_ENDING)}, or --format with any name"
        )
    return BY_ENDING.get(ending, "table")


def check_output(output: str | None) -> None:
    """Find out before the model is loaded that the output cannot be written; the file itself is left alone."""
    if output in (None, "-"):
        return
    path = Path(str(output))
    if path.is_dir():
        raise UsageError(f"-o {output} is a folder; expected the name of a file, such as {path / 'scores.csv'}")
    if not path.parent.is_dir():
        raise UsageError(f"-o {output}: there is no folder {path.parent}; make it first, or name another file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"-o {output} cannot be written: no permission; name another file")


def open_output(output: str | None, stack: ExitStack, keep: int = 0) -> Stream:
    """The stream that results go to. A file is written row by row, so that an interrupted run keeps what it has.

    keep: how many bytes of the file stay; 0 to begin anew.
    """
    if output in (None, "-"):
        sys.stdout.flush()
        return sys.stdout.buffer
    try:
        return stack.enter_context(ResultsFile(Path(str(output)), keep))
    except OSError as problem:
        raise UsageError(f"-o {output} cannot be written: {problem.strerror}; name another file") from problem


def _not_done(items: Iterator[Item], total: int | None, earlier: Earlier) -> tuple[Iterator[Item], int | None]:
    """The items without the rows that are there already, each as often as it stands there."""
    done = earlier.done.copy()

    def left() -> Iterator[Item]:
        for item in items:
            if done[item.path] > 0:
                done[item.path] -= 1
            else:
                yield item

    if total is None:
        return left(), None
    rest = list(left())
    return iter(rest), len(rest)


def check_same_model(scorer: Scorer, earlier: Earlier, output: str) -> None:
    """Refuse to add scores of one model to those of another: the last row's image must have its score still.

    Raises:
        UsageError: it has another.
    """
    if earlier.example is None:
        return
    path, promised = earlier.example
    try:
        found = scorer.score(path).score
    except PscrError:
        return  # the image is gone, as those of a finished run may be
    low, high = scorer.info["range"]
    if abs(found - promised) > SAME_MODEL * (high - low):
        raise UsageError(
            f"--resume: {output} has {promised:.3f} for {path}, which this model gives {found:.3f}; it comes from "
            "another model or bank, or the image has changed; use the same --model and --bank, or start anew"
        )


def items_of(
    paths: list[str], null: bool, expand: Callable[[Iterable[str]], list[Item]] = expand
) -> tuple[Iterator[Item], int | None]:
    """What to score, and how many that is where they are all known. expand: what paths other than '-' stand for.

    Raises:
        UsageError: there is nothing to score at all.
    """
    if null and STDIN not in paths:
        raise UsageError("-0/--null describes the list on standard input; expected '-' among the paths")
    if STDIN not in paths:
        items = expand(paths)
        if all(item.problem for item in items):
            first = items[0]
            raise UsageError(f"nothing to score in {first.path}: {first.problem}")
        return iter(items), len(items)
    if paths.count(STDIN) > 1:
        raise UsageError("'-' is given twice; standard input can be read once")
    place = paths.index(STDIN)
    listed = read_list(sys.stdin.buffer, null)
    items_to_come = itertools.chain(expand(paths[:place]), listed, expand(paths[place + 1 :]))
    first_item = next(items_to_come, None)
    if first_item is None:
        raise UsageError("no paths on standard input; expected one a line (or --null, each ended by a NUL byte)")
    return itertools.chain([first_item], items_to_come), None


def _no_image(item: Item) -> Result:
    return Result(math.nan, math.nan, 0, 0, Status.FILE_NOT_FOUND, item.problem, item.path)


def _where(output: str | None, more: str = "") -> str:
    return "" if output in (None, "-") else f" to {output}{more}"
