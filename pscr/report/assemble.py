"""From images with scores to the report: what is counted, compared and said."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import numpy as np

from .. import __version__
from ..runtime.calibration import Calibration
from ..runtime.errors import PscrError, Status
from ..runtime.quality_map import QualityMap, quality_map
from ..runtime.scorer import Scorer
from ..verb_model import described
from . import pictures, plots, statistics
from .data import Image, Matching, identical
from .page import Card, Report, Row

CARD_SIDE = 420  # pixels: twice the width that a card has on a phone's screen, about
MOST_PAIRED = 24  # groups; 276 pairs
MOST_MATRIX = 12  # groups, as columns of a table
MOST_SHOWN = 200  # failures and sets of identical images; the table has all
LEVEL = 0.9  # of an image's interval
_PLURAL = {"prompt": "prompts", "name": "names", "nothing": ""}


@dataclass(frozen=True)
class Settings:
    """What the command line decides. title: or nothing. show: how many of the best and of the worst. maps: or none.

    source: where the scores come from, in words. bank: the file that votes in place of the model's own.
    """

    title: str
    show: int
    maps: bool
    pictures: bool
    max_pixels: int
    source: str
    bank: str | None = None


def assemble(
    images: Sequence[Image], matching: Matching, scorer: Scorer, settings: Settings, step: Callable[[], None]
) -> Report:
    """The report on images. step: called after each quality map, of which there are `maps_of` at most."""
    manifest = scorer.manifest
    low, high = scorer.info["range"]
    sign = 1 if manifest.score.higher_is_better else -1
    scored = [image for image in images if image.result.ok]
    ordered = sorted(scored, key=lambda image: -sign * image.result.score)
    below = _common_folder([image.result.path or "" for image in images])
    rows = {id(image): _row(image, below, scorer.calibration) for image in images}

    fewer = min(settings.show, (len(ordered) + 1) // 2)
    best, worst = ordered[:fewer], ordered[::-1][: min(settings.show, len(ordered) - fewer)]
    maps: dict[int, QualityMap | str] = {}
    if settings.maps and settings.pictures:
        for image in (*best, *worst):
            maps[id(image)] = _map(scorer, image)
            step()
    drawn = [one for one in maps.values() if not isinstance(one, str)]
    colours = pictures.limits(drawn)

    def card(image: Image) -> Card:
        return _card(rows[id(image)], settings, maps.get(id(image), ""), colours, sign, scorer.calibration is not None)

    values = [image.result.score for image in scored]
    unit = _unit(manifest.score.meaning, settings.bank)
    alike = identical(images)
    failed = [image for image in images if not image.result.ok]
    names = list(dict.fromkeys(image.group for image in images if image.group))
    whole = _whole(scored, matching) if scored else None
    report = Report(
        title=settings.title or "Image quality report",
        lead=_lead(images, names, manifest.name, manifest.version),
        version=__version__,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        summary=_summary(images, scored, whole, alike, matching),
        rows=[rows[id(image)] for image in images],
        model={key: text for key, text in described(scorer, settings.bank).items() if key != "folder"},
        protocol=_protocol(scorer, settings),
        table_caption="The column headings sort; what has no score comes last.",
        identical_words=_identical_words(alike, images),
        failure_words=_failure_words(failed),
        below=below,
        calibrated=scorer.calibration is not None,
        pictures=settings.pictures and any(image.thumbnail for image in images),
        histogram=plots.histogram(values, (low, high), unit) if values else "",
        group_names=sorted(names),
        statuses=sorted({image.result.status.name for image in images}),
        best=[card(image) for image in best],
        worst=[card(image) for image in worst],
        map_scale=colours if drawn else None,
        map_colours=pictures.colours(),
        identical=[[rows[id(image)] for image in one] for one in alike[:MOST_SHOWN]],
        failures=[rows[id(image)] for image in failed[:MOST_SHOWN]],
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
        return report
    found = statistics.compare(
        [image.result.score for image in grouped],
        [image.group for image in grouped],
        [image.unit for image in grouped],
        higher_is_better=sign > 0,
        pairs=len(names) <= MOST_PAIRED,
    )
    members = {name: [image for image in grouped if image.group == name] for name in names}
    shared = any(pair.shared > 1 for pair in found.pairs)
    examples = [card(_nearest(members[group.name], group.median)) for group in found.groups]
    return replace(
        report,
        comparison=found,
        comparison_notes=_comparison_notes(len(scored) - len(grouped), matching, found, shared),
        interval_notes=_interval_notes(found, matching),
        pair_caption=_pair_caption(len(found.pairs)),
        matched=_PLURAL[matching.by] if shared else "",
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
    calibrated: bool,
) -> Card:
    """An image's large picture and its map; a file that is gone, or that cannot be mapped, has none."""
    bounds = f"90 %: {row.bounds}" if calibrated else f"spread {row.bounds}"
    picture, drawn, words = b"", b"", ""
    if settings.pictures:
        try:
            picture = pictures.large(row.image.result.path or "", CARD_SIDE, settings.max_pixels)
        except PscrError as error:
            words = error.message
    if isinstance(found, str):
        words = words or found
    elif picture:
        drawn, words = pictures.mapped(found, colours, CARD_SIDE), pictures.in_words(found, sign)
    return Card(row.image, row.path, bounds, picture, drawn, words)


def _row(image: Image, below: str, calibration: Calibration | None) -> Row:
    result = image.result
    path = result.path or ""
    shown = os.path.relpath(path, below) if below else path
    bounds = ""
    if result.ok and calibration:
        bounds = "{:.2f} to {:.2f}".format(*calibration.interval(result.score, result.spread, LEVEL))
    elif result.ok:
        bounds = f"{result.spread:.3f}"
    return Row(image, shown, bounds, result.message.removeprefix(f"{path}: "))


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all paths are in or below, where it is worth not repeating; else nothing."""
    folders = [os.path.dirname(path) for path in paths]  # noqa: PTH120  as it was typed
    if len(set(paths)) < 2 or not all(folders) or len({os.path.isabs(folder) for folder in folders}) > 1:  # noqa: PTH117
        return ""
    return os.path.commonpath(folders)


def _unit(meaning: str, bank: str | None) -> str:
    return "score on the bank's scale" if bank else f"score: {meaning.partition(' (')[0]}"


def _lead(images: Sequence[Image], names: Sequence[str], model: str, version: str) -> str:
    groups = f" in {len(names)} groups" if len(names) > 1 else ""
    return f"{_count(len(images), 'image')}{groups}, scored by {model} {version}"


def _whole(scored: Sequence[Image], matching: Matching) -> statistics.Group:
    """All images as one group."""
    values = [image.result.score for image in scored]
    return statistics.compare(values, ["all"] * len(values), [image.unit for image in scored]).groups[0]


def _summary(
    images: Sequence[Image],
    scored: Sequence[Image],
    whole: statistics.Group | None,
    alike: Sequence[Sequence[Image]],
    matching: Matching,
) -> dict[str, str]:
    found = {"images": str(len(images)), "scored": str(len(scored)), "without a score": str(len(images) - len(scored))}
    if whole is not None:
        values = np.array([image.result.score for image in scored])
        mean = whole.mean
        interval = f" (95 %: {mean.low:.3f} to {mean.high:.3f})" if math.isfinite(mean.low) else ""
        found["mean"] = f"{mean.value:.3f}{interval}"
        found["median"] = f"{whole.median:.3f}"
        found["middle half"] = "{:.3f} to {:.3f}".format(*np.quantile(values, [0.25, 0.75]))
        found["middle nine tenths"] = "{:.3f} to {:.3f}".format(*np.quantile(values, [0.05, 0.95]))
        found["lowest, highest"] = f"{values.min():.3f}, {values.max():.3f}"
    if matching.by == "prompt":
        found["prompts"] = f"{matching.units}" + (
            f"; {matching.without} images without one" if matching.without else ""
        )
    found["identical images"] = f"{len(alike)} sets, {sum(map(len, alike))} images" if alike else "none"
    return found


def _matrix(found: statistics.Comparison) -> list[list[float | None]]:
    names = [group.name for group in found.groups]
    shares: dict[tuple[str, str], float] = {}
    for pair in found.pairs:
        shares[pair.first, pair.second] = pair.beats.value
        shares[pair.second, pair.first] = 1 - pair.beats.value
    return [[shares.get((row, column)) for column in names] for row in names]


def _comparison_notes(without: int, matching: Matching, found: statistics.Comparison, shared: bool) -> list[str]:
    notes = []
    if without:
        notes.append(f"{_count(without, 'scored image')} without a group: in the summary and the table, not compared.")
    if matching.by == "prompt":
        more = f"; {_count(matching.without, 'image')} without a prompt" if matching.without else ""
        notes.append(f"Prompts are known: {matching.units} different ones{more}.")
    elif matching.by == "name":
        notes.append(
            f"No prompts were given. {matching.units} file names stand in two groups or more, and images that are "
            "called alike are taken to show the same prompt. Where that is not so, --unpaired compares without it."
        )
    else:
        notes.append(
            "Nothing says which images show the same prompt (--prompts FILE), so images are taken as independent."
        )
    if not found.pairs:
        notes.append(f"{len(found.groups)} groups are too many to compare in pairs; the limit is {MOST_PAIRED}.")
    elif matching.by != "nothing" and not shared:
        notes.append("No two groups share two prompts or more, so nothing is paired.")
    return notes


def _interval_notes(found: statistics.Comparison, matching: Matching) -> list[str]:
    drawn = f"{_PLURAL[matching.by]} with all their images" if matching.by != "nothing" else "images"
    notes = [
        f"Intervals are bootstrap intervals: {statistics.RESAMPLES} draws of {drawn}, with replacement. They say how "
        "much a figure would change with others of the same kind. They do not hold the model's own error: where it "
        "judges one generator's images too kindly, it does so in every draw.",
        "The intervals of differences hold for all pairs together with 95 % (one factor of the standard errors for "
        "all, from the largest deviation of each draw); 'clear' says that zero lies outside. The intervals of means, "
        "and of the probability to beat the other, hold with 95 % each by itself: one in twenty misses.",
    ]
    few = [group.name for group in found.groups if group.units < statistics.FEW]
    if few:
        notes.append(
            f"Fewer than {statistics.FEW} independent images or prompts, for which a bootstrap says little: "
            f"{', '.join(few)}."
        )
    return notes


def _pair_caption(count: int) -> str:
    if count == 1:
        return "The better mean stands first."
    return f"{count} pairs; in each the better mean stands first."


def _identical_words(alike: Sequence[Sequence[Image]], images: Sequence[Image]) -> str:
    read = sum(bool(image.digest) for image in images)
    how = "Compared by BLAKE2b of the decoded, upright RGB pixels, so the same pixels in another file format count too"
    if not alike:
        return f"None among the {_count(read, 'image')} that could be read. {how}."
    more = f" The first {MOST_SHOWN} sets are listed." if len(alike) > MOST_SHOWN else ""
    return (
        f"{_count(len(alike), 'set')} of {sum(map(len, alike))} images. {how}. Each copy counts in every figure.{more}"
    )


def _failure_words(failed: Sequence[Image]) -> str:
    if not failed:
        return "None: every image has a score."
    kinds = Counter(image.result.status for image in failed)
    named = ", ".join(f"{count} {Status(kind).name}" for kind, count in kinds.most_common())
    more = f" The first {MOST_SHOWN} are listed here, all of them in the table." if len(failed) > MOST_SHOWN else ""
    return f"{_count(len(failed), 'image')} without a score: {named}.{more}"


def _protocol(scorer: Scorer, settings: Settings) -> list[str]:
    better = "higher" if scorer.manifest.score.higher_is_better else "lower"
    lines = [
        settings.source,
        f"A score is the mean over the exemplars of (exemplar's opinion score + predicted difference); {better} is "
        "better; it is not clipped to the scale. The spread is the standard deviation of those votes.",
    ]
    if scorer.calibration:
        lines.append(
            f"The 90 % interval of an image is {scorer.calibration.in_words(LEVEL)}. It is about one image's opinion "
            "score, not about a mean, and it holds for images of the kind that it was measured on."
        )
    else:
        lines.append("Model and bank are not calibrated: the spread is no error bar, and no interval is given.")
    lines.append(
        "EXIF orientation is applied, alpha dropped, the first frame of an animation taken; what was padded or what "
        "the decoder had to say stands beside the image."
    )
    if settings.maps:
        lines.append("Quality maps score windows of an image one by one (pscr map); one scale of colours serves all.")
    lines.append(f"Quantiles and means count every image with a score. Random draws start from seed {statistics.SEED}.")
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
