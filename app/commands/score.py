"""`pscr score`: score images and write one row for each."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from ..console import INTERRUPTED, UsageError, err, interruptible
from ..describe import title
from ..progress import Progress
from ..ray import options as ray_options
from ..runtime import output_file
from ..runtime.errors import Status
from ..runtime.output_file import STDOUT
from ..runtime.scorer import Scorer
from ..tables.clips import Clips
from ..tables.fields import COLUMNS, DIAGNOSIS, Columns
from ..tables.formats import BY_ENDING, RESUMABLE, WRITTEN, Format, output_format
from ..tables.gate import Gate
from ..tables.inputs import STDIN, Item, in_words
from ..tables.originals import Originals, originals
from ..tables.results_file import Earlier, ResultsFile, Stream
from ..tables.scoring import check_diagnosis, check_same_model, paired, summarised
from ..tables.table_inputs import Inputs, inputs_of
from ..voting import named, opened
from . import clip_options, gate_options, table_options
from . import options as shared

EPILOG = """\
examples:
  pscr score image.jpg
  pscr score outputs/ -o scores.csv                 every image below a folder
  pscr score 'runs/**/*.png' --format jsonl         a pattern, quoted, '**' crosses folders
  pscr score damaged/ --reference originals/        a full-reference model: each beside its original
  pscr score clip.mp4 --every 0.5                   a video: the mean of a frame each half second
  pscr score renders/ --frames 8                    images and videos below a folder
  find . -name '*.webp' -print0 | pscr score -0 -   a list on standard input
  pscr score outputs/ -o scores.csv --resume        the rest, after an interruption
  pscr score train.parquet -o scored.parquet        the images of a table, joined to its rows; .arrow, .tar
  pscr score outputs/ -o s.csv --min-score 2 --move-to low/      and move what scores below 2 aside
  pscr score outputs/ -o scores/ --engine ray       worker processes, here or on a Ray cluster; Parquet

csv columns and jsonl keys: {columns}.
The spread is the standard deviation of the exemplars' votes; low and high hold 90 % of opinion scores, if the model is
calibrated. With --diagnose, {diagnosis} too.
What there is none of is an empty cell or null. Status is OK or says what went wrong; a failed image has no
score, and the exit code is then 1.
"""


def add(verbs: shared.Verbs) -> None:
    score = shared.add_verb(
        verbs,
        "score",
        "score files, folders, patterns or a list of images",
        run,
        description="Score images and write one row for each: path, score, spread, size, status.",
        epilog=EPILOG.format(columns=", ".join(COLUMNS), diagnosis=", ".join(one.name for one in DIAGNOSIS)),
    )
    score.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a file, a folder (all images below it), a table or tar of images, a quoted pattern, or '-'",
    )
    shared.model(score)
    shared.device(score)
    shared.batch(score)
    shared.threads(score)
    shared.bank(score)
    shared.diagnose(score, "and say of each image what it looks like, such as blur, and to which degree")
    score.add_argument(
        "--reference",
        metavar="REF",
        help="for a full-reference model: the original of all images, or a folder with one for each, of its name or, "
        "with another ending, its stem",
    )
    score.add_argument(
        "--format",
        choices=WRITTEN,
        help=f"default: by the ending of -o FILE ({', '.join(BY_ENDING)}), else table",
    )
    score.add_argument("-o", "--output", metavar="FILE", help="write the results to FILE ('-': standard output)")
    there = score.add_mutually_exclusive_group()
    there.add_argument(
        "--resume",
        action="store_true",
        help=f"go on with the -o FILE of an interrupted run ({' or '.join(RESUMABLE)})",
    )
    there.add_argument("--overwrite", action="store_true", help="begin -o FILE anew where it holds something already")
    score.add_argument(
        "--retry-failed",
        action="store_true",
        help="with --resume: try images that failed again; their rows move to the end",
    )
    score.add_argument(
        "-0",
        "--null",
        action="store_true",
        help="paths on standard input, and in --delete-list, end in NUL bytes, not lines",
    )
    score.add_argument("--fail-fast", action="store_true", help="stop after the first input that fails")
    shared.max_pixels(score)
    score.add_argument(
        "--jpeg",
        choices=("cpu", "gpu"),
        default="cpu",
        help="where JPEGs are decoded; on the GPU scores move a little (default: %(default)s)",
    )
    shared.quiet(score, "rows and errors only: no title, summary or progress")
    clip_options.add(score)
    table_options.add(score)
    gate_options.add(score)
    ray_options.add(score, shared.positive)


def run(options: argparse.Namespace) -> int:
    """Score what the command line names; returns the exit code.

    Raises:
        UsageError: nothing to score, or the output holds something else, or is written to by another run.
        PscrError: the model or the device cannot be used, or the output not written.
    """
    ray_options.check(options)
    table_options.check(options)
    gate = gate_options.gate(options)
    if options.retry_failed and not options.resume:
        raise UsageError("--retry-failed goes with --resume, which names the rows that are there; add it")
    if options.engine == "ray":
        if options.reference is not None:
            raise UsageError("--reference goes with --engine local; leave one of them out")
        if clip_options.given(options):
            raise UsageError("--frames, --every and --per-frame are of videos, which --engine ray does not score")
        if options.retry_failed or options.overwrite:
            raise UsageError(
                "--retry-failed and --overwrite are for files, and --engine ray writes a folder; leave them out"
            )
        if options.jpeg != "cpu":
            raise UsageError("--jpeg gpu goes without --engine ray, whose workers decode on CPUs; leave it out")
        return ray_options.run(options)
    form = output_format(options.format, options.output)
    output_file.check(options.output or STDOUT)
    left_out: Counter[str] = Counter()
    null = options.null and (STDIN in options.paths or options.delete_list is None)
    clips = clip_options.clips(options)
    inputs = inputs_of(options.paths, null, replace(table_options.wanted(options), besides=clips.besides), left_out)
    inputs = replace(inputs, columns=replace(inputs.columns, diagnosed=options.diagnose))
    _check_apart("-o", options.output, inputs.files, "results over the input")
    _check_apart("--delete-list", options.delete_list, inputs.files, "paths over the input")
    if options.output is not None:
        _check_apart("--delete-list", options.delete_list, [options.output], "paths over the results")
    with interruptible(), ExitStack() as stack:
        file = None if options.output in (None, STDOUT) else stack.enter_context(ResultsFile(options.output))
        earlier = _earlier(file, form, inputs.columns, options)
        earlier.tally.left_out = in_words(left_out)
        inputs = _not_done(inputs, earlier)
        scorer = stack.enter_context(opened(options, max_pixels=options.max_pixels, jpeg=options.jpeg))
        check_diagnosis(scorer, options.diagnose)
        given = originals(scorer, options.reference)
        clips = replace(clips, done=earlier.done.copy())
        check_same_model(scorer, earlier.promised, f"--resume: {options.output}", ", or start anew", given, clips)
        if gate:
            gate.check(scorer.scale)
        if file:
            file.begin(earlier)
        return _write_all(scorer, inputs, given, clips, form, file, earlier, gate, options)


def _check_apart(option: str, output: str | None, others: Iterable[str], what: str) -> None:
    """Refuse to write an output over another file of the run, such as the table that it is of.

    option: that the output was given by. what: is written over which of the others, in words.

    Raises:
        UsageError: the output is one of them.
    """
    if output is None or not output_file.is_regular(output):
        return
    over = next((other for other in others if _same(output, other)), None)
    if over is not None:
        raise UsageError(f"{option} {output} would write {what} {over}; name another file")


def _same(one: str, other: str) -> bool:
    """Whether two names lead to the same file, which need not be there yet."""
    if Path(one).exists() and Path(other).exists():
        return Path(one).samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)


def _earlier(file: ResultsFile | None, form: Format, columns: Columns, options: argparse.Namespace) -> Earlier:
    """What an earlier run has left, where this one goes on from it.

    Raises:
        UsageError: it does not, and there is something; or that is not what it can go on from.
    """
    if not options.resume:
        if file and file.size and not options.overwrite:
            found = f"-o {options.output} holds {file.size} bytes already"
            advice = "--resume goes on with the results of an earlier run, --overwrite begins anew"
            raise UsageError(f"{found}; {advice if form.rows else '--overwrite begins anew'}, or name another file")
        return Earlier()
    if file is None or not file.is_file or form.rows is None:
        raise UsageError(f"--resume goes on from a file; expected -o FILE in the format {' or '.join(RESUMABLE)}")
    return Earlier.read(Path(options.output), form.rows, options.retry_failed, columns)


def _write_all(
    scorer: Scorer,
    inputs: Inputs,
    given: Originals,
    clips: Clips,
    form: Format,
    file: ResultsFile | None,
    earlier: Earlier,
    gate: Gate | None,
    options: argparse.Namespace,
) -> int:
    assert form.writer is not None  # `pscr score` offers no other
    sys.stdout.flush()
    stream: Stream = file or sys.stdout.buffer
    writer = form.writer(stream, inputs.columns)
    progress = Progress(inputs.total, options.quiet)
    groups = table_options.groups(options, inputs.columns, scorer.scale)
    shares_terminal = file is None and sys.stdout.isatty()
    tally = earlier.tally
    before = tally.count
    results = paired(scorer, inputs.items, options.batch, given, options.diagnose, clips)
    try:
        with closing(writer), closing(results):
            if not earlier.size:
                writer.header("" if options.quiet or not form.for_people else title(scorer, named(options)))
            for item, result in results:
                if shares_terminal:
                    progress.hide()
                writer.row(result, item.cells)
                progress.step()
                tally.add(result.score)
                if gate:
                    gate.add(item, result)
                if groups:
                    groups.add(inputs.columns.record(result, item.cells)[options.group_by], result.score)
                if result.status != Status.OK and options.fail_fast:
                    break
    except KeyboardInterrupt as signal:
        progress.hide()
        instead = " in place of --overwrite" if options.overwrite else ""
        again = f"; the same command with --resume{instead} goes on" if form.rows and file and file.is_file else ""
        err(f"pscr: interrupted: {tally.count - before} results written{_where(options.output, again)}")
        return int(getattr(signal, "code", INTERRUPTED))
    finally:
        progress.hide()
    summary = summarised(tally, progress, before if options.resume else None)
    writer.footer(summary)
    if not options.quiet and not form.for_people:
        err(f"pscr: {summary}{_where(options.output)}")
    for line in groups.lines() if groups else ():
        err(line)
    return 1 if _held_back(gate, options.quiet) or tally.failed else 0


def _held_back(gate: Gate | None, quiet: bool) -> int:
    """Do with the images that do not pass what is asked for; returns for how many it failed."""
    if gate is None:
        return 0
    done, failed = gate.close()
    if not quiet:
        err(f"pscr: {done}")
    return failed


def _not_done(inputs: Inputs, earlier: Earlier) -> Inputs:
    """The items without the rows that are there already, each as often as it stands there."""
    done = earlier.done.copy()

    def left() -> Iterator[Item]:
        for item in inputs.items:
            if done[item.path] > 0:
                done[item.path] -= 1
            else:
                yield item

    if inputs.total is None or not inputs.plain:
        total = None if inputs.total is None else max(inputs.total - done.total(), 0)
        return replace(inputs, items=left(), total=total)
    rest = list(left())
    return replace(inputs, items=iter(rest), total=len(rest))


def _where(output: str | None, more: str = "") -> str:
    return "" if output in (None, STDOUT) else f" to {output}{more}"
