"""One HTML page out of a report: nothing is loaded from anywhere, and a policy in the page itself forbids it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup

from .data import Image
from .film_strip import StripFrame
from .pictures import sides, uri
from .statistics import Comparison
from .words import visible

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """An image as a row of the table. path: below the report's common folder. bounds: its interval, or its spread."""

    image: Image
    path: str
    bounds: str
    message: str


@dataclass(frozen=True)
class Card:
    """An image that is shown large. picture, map: WebP files, or nothing. map_words: the map in words, or why none.

    looks_like: its diagnosis in words, or nothing. note: what the picture is, where it is not the image.
    """

    image: Image
    path: str
    bounds: str
    picture: bytes = b""
    map: bytes = b""
    map_words: str = ""
    looks_like: str = ""
    note: str = ""


@dataclass(frozen=True)
class Clip:
    """A clip with how its score runs: an SVG element, and some of its frames."""

    row: Row
    curve: str
    frames: Sequence[StripFrame]


@dataclass(frozen=True)
class Report:
    """All that stands on the page; the words are complete, histogram and group_plot are SVG elements.

    below: the folder that all paths are below, or nothing. bounds_name: what the rows'
    bounds are.
    matrix [G,G]: the probability that the row's group beats the column's; None on the diagonal. matched: what the pairs
    are matched by, in the plural, or nothing. map_scale, map_colours: the scores at the ends of the quality maps'
    colours, and the colours from the lowest on.
    """

    title: str
    lead: str
    version: str
    written: str
    summary: dict[str, str]
    rows: Sequence[Row]
    model: dict[str, str]
    protocol: Sequence[str]
    table_caption: str
    identical_words: str
    failure_words: str
    below: str = ""
    bounds_name: str = "Spread"
    pictures: bool = True
    histogram: str = ""
    group_names: Sequence[str] = ()
    statuses: Sequence[str] = ()
    comparison: Comparison | None = None
    comparison_notes: Sequence[str] = ()
    interval_notes: Sequence[str] = ()
    pair_caption: str = ""
    matched: str = ""
    group_plot: str = ""
    matrix: Sequence[Sequence[float | None]] = ()
    unscored: dict[str, int] = field(default_factory=dict)
    examples: Sequence[Card] = ()
    clip_words: str = ""
    clips: Sequence[Clip] = ()
    best: Sequence[Card] = ()
    worst: Sequence[Card] = ()
    map_scale: tuple[float, float] | None = None
    map_colours: Sequence[str] = ()
    identical: Sequence[Sequence[Row]] = ()
    failures: Sequence[Row] = ()


def render(report: Report) -> str:
    """The page, as text that can be written in UTF-8."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "uri": uri, "sides": sides}
    style, script = (Markup((_HERE / name).read_text("utf-8")) for name in ("page.css", "page.js"))
    parts = [
        ("summary", "Summary", True),
        ("comparison", "Comparison", report.comparison is not None),
        ("clips", "Clips", bool(report.clips)),
        ("best", "Best", bool(report.best)),
        ("worst", "Worst", bool(report.worst)),
        ("images", "All images", True),
        ("identical", "Identical images", True),
        ("failures", "Failures", True),
        ("model", "Model", True),
        ("protocol", "Protocol", True),
    ]
    return environment.get_template("page.html").render(
        report=report,
        parts=[(name, title) for name, title, there in parts if there],
        style=style,
        script=script,
        policy=_policy(script),
    )


def _policy(script: str) -> str:
    """What the page may do: run its own script, known by its hash, and show pictures that are in it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
