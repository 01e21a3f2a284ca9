"""`pscr evaluate`: how well a model folder's scores agree with a database, through the runtime that ships."""

from __future__ import annotations

import argparse
import csv
import io
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.bank import Bank
from ..runtime.errors import PscrError, Status
from ..runtime.manifest import Manifest
from ..runtime.models import locate
from ..runtime.scorer import Result, Scorer
from ..runtime.scorer import open as open_scorer
from . import databases, splits
from .calibrate import calibrate
from .calibrate import table as calibration_table
from .databases import Database, Item
from .metrics import MEASURES, agreement, agreement_fitted, intervals
from .plots import NAMES, check_plot, scatter
from .progress import progress

UNUSABLE = (Status.MODEL_INVALID, Status.DEVICE_UNAVAILABLE, Status.ENGINE_INCOMPATIBLE)


@dataclass(frozen=True)
class Scored:
    """An image of the database and what the model says of it."""

    item: Item
    result: Result


def parser() -> argparse.ArgumentParser:
    """The command line of `pscr evaluate`."""
    result = argparse.ArgumentParser(
        prog="pscr evaluate",
        description="Score a database with a model and compare with its opinion scores: rank and linear correlations, "
        "raw and after a four-parameter logistic curve, and errors, each with a 95 %% bootstrap interval. The bank's "
        "own exemplars are left out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add("model", metavar="MODEL", help="a model's name ('pscr models' lists them) or its folder")
    add("--data", required=True, help=databases.EXPECTED)
    add("--label", default="quality", help="what the scores judge; see 'pscr train --help'")
    add(
        "--split",
        default="all",
        help="all; a part of a split that pscr train wrote: RUN/split.json:val; or the part that pscr train holds out, "
        "made again: image:0.2:SEED or prompt:0.2:SEED",
    )
    add(
        "--calibrate",
        action="store_true",
        help="measure on these images, which must not have trained the model, what its spread stands for; writes "
        "'calibration' into the model's manifest and reliability.png beside it",
    )
    add("--csv", type=Path, default=None, metavar="FILE", help="write path, opinion, score and spread of each image")
    add("--plot", type=Path, default=None, metavar="FILE", help="draw scores against opinions, with the fitted curve")
    add("--resamples", type=int, default=1000, help="resamples of the intervals")
    add("--seed", type=int, default=0, help="decides the resamples")
    add("--device", default="auto", help="auto, cpu or cuda[:N]; only auto chooses for itself")
    add("--threads", type=int, default=None, help="CPU threads (default: every core)")
    columns = result.add_argument_group("columns of a csv: file")
    columns.add_argument("--path-column", default="path", help="image files, relative to the CSV file")
    columns.add_argument("--score-column", default="score", help="opinion scores")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pscr evaluate`. Returns the exit code: 0; 1 for data that cannot be used, or images that could not be
    scored; 3 for a model or device that cannot.
    """
    arguments = parser().parse_args(argv)
    try:
        return _evaluate(arguments)
    except PscrError as error:
        sys.stderr.write(f"pscr evaluate: error: {error}\n")
        return 3 if error.status in UNUSABLE else 1


def _evaluate(arguments: argparse.Namespace) -> int:
    for file in filter(None, (arguments.csv, arguments.plot)):
        if not file.parent.is_dir():
            raise PscrError(Status.FILE_NOT_FOUND, f"{file}: there is no folder {file.parent}; make it first")
    if arguments.calibrate and arguments.split == "all":
        found = "--calibrate needs images that did not train the model"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; choose them with --split RUN/split.json:val")
    if arguments.plot:
        check_plot(arguments.plot)  # before an hour of scoring
    database = databases.load(
        arguments.data,
        label=arguments.label,
        path_column=arguments.path_column,
        score_column=arguments.score_column,
    )
    with open_scorer(arguments.model, arguments.device, arguments.threads) as scorer:
        manifest = scorer.manifest
        items = chosen(database, arguments.split)
        kept = without(items, Bank.read(locate(arguments.model) / "bank.npz").names)
        for warning in [*database.notes, *warnings(manifest, database, arguments.split, len(items) - len(kept))]:
            sys.stderr.write(f"pscr evaluate: warning: {warning}\n")
        scored = score(scorer, kept)
    failed = [one for one in scored if not one.result.ok]
    good = [one for one in scored if one.result.ok]
    for one in failed:
        sys.stderr.write(f"pscr evaluate: {one.item.path}: {one.result.status.name}: {one.result.message}\n")
    if arguments.csv:
        arguments.csv.write_text(as_csv(scored), "utf-8", newline="")
    predicted, opinion = [one.result.score for one in good], [one.item.score for one in good]
    figures = {**agreement(predicted, opinion), **agreement_fitted(predicted, opinion)}
    bounds = intervals(predicted, opinion, arguments.resamples, arguments.seed)
    title = f"{manifest.name} {manifest.version} on {len(good)} images of {database.name} ({database.label})"
    sys.stdout.write(table(title, figures, bounds))
    if arguments.plot:
        scatter(arguments.plot, predicted, opinion, title, figures)
    if arguments.calibrate:
        spreads = [one.result.spread for one in good]
        protocol = f"held out: {arguments.split.rpartition('/')[2]} of {database.name}"
        sys.stdout.write(calibration_table(calibrate(locate(arguments.model), predicted, spreads, opinion, protocol)))
    return 1 if failed else 0


def chosen(database: Database, split: str) -> list[Item]:
    """The images that `split` names, in the database's order: "all", "FILE:PART" of a split.json, or
    "image:FRACTION:SEED" for the part that `pscr train --split-by image --val FRACTION --seed SEED` holds out.

    Raises:
        PscrError: FILE_NOT_FOUND or INVALID_ARGUMENT: no such file or part, or one of another database.
    """
    if split == "all":
        return list(database.items)
    made = re.fullmatch(r"(image|prompt):(0\.\d+):(\d+)", split)
    if made:
        held_out = splits.split(database.items, made[1], float(made[2]), int(made[3]))[1]
        return [database.items[place] for place in held_out]
    file, _, part = split.rpartition(":")
    if not file:
        raise PscrError(Status.INVALID_ARGUMENT, f"split {split!r} is not known; expected all or RUN/split.json:val")
    return [database.items[index] for index in splits.read(Path(file), database.items, part)[part]]


def without(items: Sequence[Item], exemplars: Sequence[str]) -> list[Item]:
    """The images that are no exemplars: none whose path ends in an exemplar's name, folders included where it has any.

    A bank keeps names as its database's label file had them, so only the end of a path can be compared.
    """
    ends = {Path(name).parts for name in exemplars}
    lengths = sorted({len(end) for end in ends})
    return [item for item in items if not any(item.path.parts[-length:] in ends for length in lengths)]


def unseen(scorer: Scorer, items: Sequence[Item]) -> None:
    """See that none of the images is an exemplar of the model, as it would be had it trained.

    Raises:
        PscrError: INVALID_ARGUMENT naming the first that is.
    """
    kept = set(without(items, scorer.bank.names))
    seen = [item.name for item in items if item not in kept]
    if seen:
        raise PscrError(
            Status.INVALID_ARGUMENT,
            f"{scorer.manifest.name} has {len(seen)} of the {len(items)} held-out images in its bank ({seen[0]} is the "
            "first); give a model that was trained without them",
        )


def warnings(manifest: Manifest, database: Database, split: str, left_out: int) -> list[str]:
    """What a reader of the figures must know of how they came about, in whole sentences."""
    found = []
    if left_out:
        found.append(f"{left_out} images are left out: the model's bank has exemplars of the same name")
    if split == "all" and (left_out or manifest.training.get("database") == database.name):
        found.append(
            f"{manifest.name} was trained on images of {manifest.training.get('database')}, and figures on images that "
            "trained it flatter it; choose others with --split RUN/split.json:val"
        )
    if manifest.score.database == database.name and database.meaning not in manifest.score.meaning:
        found.append(f"the model predicts the {manifest.score.meaning}, these labels are the {database.meaning}")
    return found


def score(scorer: Scorer, items: Sequence[Item]) -> list[Scored]:
    """Score the images, in order."""
    results = scorer.score_many(item.path for item in items)
    pairs = zip(items, progress(results, len(items), "scoring"), strict=True)
    return [Scored(item, result) for item, result in pairs]


def as_csv(scored: Sequence[Scored]) -> str:
    """Rows of path, opinion, score, spread; the last two are empty where an image could not be scored."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "opinion", "score", "spread"))
    for one in scored:
        found = (f"{one.result.score:.6f}", f"{one.result.spread:.6f}") if one.result.ok else ("", "")
        writer.writerow((one.item.path, f"{one.item.score:.6f}", *found))
    return text.getvalue()


def table(title: str, figures: dict[str, float], bounds: dict[str, tuple[float, float]]) -> str:
    """The figures and their intervals, a line each."""
    lines = [title, f"{'':<13} {'value':>8}  95 % interval"]
    for measure in MEASURES:
        low, high = bounds[measure]
        interval = "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        value = "-" if math.isnan(figures[measure]) else f"{figures[measure]:.4f}"
        lines.append(f"{NAMES[measure]:<13} {value:>8}  {interval}")
    if math.isnan(figures["plcc_fitted"]):
        lines.append("fitted: the four-parameter logistic curve could not be fitted to these scores")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
