"""Plots of result files, drawn with matplotlib, which is imported where something is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..runtime.libraries import spare_home
from .statistics import percentile

COLOURS = ("#1f5fa8", "#c8501e", "#3b8a4f", "#7a4fa3", "#8a6d1f", "#444444")
SHARES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
Series = tuple[str, Sequence[float], Sequence[float]]


def latencies(file: Path, rows: Sequence[dict[str, Any]], title: str) -> None:
    """Latency at each percentile, a line for each row; rows have scenario, setting and samples_ms."""
    figure, (axes,) = _figure(title, 1)
    for row, colour in zip(rows, COLOURS * len(rows), strict=False):
        values = [percentile(row["samples_ms"], share) for share in SHARES]
        label = f"{row['scenario']}, {row['setting']}"
        axes.plot(range(len(SHARES)), values, marker=".", color=colour, label=label)
    axes.set_xticks(range(len(SHARES)), [f"{share:g}" for share in SHARES])
    axes.set_xlabel("percentile")
    axes.set_ylabel("ms a query (offline: from result to result)")
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=150)


def bars(file: Path, labels: Sequence[str], values: Sequence[float], unit: str, title: str, log: bool = False) -> None:
    """A horizontal bar for each label, the first on top, with its value beside it."""
    figure, (axes,) = _figure(title, 1)
    drawn = axes.barh(labels, values, color=COLOURS[0])
    axes.bar_label(
        drawn, [f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values], padding=3, fontsize=8
    )
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.15)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(right=2.5 * max(values))
    figure.savefig(file, dpi=150)


def lines(file: Path, panels: Sequence[tuple[str, str, Sequence[Series]]], title: str) -> None:
    """A panel below the other for each (x label, y label, lines), a line being a label, its x and its y."""
    figure, places = _figure(title, len(panels))
    for axes, (x_label, y_label, series) in zip(places, panels, strict=True):
        for (label, x, y), colour in zip(series, COLOURS, strict=False):
            axes.plot(x, y, marker=".", color=colour, label=label)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_ylim(bottom=0)
        if len(series) > 1:
            axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=150)


def points(file: Path, labels: Sequence[str], x: Sequence[float], y: Sequence[float], axis: Sequence[str]) -> None:
    """A named point for each label; axis: the names of x and y."""
    figure, (axes,) = _figure(f"{axis[1]} against {axis[0]}", 1)
    axes.scatter(x, y, color=COLOURS[0])
    axes.set_xlabel(axis[0])
    axes.set_ylabel(axis[1])
    axes.margins(x=0.2)
    notes = [
        axes.annotate(label, (across, up), xytext=(4, 4), textcoords="offset points", fontsize=8)
        for label, across, up in zip(labels, x, y, strict=True)
    ]
    _apart(figure, axes, notes)
    figure.savefig(file, dpi=150)


def _apart(figure: Any, axes: Any, notes: Sequence[Any]) -> None:
    """Move the notes of points: to the left where one would leave the axes, and down until it covers no other."""
    figure.draw_without_rendering()
    placed: list[Any] = []
    for note in notes:
        if note.get_window_extent().x1 > axes.get_window_extent().x1:
            note.set_horizontalalignment("right")
            note.set_position((-4, 4))
        for _ in notes:
            if not any(note.get_window_extent().overlaps(other) for other in placed):
                break
            across, up = note.get_position()
            note.set_position((across, up - 10))
        placed.append(note.get_window_extent())


def _figure(title: str, panels: int) -> tuple[Any, list[Any]]:
    spare_home()
    from matplotlib.figure import Figure  # the object interface: no display, no global state

    figure = Figure(figsize=(7.2, 3.2 + 1.6 * panels), layout="constrained")
    places = list(figure.subplots(panels, 1, squeeze=False)[:, 0])
    figure.suptitle(title, fontsize=10)
    for axes in places:
        axes.grid(alpha=0.25)
    return figure, places
