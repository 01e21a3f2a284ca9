"""The page's plots: drawn by matplotlib, inlined as SVG, with text as text and the page's own colours."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .statistics import Group
from .words import shorter, visible

# Colours that are drawn with, and the page's own that take their place: so a plot follows the page into dark mode.
_INK, _GRID, _FILL, _MARK = "#010101", "#020202", "#030303", "#040404"
_ON_PAGE = {_INK: "currentColor", _GRID: "var(--line)", _FILL: "var(--accent)", _MARK: "var(--mark)"}
_WIDTH = 5.2  # inches of 72 units; narrow, so that its text is still read on a phone
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pscr",  # the same plot has the same names of its parts
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: text is measured alike everywhere
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.parse_math": False,  # a "$" in a name is a "$"
}
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10)
_MOST_BARS = 40
_MOST_DOTS = 60  # of a curve; above, the line alone


def histogram(scores: Sequence[float], scale: tuple[float, float], unit: str) -> str:
    """How many images have which score. scores: one or more. scale: lowest and highest opinion score. unit: of x."""
    values = np.asarray(scores, np.float64)
    edges = _edges(values, scale)
    counts = np.histogram(values, edges)[0]
    top, median = int(counts.argmax()), float(np.median(values))
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = _figure(2.9)
        axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=_FILL)
        axes.axvline(median, color=_MARK, linewidth=2)
        axes.annotate(
            f"median {median:.2f}", (median, 1), (5, -2), ("data", "axes fraction"), "offset points", va="top"
        )
        axes.set_xlabel(unit)
        axes.set_ylabel("images")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y")
        axes.set_ylim(0, counts.max() * 1.18)
        words = (
            f"{len(values)} images from {values.min():.2f} to {values.max():.2f}, median {median:.2f}; the fullest "
            f"bar, {edges[top]:.2f} to {edges[top + 1]:.2f}, has {counts[top]}."
        )
        return _svg(figure, "histogram", "How many images have which score", words)


def groups(rows: Sequence[Group], scores: Sequence[Sequence[float]], scale: tuple[float, float], unit: str) -> str:
    """A row for each group: how its scores lie, its mean and the interval of its mean. scores: those of each row."""
    edges = _edges(np.concatenate([np.asarray(one, np.float64) for one in scores]), scale)
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = _figure(0.9 + 0.75 * len(rows))
        for place, (group, values) in enumerate(zip(rows, scores, strict=True)):
            counts = np.histogram(values, edges)[0]
            height = 0.55 * counts / max(counts.max(), 1)
            axes.bar(edges[:-1], -height, np.diff(edges), place, align="edge", color=_FILL, alpha=0.45)
            axes.axhline(place, color=_GRID, linewidth=1, zorder=1)
            low, high = group.mean.low, group.mean.high
            if math.isfinite(low):
                axes.barh(place, high - low, 0.16, low, color=_MARK, zorder=3)
            axes.plot([group.mean.value] * 2, [place - 0.14, place + 0.14], color=_INK, linewidth=1.5, zorder=4)
            for across, aside, text in ((0, "left", shorter(group.name, 40)), (1, "right", f"{group.mean.value:.2f}")):
                at, shift = ("axes fraction", "data"), (2 - 4 * across, 0)
                axes.annotate(text, (across, place - 0.62), shift, at, "offset points", va="bottom", ha=aside)
        axes.set_ylim(len(rows) - 0.75, -1.05)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        axes.set_xlabel(unit)
        words = "; ".join(f"{visible(group.name)}: {group.mean.value:.2f}" for group in rows)
        return _svg(figure, "groups", "Scores of each group, and its mean", f"Means, the best first: {words}.")


def curve(
    times: Sequence[float],
    scores: Sequence[float],
    lowest: tuple[float, float],
    scale: tuple[float, float],
    unit: str,
    name: str,
) -> str:
    """How a clip's score runs. times: seconds of the frames; lowest: time and score of one. name: as in `_svg`."""
    low, high = min(scores), max(scores)
    room = max((scale[1] - scale[0]) / 10 - (high - low), (high - low) / 4) / 2  # what hardly moves looks so
    mean = math.fsum(scores) / len(scores)
    with matplotlib.rc_context(_SETTINGS):
        figure, axes = _figure(2.2)
        axes.axhline(mean, color=_INK, linewidth=1, linestyle="--")
        axes.axvline(lowest[0], color=_MARK, linewidth=1)
        axes.plot(
            times, scores, color=_FILL, linewidth=1.5, marker="o" if len(scores) <= _MOST_DOTS else "", markersize=4
        )
        axes.plot(*lowest, color=_MARK, marker="o", markersize=8)
        axes.set_ylim(low - room, high + 2 * room)
        is_late = 2 * lowest[0] > times[0] + times[-1]
        axes.annotate(
            f"lowest {lowest[1]:.2f} at {lowest[0]:.2f} s",
            (lowest[0], 1),
            (-5 if is_late else 5, -2),
            ("data", "axes fraction"),
            "offset points",
            va="top",
            ha="right" if is_late else "left",
        )
        axes.set_xlabel("seconds")
        axes.set_ylabel("score")
        axes.grid(axis="y")
        words = (
            f"{len(scores)} frames from {times[0]:.2f} to {times[-1]:.2f} s; {unit}: mean {mean:.2f}, "
            f"lowest {lowest[1]:.2f} at {lowest[0]:.2f} s, highest {high:.2f}."
        )
        return _svg(figure, name, "Score over time", words)


def _edges(values: Any, scale: tuple[float, float]) -> Any:
    """The limits of bars of a round width over all values, from the scale's ends where those are near."""
    low, high = float(values.min()), float(values.max())
    wide = max(high - low, (scale[1] - scale[0]) / 4, 1e-6)
    low, high = max(low - wide / 3, min(scale[0], low)), min(high + wide / 3, max(scale[1], high))
    most = min(max(2 * math.isqrt(values.size), 10), _MOST_BARS)
    step = next((step for step in _STEPS if (high - low) / step <= most), (high - low) / most)
    first, last = math.floor(low / step), math.ceil(high / step)
    return np.arange(first, max(last, first + 1) + 1) * step


def _figure(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def _svg(figure: Figure, name: str, title: str, words: str) -> str:
    """The figure as an element of an HTML page. name: begins its ids. title, words: what a screen reader says."""
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has other fonts
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(drawn.getvalue())
    for parent in list(root.iter()):
        for child in [child for child in parent if _local(child.tag) in ("metadata", "style")]:
            parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        entries = {_local(key): value for key, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update({key: _on_page(name, key, value) for key, value in entries.items()})
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {
        "class": "plot",
        "role": "img",
        "aria-labelledby": f"{name}-title",
        "aria-describedby": f"{name}-words",
    }
    for key, text in (("desc", words), ("title", title)):
        element = ElementTree.Element(key, {"id": f"{name}-{'words' if key == 'desc' else 'title'}"})
        element.text = text
        root.insert(0, element)
    return ElementTree.tostring(root, encoding="unicode")


def _on_page(name: str, key: str, value: str) -> str:
    """An attribute's value with names that no other plot has, and with the page's colours and font."""
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return value.replace("#", f"#{name}-", 1)
    if key in ("style", "clip-path"):
        value = value.replace("url(#", f"url(#{name}-")
        value = re.sub("|".join(_ON_PAGE), lambda colour: _ON_PAGE[colour.group()], value)
        value = re.sub(
            r"font: ([0-9.]+px)[^;]*", r"font-size: \1", value
        )  # one property or two: by matplotlib's version
        value = re.sub(r"font-family: [^;]*;? *", "", value)
    return value


def _local(name: str) -> str:
    """A tag or attribute without its namespace, which an HTML page gives by itself."""
    return name.rpartition("}")[2]
