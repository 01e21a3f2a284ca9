"""From images with scores to the report: what is counted, compared and shown."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from .. import __version__
from ..describe import described
from ..runtime.calibration import Calibration
from ..runtime.errors import PscrError
from ..runtime.frame_sampling import FrameSampling
from ..runtime.quality_map import QualityMap, quality_map
from ..runtime.scorer import Scorer
from . import pictures, plots, statistics, words
from .data import Image, Matching, identical
from .page import Card, Clip, Report, Row

CARD_SIDE = 420  # pixels: twice the width that a card has on a phone's screen, about
MOST_MATRIX = 12  # groups, as columns of a table


@dataclass(frozen=True)
class Settings:
    """What the command line decides. title: or nothing. show: how many of the best and of the worst. maps: or none.

    source: where the scores come from, in words. diagnose: whether the worst are to have what they look like. sampling:
    of clips.
    """

    title: str
    show: int
    maps: bool
    pictures: bool
    max_pixels: int
    source: str
    diagnose: bool = False
    sampling: FrameSampling = field(default_factory=FrameSampling)


def assemble(
    images: Sequence[Image], matching: Matching, scorer: Scorer, settings: Settings, step: Callable[[], None]
) -> Report:
    """The report on images. step: called after each quality map, of which there are `maps_of` at most."""
    manifest, scale = scorer.manifest, scorer.scale
    low, high = scale.range
    sign = scale.sign
    scored = [image for image in images if image.result.ok]
    ordered = sorted(scored, key=lambda image: -sign * image.result.score)
    below = _common_folder([image.result.path or "" for image in images])
    rows = {id(image): _row(image, below, scorer.calibration) for image in images}

    fewer = min(settings.show, (len(ordered) + 1) // 2)
    best, worst = ordered[:fewer], ordered[::-1][: min(settings.show, len(ordered) - fewer)]
    maps: dict[int, QualityMap | str] = {}
    if settings.maps and settings.pictures:
        for image in (one for one in (*best, *worst) if not one.is_clip):
            maps[id(image)] = _map(scorer, image)
            step()
    drawn = [one for one in maps.values() if not isinstance(one, str)]
    colours = pictures.limits(drawn)

    def card(image: Image) -> Card:
        return _card(rows[id(image)], settings, maps.get(id(image), ""), colours, sign, bounds_name)

    def worst_card(image: Image) -> Card:
        return replace(card(image), looks_like=_looks_like(scorer, image)) if settings.diagnose else card(image)

    values = [image.result.score for image in scored]
    unit = words.unit(scale.meaning)
    bounds_name = words.bounds_name(scorer)
    alike = identical(images)
    failed = [image for image in images if not image.result.ok]
    names = list(dict.fromkeys(image.group for image in images if image.group))
    whole = _whole(scored) if scored else None
    strips = [image for image in ordered[::-1] if image.strip]
    report = Report(
        title=settings.title or "Image quality report",
        lead=words.lead(images, names, manifest.name, manifest.version),
        version=__version__,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        summary=words.summary(images, scored, whole, alike, matching),
        rows=[rows[id(image)] for image in images],
        model={key: text for key, text in described(scorer).items() if key != "folder"},
        protocol=words.protocol(scorer, settings.source, bool(maps), settings.diagnose)
        + ([words.pooling(settings.sampling)] if strips else []),
        table_caption="The column headings sort; what has no score comes last.",
        identical_words=words.identical_images(alike, images),
        failure_words=words.failures(failed),
        below=below,
        bounds_name=bounds_name,
        pictures=settings.pictures and any(image.thumbnail for image in images),
        histogram=plots.histogram(values, (low, high), unit) if values else "",
        group_names=sorted(names),
        statuses=sorted({image.result.status.name for image in images}),
        clip_words=words.clips(len(strips), settings.sampling) if strips else "",
        clips=[
            _clip(rows[id(image)], f"clip-{number}", (low, high), unit)
            for number, image in enumerate(strips[: words.MOST_CLIPS])
        ],
        best=[card(image) for image in best],
        worst=[worst_card(image) for image in worst],
        map_scale=colours if drawn else None,
        map_colours=pictures.colours(),
        identical=[[rows[id(image)] for image in one] for one in alike[: words.MOST_SHOWN]],
        failures=[rows[id(image)] for image in failed[: words.MOST_SHOWN]],
    )
    return _compared(report, scored, failed, matching, sign, (low, high), unit, card)


def maps_of(count: int, settings: Settings) -> int:
    """How many quality maps `assemble` computes for `count` images, at most."""
    return min(2 * settings.show, count) if settings.maps and settings.pictures else 0


def _compared(
    report: Report,
    scored: list[Image],
    failed: list[Image],
    matching: Matching,
    sign: int,
    scale: tuple[float, float],
    unit: str,
    card: Callable[[Image], Card],
) -> Report:
    """The report with its comparison, where two groups or more have scores."""
    grouped = [image for image in scored if image.group]
    names = {image.group for image in grouped}
    if len(names) < 2:
        lacking = {"comparison": "none: only one group has scores"} if len(report.group_names) > 1 else {}
        return replace(report, summary=report.summary | lacking)
    found = statistics.compare(
        [image.result.score for image in grouped],
        [image.group for image in grouped],
        [image.unit for image in grouped],
        higher_is_better=sign > 0,
        pairs=len(names) <= words.MOST_PAIRED,
    )
    members = {name: [image for image in grouped if image.group == name] for name in names}
    shared = any(pair.shared > 1 for pair in found.pairs)
    examples = [card(_nearest(members[group.name], group.median)) for group in found.groups]
    return replace(
        report,
        comparison=found,
        comparison_notes=words.comparison_notes(len(scored) - len(grouped), matching, found, shared),
        interval_notes=words.interval_notes(found, matching),
        pair_caption=words.pair_caption(len(found.pairs)),
        matched=words.PLURAL[matching.by] if shared else "",
        group_plot=plots.groups(
            found.groups, [[image.result.score for image in members[one.name]] for one in found.groups], scale, unit
        ),
        matrix=_matrix(found) if found.pairs and len(names) <= MOST_MATRIX else (),
        unscored=dict(Counter(image.group for image in failed if image.group)),
        examples=examples,
    )


def _nearest(images: Sequence[Image], score: float) -> Image:
    return min(images, key=lambda image: abs(image.result.score - score))


def _map(scorer: Scorer, image: Image) -> QualityMap | str:
    """An image's quality map, or why there is none."""
    try:
        return quality_map(scorer, image.result.path or "")
    except PscrError as error:
        return error.message


def _card(
    row: Row,
    settings: Settings,
    found: QualityMap | str,
    colours: tuple[float, float],
    sign: int,
    bounds_name: str,
) -> Card:
    """An image's large picture and its map; a file that is gone, or that cannot be mapped, has none."""
    bounds = f"{bounds_name.removesuffix(' interval').lower()}: {row.bounds}" if row.bounds else ""
    if row.image.is_clip:
        strip = row.image.strip
        note = f"a clip; here its lowest frame, at {strip.lowest[0]:.2f} s" if strip and strip.large else "a clip"
        return Card(row.image, row.path, bounds, strip.large if strip else b"", note=note)
    picture, drawn, said = b"", b"", ""
    if settings.pictures:
        try:
            picture = pictures.large(row.image.result.path or "", CARD_SIDE, settings.max_pixels)
        except PscrError as error:
            said = error.message
    if isinstance(found, str):
        said = said or found
    elif picture:
        drawn, said = pictures.mapped(found, colours, CARD_SIDE), pictures.in_words(found, sign)
    return Card(row.image, row.path, bounds, picture, drawn, said)


def _clip(row: Row, name: str, scale: tuple[float, float], unit: str) -> Clip:
    """A clip with its curve. name: begins the ids of the curve."""
    strip = row.image.strip
    assert strip is not None
    return Clip(row, plots.curve(strip.times, strip.scores, strip.lowest, scale, unit, name), strip.frames)


def _looks_like(scorer: Scorer, image: Image) -> str:
    """What an image looks like, in words; nothing where it is gone."""
    found = image.result.diagnosis
    if found is None and not image.is_clip:
        try:
            found = scorer.score(image.result.path or "", diagnose=True).diagnosis
        except PscrError:
            return ""
    return found.in_words() if found else ""


def _row(image: Image, below: str, calibration: Calibration | None) -> Row:
    result = image.result
    path = result.path or ""
    shown = os.path.relpath(path, below) if below else path
    interval = None
    if result.ok and calibration and not image.is_clip:
        interval = calibration.interval(result.score, result.spread, words.LEVEL)
    bounds = "{:.2f} to {:.2f}".format(*interval) if interval else ""
    if not calibration and result.spread is not None:
        bounds = f"{result.spread:.3f}"
    return Row(image, shown, bounds, result.message.removeprefix(f"{path}: "))


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths are in or below, where it is worth not repeating; else nothing."""
    folders = [os.path.dirname(path) for path in paths]  # noqa: PTH120  as it was typed
    if len(set(paths)) < 2 or not all(folders) or len({os.path.isabs(folder) for folder in folders}) > 1:  # noqa: PTH117
        return ""
    return os.path.commonpath(folders)


def _whole(scored: Sequence[Image]) -> statistics.Group:
    """All images as one group."""
    values = [image.result.score for image in scored]
    return statistics.compare(values, ["all"] * len(values), [image.unit for image in scored]).groups[0]


def _matrix(found: statistics.Comparison) -> list[list[float | None]]:
    names = [group.name for group in found.groups]
    shares: dict[tuple[str, str], float] = {}
    for pair in found.pairs:
        shares[pair.first, pair.second] = pair.beats.value
        shares[pair.second, pair.first] = 1 - pair.beats.value
    return [[shares.get((row, column)) for column in names] for row in names]
