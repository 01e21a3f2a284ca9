"""The table of `pscr evaluate`: models and other metrics on several databases, by group and within groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .logistic import Floats
from .metrics import MEASURES, agreement, agreement_fitted, intervals, paired, within_groups
from .run_plots import NAMES
from .terminal import visible

SHOWN = ("srcc", "krcc", "plcc", "plcc_fitted", "rmse_fitted")
FEWEST_LISTED = 10  # images of a group that has rows of its own
_WIDTH = 15
_LONGEST = 40  # characters of a name
_NOTE = (
    "Below each figure its 95 % bootstrap interval. Fitted: after the four-parameter logistic curve of that row's own\n"
    "scores. A negative SRCC, KRCC or PLCC is that of a metric whose lower values are the better ones, or of no use.\n"
)
_WITHIN = (
    "Within: the mean of the groups' SRCC, weighted by their images; what tells the groups apart does not count.\n"
)


@dataclass(frozen=True)
class Voice:
    """Whoever gives images a number, a model or another metric, and the numbers [N]."""

    name: str
    scores: Floats


@dataclass(frozen=True)
class Judged:
    """A database's images that every voice has given a number.

    title: of the database, with its label. opinion: what people said [N]. models: one, or two that are compared.
    peers: other metrics. groups: the group of each image [N]; empty where they are not divided.
    """

    title: str
    opinion: Floats
    models: tuple[Voice, ...]
    peers: tuple[Voice, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A line of the table: figures by measure, each with its lowest and highest value; a heading has none.

    signed: it is a difference.
    """

    name: str
    images: int = 0
    figures: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    signed: bool = False


def compare(judged: Judged, by: str, resamples: int, seed: int) -> list[Row]:
    """The rows of a database: each voice on all images, the models on each group, each voice within groups.

    by: what the groups are, for their headings. resamples, seed: as `metrics.intervals` has them.

    Raises:
        PscrError: INVALID_ARGUMENT for fewer than two images.
    """
    rows = [Row(judged.title)]
    everything = np.arange(len(judged.opinion))
    rows += _rows(judged, everything, (*judged.models, *judged.peers), resamples, seed)
    if not judged.groups:
        return rows
    names = np.array(judged.groups, object)
    small = 0
    for name in sorted(set(judged.groups)):
        chosen = np.flatnonzero(names == name)
        if len(chosen) < FEWEST_LISTED:
            small += 1
            continue
        rows.append(Row(f" {by} {name}"))
        rows += _rows(judged, chosen, judged.models, resamples, seed)
    if small:
        rows.append(
            Row(f" ({small} of {len(set(judged.groups))} with fewer than {FEWEST_LISTED} images are not listed)")
        )
    return rows + list(_within(judged, by, resamples, seed))


def table(rows: Sequence[Row]) -> str:
    """The rows under a header, what does not print in their names made visible."""
    names = [_short(row.name) if row.figures else visible(row.name) for row in rows]
    width = max(len(name) for name, row in zip(names, rows, strict=True) if row.figures) + 2
    header = "".join(f"{NAMES[measure]:>{_WIDTH}}" for measure in SHOWN)
    lines = [f"{'':<{width}} {'images':>6}{header}"]
    for name, row in zip(names, rows, strict=True):
        if not row.figures:
            lines += [name] if name.startswith(" ") else ["", name]
            continue
        values = "".join(f"{_value(row, measure):>{_WIDTH}}" for measure in SHOWN)
        bounds = "".join(f"{_interval(row, measure):>{_WIDTH}}" for measure in SHOWN)
        lines += [f"{'  ' + name:<{width}} {row.images:>6}{values}".rstrip(), f"{'':<{width}} {'':>6}{bounds}".rstrip()]
    notes = _NOTE + (_WITHIN if any(row.name.startswith(" within ") for row in rows) else "")
    return "\n".join(lines) + "\n\n" + notes


def _rows(judged: Judged, chosen: np.ndarray, voices: Sequence[Voice], resamples: int, seed: int) -> Iterator[Row]:
    """A row for each voice on the chosen images, and one for the difference of two models."""
    opinion = judged.opinion[chosen]
    for voice in voices:
        scores = voice.scores[chosen]
        figures = {**agreement(scores, opinion), **agreement_fitted(scores, opinion)}
        bounds = intervals(scores, opinion, resamples, seed, measures=SHOWN)
        yield Row(voice.name, len(chosen), {name: (figures[name], *bounds[name]) for name in SHOWN})
        if len(judged.models) == 2 and voice is judged.models[1]:
            first, second = (model.scores[chosen] for model in judged.models)
            found = paired(first, second, opinion, resamples, seed, measures=SHOWN)
            differences = {name: (one.value, one.low, one.high) for name, one in found.items()}
            yield Row("the first less the second", len(chosen), differences, signed=True)


def _within(judged: Judged, by: str, resamples: int, seed: int) -> Iterator[Row]:
    """The mean of the groups' rank correlations, of each voice and of the difference of two models."""
    rows = []
    groups = 0
    for voice in (*judged.models, *judged.peers):
        found = within_groups(voice.scores, judged.opinion, judged.groups, resamples, seed)
        groups = max(groups, found.groups)
        rows.append(Row(voice.name, found.images, {"srcc": (found.value, found.low, found.high)}))
        if len(judged.models) == 2 and voice is judged.models[1]:
            first, second = (model.scores for model in judged.models)
            found = within_groups(first, judged.opinion, judged.groups, resamples, seed, minus=second)
            difference = (found.value, found.low, found.high)
            rows.append(Row("the first less the second", found.images, {"srcc": difference}, signed=True))
    yield Row(f" within {by} ({groups} groups)")
    yield from rows


def short_table(title: str, figures: dict[str, float], bounds: dict[str, tuple[float, float]], raw: bool = True) -> str:
    """The figures and their intervals of one model on one database, a line each.

    raw: also the RMSE of the scores as they are, which means something where model and database share a scale.
    """
    lines = [visible(title), f"{'':<13} {'value':>8}  95 % interval"]
    for measure in (name for name in MEASURES if raw or name != "rmse"):
        low, high = bounds[measure]
        interval = "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        value = "-" if math.isnan(figures[measure]) else f"{figures[measure]:.4f}"
        lines.append(f"{NAMES[measure]:<13} {value:>8}  {interval}")
    if math.isnan(figures["plcc_fitted"]):
        lines.append("fitted: the four-parameter logistic curve could not be fitted to these scores")
    return "\n".join(lines) + "\n"


def _value(row: Row, measure: str) -> str:
    if measure not in row.figures:
        return ""
    value = row.figures[measure][0]
    if math.isnan(value):
        return "-"
    digits = 1 if abs(value) >= 10 else 3
    value = round(value, digits) + 0.0  # never -0
    return f"{value:+.{digits}f}" if row.signed else f"{value:.{digits}f}"


def _interval(row: Row, measure: str) -> str:
    """Without the zero before the point, as papers print correlations; a difference has a digit more."""
    if measure not in row.figures or math.isnan(row.figures[measure][1]):
        return ""
    digits = 3 if row.signed else 2
    bounds = row.figures[measure][1:]
    if max(map(abs, bounds)) >= 10:
        digits = 1
    rounded = [f"{round(bound, digits) + 0.0:.{digits}f}" for bound in bounds]  # never -0
    return " to ".join(
        bound.replace("0.", ".", 1) if bound.lstrip("-").startswith("0.") else bound for bound in rounded
    )


def _short(name: str) -> str:
    text = visible(name)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
