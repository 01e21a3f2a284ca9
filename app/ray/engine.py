"""`pscr score --engine ray`: the images in parts, through a pool of worker processes, into a folder of Parquet files.

This process makes the parts, and writes each one's file when its rows have come; workers only read images. So every
row is written once, whatever became of the worker that scored it, and only this machine needs the output folder.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing
from pathlib import Path

from ..console import INTERRUPTED, err
from ..progress import Progress
from ..runtime.errors import Status
from ..runtime.scorer import open as open_scorer
from ..tables.inputs import Item, expand, items_of
from ..tables.parquet import ResultsFolder, as_text, is_table, read_paths
from ..tables.results_file import Earlier, Tally
from ..tables.scoring import check_diagnosis, check_same_model, summarised
from ..voting import votes
from .cluster import check_gpus, connected
from .pool import score, split
from .worker import Row, Settings

PART = 256  # images at most: what is scored again where a worker dies


def run(options: argparse.Namespace) -> int:
    """Score what the command line names; returns the exit code.

    Raises:
        UsageError: nothing to score, the output cannot be used, or more workers than the cluster has cores for.
        PscrError: the model, the device or the cluster cannot be used.
    """
    column = options.path_column or "path"
    items, _ = items_of(options.paths, options.null, lambda paths: _expand(paths, column))
    listed = list(enumerate(items))
    with ExitStack() as stack:
        output = stack.enter_context(ResultsFolder(Path(options.output), options.resume, options.diagnose))
        earlier = output.earlier()
        # A model that cannot be used is told before any worker is started; here it always runs on the CPU.
        with open_scorer(options.model, "cpu", options.threads, **votes(options)) as scorer:
            check_diagnosis(scorer, options.diagnose)
            scorer.check_scores(False)
            check_same_model(scorer, earlier.promised, f"--resume: {options.output}", ", or start anew")
        left = not_done(listed, earlier)
        if not left:
            return _end(earlier.tally, Progress(0, options.quiet), earlier.tally.count, options)
        pool = stack.enter_context(connected(options.ray_address, options.workers, options.threads))
        check_gpus(options.device, pool)
        settings = Settings(
            options.model,
            "cpu" if options.device == "auto" else options.device,  # every worker the same, whatever its machine has
            pool.threads,
            votes(options),
            options.max_pixels,
            options.batch,
            Path.cwd(),
            options.diagnose,
        )
        parts = split(left, options.part or min(PART, math.ceil(len(left) / (4 * pool.workers))))
        return _write_all(score(parts, settings, pool), output, earlier, Progress(len(left), options.quiet), options)


def _write_all(
    scored: Generator[tuple[int, list[Row]], None, None],
    output: ResultsFolder,
    earlier: Earlier,
    progress: Progress,
    options: argparse.Namespace,
) -> int:
    tally = earlier.tally
    before = tally.count
    try:
        with closing(scored):
            for first, rows in scored:
                output.write(first, rows)
                for row in rows:
                    progress.step()
                    tally.add(row["score"])
                if options.fail_fast and any(row["status"] != Status.OK.name for row in rows):
                    break
    except KeyboardInterrupt as stop:
        progress.hide()
        written = f"{tally.count - before} results written to {options.output}"
        err(f"pscr: interrupted: {written}; the same command with --resume goes on")
        return int(getattr(stop, "code", INTERRUPTED))
    finally:
        progress.hide()
    return _end(tally, progress, before, options)


def _end(tally: Tally, progress: Progress, before: int, options: argparse.Namespace) -> int:
    if not options.quiet:
        err(f"pscr: {summarised(tally, progress, before if options.resume else None)} to {options.output}")
    return 1 if tally.failed else 0


def _expand(paths: Iterable[str], column: str) -> list[Item]:
    return [item for path in paths for item in (read_paths(path, column) if is_table(path) else expand([path]))]


def not_done(listed: Iterable[tuple[int, Item]], earlier: Earlier) -> list[tuple[int, Item]]:
    """The items, with their places, without the rows that are there already, each as often as it stands there."""
    done = earlier.done.copy()
    left = []
    for place, item in listed:
        if done[as_text(item.path)] > 0:
            done[as_text(item.path)] -= 1
        else:
            left.append((place, item))
    return left
