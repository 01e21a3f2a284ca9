"""`pscr tag`: scores written into the image files themselves, where browsers of images show them."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..console import UsageError, err, interruptible, one_line, out
from ..progress import Progress
from ..runtime import output_file
from ..runtime.errors import PscrError, Status
from ..runtime.image import read_file
from ..runtime.image_tags import tagged
from ..runtime.score_scale import ScoreScale
from ..runtime.scorer import Result, Scorer
from ..tables.formats import READABLE, read_results
from ..tables.inputs import Item, expand, in_words
from ..tables.scoring import check_same_model, in_order
from ..voting import opened
from . import options as shared

DESCRIPTION = """\
Write scores into PNG and JPEG files: a rating of one to five stars in XMP, by the fifth of the scale's range that the
score lies in, and in PNG the score itself, as the text pscr_score. Pixels and all other metadata stay as they are, and
so do a file's mode and times. A file that has an XMP packet already gets the rating only where it has one to replace.
"""


@dataclass(frozen=True)
class _Row:
    """What became of one image. done: tagged | same | failed; a dry run says tagged of what it would tag."""

    path: str
    done: str
    score: float | None = None
    rating: int | None = None
    message: str = ""

    def __str__(self) -> str:
        score = "-" if self.score is None else f"{self.score:.3f}"
        note = f"  ({self.message})" if self.message else ""
        return one_line(f"{score:>7}  {'*' * (self.rating or 0):<5}  {self.done:<6}  {self.path}{note}")


def add(verbs: shared.Verbs) -> None:
    tag = shared.add_verb(verbs, "tag", "write scores into PNG and JPEG files as ratings", run, description=DESCRIPTION)
    tag.add_argument("paths", metavar="PATH", nargs="+", help="files, folders or quoted patterns")
    tag.add_argument("--scores", metavar="FILE", help=f"results of pscr score ({READABLE}): no image is scored again")
    tag.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    shared.model(tag)
    shared.device(tag)
    shared.batch(tag)
    shared.threads(tag)
    shared.bank(tag)
    shared.max_pixels(tag)
    tag.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: %(default)s")
    shared.quiet(tag, "rows and errors only")


def run(options: argparse.Namespace) -> int:
    """Tag what the command line names; returns 1 where an image has not got what its score says.

    Raises:
        UsageError: nothing to tag, or results that another model gave.
        PscrError: the model, the bank or the device cannot be used.
    """
    left_out: Counter[str] = Counter()
    items = expand(options.paths, left_out)
    if all(item.problem for item in items):
        raise UsageError(f"nothing to tag in {items[0].path}: {items[0].problem}")
    earlier = read_results(Path(options.scores)) if options.scores else None
    counts: Counter[str] = Counter()
    progress = Progress(len(items), options.quiet)
    with (
        interruptible(),
        opened(options, max_pixels=options.max_pixels) as scorer,
    ):
        for result in _results(scorer, items, earlier, options):
            row = _tag(result, scorer.scale, options.dry_run)
            progress.hide()
            out(json.dumps(vars(row)) if options.format == "jsonl" else str(row))
            progress.step()
            counts[row.done] += 1
        progress.hide()
    if not options.quiet:
        done = "would be tagged" if options.dry_run else "tagged"
        rest = f", {in_words(left_out)}" if left_out else ""
        err(f"pscr: {counts['tagged']} {done}, {counts['same']} the same, {counts['failed']} failed{rest}")
    return 1 if counts["failed"] else 0


def _results(
    scorer: Scorer, items: list[Item], earlier: Iterable[Result] | None, options: argparse.Namespace
) -> Iterator[Result]:
    """The result of each image, in order: computed, or of an earlier run.

    Raises:
        UsageError: the earlier run's come from another model.
    """
    if earlier is None:
        yield from in_order(scorer, iter(items), options.batch)
        return
    known = {os.path.abspath(result.path or ""): result for result in earlier}  # noqa: PTH100  links stay links
    promised = [(path, result.score) for path, result in known.items() if result.ok]
    check_same_model(scorer, promised, f"--scores: {options.scores}")
    for item in items:
        found = known.get(os.path.abspath(item.path))  # noqa: PTH100
        missing = item.problem or f"{item.path}: {options.scores} has no result for it; score it first"
        yield found or Result(float("nan"), None, 0, 0, Status.INVALID_ARGUMENT, missing, item.path)


def _tag(result: Result, scale: ScoreScale, dry_run: bool) -> _Row:
    """Tag one image; one that cannot be written stays as it was."""
    path = result.path or ""
    if not result.ok:
        return _Row(path, "failed", message=result.message.removeprefix(f"{path}: "))
    score, rating = round(result.score, 6), scale.stars(result.score)
    try:
        data = read_file(path)
        new, remark = tagged(data, score, rating)
    except PscrError as problem:
        return _Row(path, "failed", score, rating, problem.message.removeprefix(f"{path}: "))
    if new == data:
        return _Row(path, "failed" if remark else "same", score, rating, remark)
    if not dry_run:
        try:
            before = Path(path).stat()
            output_file.write(path, new)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        except OSError as problem:
            return _Row(path, "failed", score, rating, f"cannot be written: {problem.strerror}; it is as it was")
    return _Row(path, "tagged", score, rating, remark)
