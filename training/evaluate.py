"""`pscr evaluate`: how well a model folder's scores agree with databases, through the runtime that ships."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime import output_file
from ..runtime.bank import Bank
from ..runtime.errors import OUTSIDE, PscrError, Status
from ..runtime.families.pscr import exemplars
from ..runtime.models import locate
from ..runtime.scorer import Result, Scorer
from ..runtime.scorer import open as open_scorer
from . import beyond, comparison, databases, peers
from .calibrate import calibrate
from .calibrate import table as calibration_table
from .comparison import Judged, Voice
from .databases import Database
from .evaluate_options import UsageError, check, parser
from .label_files import Item
from .metrics import agreement, agreement_fitted, intervals
from .peers import Peers
from .progress_bar import progress_bar
from .run_plots import scatters
from .terminal import say, visible
from .unseen import chosen, same_scale, warnings, without

USAGE = 2


@dataclass(frozen=True)
class Scored:
    """An image of the database and what the model says of it."""

    item: Item
    result: Result


@dataclass(frozen=True)
class Measured:
    """A database, and its images as each model scored them: [models][images], all of them the same images."""

    database: Database
    title: str
    scored: tuple[list[Scored], ...]

    @property
    def good(self) -> list[int]:
        """The places of the images that every model could score."""
        return [place for place, all_ in enumerate(zip(*self.scored, strict=True)) if all(o.result.ok for o in all_)]

    def scores(self, model: int) -> list[float]:
        """What a model gives those images."""
        return [self.scored[model][place].result.score for place in self.good]

    @property
    def items(self) -> list[Item]:
        """Those images."""
        return [self.scored[0][place].item for place in self.good]

    @property
    def opinions(self) -> list[float]:
        """What people gave those images."""
        return [item.score for item in self.items]


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pscr evaluate`. Returns 0; 1 where images could not be scored; the exit code of an error's status."""
    try:
        arguments = parser().parse_args(argv)
        check(arguments)
        return _evaluate(arguments)
    except UsageError as error:
        say(f"pscr evaluate: error: {visible(error)}\n", sys.stderr)
        return USAGE
    except PscrError as error:
        say(f"pscr evaluate: error: {visible(error)}\n", sys.stderr)
        return OUTSIDE[error.status].exit_code


def _evaluate(given: argparse.Namespace) -> int:
    loaded = [_load(spec, given) for spec in given.data]
    table = peers.read(given.peers) if given.peers else None
    chosen_items = [chosen(database, split) for database, split in zip(loaded, given.split, strict=True)]
    if given.by and not any(given.by in item.groups for found in chosen_items for item in found):
        known = sorted({name for found in chosen_items for item in found for name in item.groups})
        found = f"no image has a {given.by}; expected one of: {', '.join(known) or 'none, there are no groups'}"
        raise PscrError(Status.INVALID_ARGUMENT, f"--by: {found}")
    if table and not any(table.of(found) for found in chosen_items):
        raise PscrError(Status.INVALID_ARGUMENT, f"{table.file}: has no image of the data; is it of another database?")
    with contextlib.ExitStack() as stack:
        folders = [given.model, *filter(None, [given.against])]
        banks = [given.bank, None]
        scorers = [
            stack.enter_context(open_scorer(folder, given.device, given.threads, bank=bank))
            for folder, bank in zip(folders, banks, strict=False)
        ]
        names = _names(scorers, folders, banks)
        kept = [
            _kept(scorers, banks, database, items, split)
            for database, items, split in zip(loaded, chosen_items, given.split, strict=True)
        ]
        scored = [_score_once(scorer, kept) for scorer in scorers]
        raw = same_scale(scorers[0], loaded[0], own_bank=given.bank is None)
    measured = [
        Measured(database, f"{database.name} ({database.label})", each)
        for database, each in zip(loaded, zip(*scored, strict=True), strict=True)
    ]
    failed = _failures(measured, names)
    for line in failed:
        say(f"pscr evaluate: {visible(line)}\n", sys.stderr)
    if len(measured) == 1 and not (given.against or given.by or table):
        figures = _single(measured[0], names[0], given, raw)
    else:
        figures = None
        rows = [row for each in measured for row in _compared(each, names, table, given)]
        say(comparison.table(rows))
    if given.csv:
        text = as_csv(measured, names, given.by or "")
        output_file.write(given.csv, text.encode("utf-8", "surrogateescape"))  # of a path that is not UTF-8 as well
    if given.plot:
        _draw(given.plot, measured, names[0], figures)
    if given.record:
        measured_on = {each.title: (each.scores(0), each.opinions) for each in measured}
        beyond.record(locate(given.model), measured_on, given.seed)
    if given.calibrate:
        spreads = [measured[0].scored[0][place].result.spread for place in measured[0].good]
        protocol = f"held out: {given.split[0].rpartition('/')[2]} of {measured[0].database.name}"
        scores, opinions = measured[0].scores(0), measured[0].opinions
        known_spreads = [spread for spread in spreads if spread is not None]
        whole = known_spreads if len(known_spreads) == len(scores) else None
        say(calibration_table(calibrate(locate(given.model), scores, whole, opinions, protocol, given.calibrate_by)))
    return 1 if failed else 0


def _load(spec: str, given: argparse.Namespace) -> Database:
    spec, label = databases.with_label(spec, given.label)
    by_prompt = given.by == "prompt" and given.group_column
    return databases.load(
        spec,
        label=label,
        path_column=given.path_column,
        score_column=given.score_column,
        group_column=given.group_column,
        more_columns=(given.by,) if given.by and not by_prompt else (),
    )


def _names(scorers: Sequence[Scorer], folders: Sequence[str], banks: Sequence[str | None]) -> list[str]:
    """What the models are called: name and version; what was given for them where that does not tell them apart."""
    names = [f"{scorer.manifest.name} {scorer.manifest.version}" for scorer in scorers]
    if len(set(names)) < len(names):
        names = list(folders)
    names = [f"{name} with {Path(bank).name}" if bank else name for name, bank in zip(names, banks, strict=False)]
    return names if len(set(names)) == len(names) else [f"{name} ({place})" for place, name in enumerate(names, 1)]


def _kept(
    scorers: Sequence[Scorer], banks: Sequence[str | None], database: Database, items: Sequence[Item], split: str
) -> list[Item]:
    """The images that are no exemplar of any of the models; what the reader must know of them goes to stderr."""
    kept = list(items)
    notes = list(database.notes)
    for scorer, bank in zip(scorers, banks, strict=False):
        before = len(kept)
        own = Path(scorer.info["folder"]) / "bank.npz"  # those images trained it, whichever bank votes
        trained = Bank.read(own).names if bank and own.is_file() else ()
        kept = without(kept, [*exemplars(scorer.head), *trained])
        notes += warnings(scorer.manifest, database, split, before - len(kept), own_bank=bank is None)
    for note in notes:
        say(f"pscr evaluate: warning: {visible(note)}\n", sys.stderr)
    return kept


def _score_once(scorer: Scorer, lists: Sequence[Sequence[Item]]) -> list[list[Scored]]:
    """Score the images of each list; one that stands in several, with another label, is looked at once."""
    different = {item.path: item for items in lists for item in items}
    results = {one.item.path: one.result for one in score(scorer, list(different.values()))}
    return [[Scored(item, results[item.path]) for item in items] for items in lists]


def _failures(measured: Sequence[Measured], names: Sequence[str]) -> list[str]:
    """A line for each image that a model could not score."""
    found: dict[str, None] = {}  # as an ordered set
    for each in measured:
        for name, scored in zip(names, each.scored, strict=True):
            for one in scored:
                if not one.result.ok:
                    who = f"{name}: " if len(names) > 1 else ""
                    found[f"{who}{one.item.path}: {one.result.status.name}: {one.result.message}"] = None
    return list(found)


def _single(each: Measured, name: str, given: argparse.Namespace, raw: bool) -> dict[str, float]:
    """Write the table of one model on one database; returns its figures."""
    scores, opinions = each.scores(0), each.opinions
    figures = {**agreement(scores, opinions), **agreement_fitted(scores, opinions)}
    bounds = intervals(scores, opinions, given.resamples, given.seed)
    title = f"{name} on {len(scores)} images of {each.title}"
    say(comparison.short_table(title, figures, bounds, raw))
    return figures


def _compared(
    each: Measured, names: Sequence[str], table: Peers | None, given: argparse.Namespace
) -> list[comparison.Row]:
    """The rows of a database in the large table."""
    items = each.items
    models = tuple(Voice(name, np.array(each.scores(place))) for place, name in enumerate(names))
    others = np.array(table.of(items) if table else []).reshape(len(items), -1).T
    voices = tuple(Voice(name, scores) for name, scores in zip(table.names if table else (), others, strict=False))
    groups = tuple(item.groups[given.by] for item in items if given.by in item.groups)
    judged = Judged(f"{each.title}, {len(items)} images", np.array(each.opinions), models, voices, groups)
    return comparison.compare(judged, given.by or "", given.resamples, given.seed)


def _draw(file: Path, measured: Sequence[Measured], name: str, figures: dict[str, float] | None) -> None:
    panels = []
    for each in measured:
        scores, opinions = each.scores(0), each.opinions
        found = figures or {**agreement(scores, opinions), **agreement_fitted(scores, opinions)}
        panels.append((scores, opinions, f"{name} on {len(scores)} images of {each.title}", found))
    scatters(file, panels)


def score(scorer: Scorer, items: Sequence[Item]) -> list[Scored]:
    """Score the images, in order."""
    results = scorer.score_many(item.path for item in items)
    pairs = zip(items, progress_bar(results, len(items), "scoring"), strict=True)
    return [Scored(item, result) for item, result in pairs]


def as_csv(measured: Sequence[Measured], names: Sequence[str], by: str = "") -> str:
    """Rows of path, opinion, score, spread, model, database, group.

    Score and spread are empty where an image could not be scored; the group is where images are not grouped `by` one.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "opinion", "score", "spread", "model", "database", "group"))
    for each in measured:
        for name, scored in zip(names, each.scored, strict=True):
            for one in scored:
                spread = one.result.spread
                found = (f"{one.result.score:.6f}" * one.result.ok, "" if spread is None else f"{spread:.6f}")
                tail = (name, each.title, one.item.groups.get(by, ""))
                writer.writerow((one.item.path, f"{one.item.score:.6f}", *found, *tail))
    return text.getvalue()


if __name__ == "__main__":
    sys.exit(main())
