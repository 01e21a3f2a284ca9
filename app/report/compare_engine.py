"""`pscr compare`: from its options to the verdict."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

from ..console import UsageError, columns, err, interruptible, one_line, out
from ..tables.scoring import check_same_model
from ..voting import opened
from .score_sets import Asked, ScoreSet, read_set, score_set, scored
from .two_sets import Change, Verdict, by_group, change


def run(options: argparse.Namespace) -> int:
    """Compare the two sets that the command line names; returns 1 where --fail-if-worse finds the second worse.

    Raises:
        UsageError: nothing to compare, a column that is not there, or results of another model.
        PscrError: the model or the device cannot be used.
    """
    asked = Asked(options.pair_by, options.by, options.columns and Path(options.columns), options.path_column)
    if asked.file and not asked.columns:
        raise UsageError(
            "--columns goes with --pair-by COLUMN or --by COLUMN, which name what it is asked for; add one"
        )
    names = (options.before, options.after)
    there = [read_set(name, asked) for name in names]
    with (
        interruptible(),
        opened(options, max_pixels=options.max_pixels) as scorer,
    ):
        scale = scorer.scale
        for given in () if options.no_check else filter(None, there):
            otherwise = ", or --no-check where images have changed since"
            check_same_model(scorer, given.promised, given.name, otherwise)
        sets = [
            score_set(name, scorer, options.quiet) if given is None else given
            for name, given in zip(names, there, strict=True)
        ]
    before, after = (scored(given, asked) for given in sets)
    how = {
        "paired": asked.key is not None,
        "higher_is_better": scale.higher_is_better,
        "margin": options.margin,
    }
    whole = change(before, after, **how)
    if whole.pairs is not None and whole.pairs < 2:
        found = f"--pair-by {asked.key}: {whole.pairs} of its values are in both sets"
        raise UsageError(f"{found}; expected two or more, or leave --pair-by out")
    groups = by_group(before, after, **how) if asked.group else {}
    if options.json:
        named = {name: one.to_dict() for name, one in groups.items()}
        direction = {"higher_is_better": scale.higher_is_better, "margin": options.margin}
        out(json.dumps({**direction, **whole.to_dict(), **({"groups": named} if asked.group else {})}))
    else:
        for line in _lines(sets, whole, str(scale), options.margin):
            out(line)
        if groups:
            out()
            for line in _table(options.by, groups):
                out(line)
    for given in sets:
        if given.failed and not options.quiet:
            err(f"pscr: {given.name}: {given.failed} images without a score are left out")
    return 1 if options.fail_if_worse and whole.verdict is Verdict.WORSE else 0


def _lines(sets: list[ScoreSet], found: Change, scale: str, margin: float) -> Iterator[str]:
    """The comparison in words."""
    yield f"scores of {scale}"
    for word, given, count, mean in zip(("before", "after"), sets, found.counts, found.means, strict=True):
        yield f"{word:<12}{mean:.3f}  mean of {count} images, {one_line(given.name)}"
    pairs = "" if found.pairs is None else f", over {found.pairs} pairs; {found.left_out} images have no counterpart"
    low, high = (_figure(bound, "+.3f") for bound in found.difference[1:])
    yield f"{'difference':<12}{found.difference.value:+.3f}  95 % interval {low} to {high}{pairs}"
    low, high = (_figure(bound, ".1%") for bound in found.beats[1:])
    yield f"{'probability':<12}{found.beats.value:.1%}  that an image of after beats one of before, {low} to {high}"
    yield f"{'verdict':<12}{_words(found.verdict, margin)}"


def _words(verdict: Verdict, margin: float) -> str:
    if verdict is Verdict.TOO_FEW:
        return "too few images to tell"
    more = f" of more than {margin:g}" if margin else ""
    if verdict is Verdict.NONE:
        return f"no difference{more} that these images tell"
    return f"after is {verdict.value}{f', by more than {margin:g}' if margin else ''}"


def _table(column: str, groups: dict[str, Change]) -> list[str]:
    """A line for each group; their intervals hold each by itself."""
    header = (f"by {one_line(column)}", "n", "n", "before", "after", "difference", "from", "to", "after")
    rows: list[tuple[str, ...]] = [header]
    for name, one in groups.items():
        means = (_figure(mean, ".3f") for mean in one.means)
        difference = (_figure(bound, "+.3f") for bound in one.difference)
        rows.append((one_line(name), *map(str, one.counts), *means, *difference, one.verdict.value))
    return columns(rows, frozenset(range(1, 8)))


def _figure(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"
