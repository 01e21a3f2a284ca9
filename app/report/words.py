"""What the report says in words: of its figures, their intervals, and how they came about; and names made harmless."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..runtime.errors import Status
from ..runtime.frame_sampling import FrameSampling
from ..runtime.scorer import Scorer
from . import statistics
from .data import Image, Matching

LEVEL = 0.9  # of an image's interval
MOST_SHOWN = 200  # failures and sets of identical images; the table has all
MOST_CLIPS = 50  # with a curve and a strip
MOST_PAIRED = 24  # groups; 276 pairs
PLURAL = {"prompt": "prompts", "name": "names", "nothing": ""}


def lead(images: Sequence[Image], names: Sequence[str], model: str, version: str) -> str:
    """The line below the heading."""
    groups = f" in {len(names)} groups" if len(names) > 1 else ""
    return f"{' and '.join(_count(*kind) for kind in _kinds(images))}{groups}, scored by {model} {version}"


def unit(meaning: str) -> str:
    """What an axis of scores is called."""
    return f"score: {meaning.partition(' (')[0]}"


def bounds_name(scorer: Scorer) -> str:
    """What is said of an image's score besides it: its interval, else its spread, else nothing."""
    return f"{LEVEL:.0%} interval".replace("%", " %") if scorer.calibration or not scorer.head.has_spread else "Spread"


def summary(
    images: Sequence[Image],
    scored: Sequence[Image],
    whole: statistics.Group | None,
    alike: Sequence[Sequence[Image]],
    matching: Matching,
) -> dict[str, str]:
    """The first figures, by name. whole: all images with a score as one group, or None where there are none."""
    kinds = {f"{what}s": str(number) for number, what in _kinds(images)}
    found = kinds | {"scored": str(len(scored)), "without a score": str(len(images) - len(scored))}
    if whole is not None:
        values = np.array([image.result.score for image in scored])
        mean = whole.mean
        rough = ", rough: there are few" if whole.units < statistics.FEW else ""
        interval = f" (95 %: {mean.low:.3f} to {mean.high:.3f}{rough})" if math.isfinite(mean.low) else ""
        found["mean"] = f"{mean.value:.3f}{interval}"
        found["median"] = f"{whole.median:.3f}"
        found["middle half"] = "{:.3f} to {:.3f}".format(*np.quantile(values, [0.25, 0.75]))
        found["middle nine tenths"] = "{:.3f} to {:.3f}".format(*np.quantile(values, [0.05, 0.95]))
        found["lowest, highest"] = f"{values.min():.3f}, {values.max():.3f}"
    if matching.by == "prompt":
        found["prompts"] = f"{matching.units}" + (
            f"; {matching.without} images without one" if matching.without else ""
        )
    found["identical images"] = f"{_count(len(alike), 'set')}, {sum(map(len, alike))} images" if alike else "none"
    return found


def comparison_notes(without: int, matching: Matching, found: statistics.Comparison, shared: bool) -> list[str]:
    """What is compared with what. without: scored images that have no group. shared: whether anything is paired."""
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


def interval_notes(found: statistics.Comparison, matching: Matching) -> list[str]:
    """What the intervals of a comparison are, and what they are not."""
    drawn = f"{PLURAL[matching.by]} with all their images" if matching.by != "nothing" else "images"
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


def pair_caption(count: int) -> str:
    """What stands above the pairs."""
    if count == 1:
        return "The better mean stands first."
    return f"{count} pairs; in each the better mean stands first."


def identical_images(alike: Sequence[Sequence[Image]], images: Sequence[Image]) -> str:
    """How many sets of identical images there are, and how they were found."""
    read = sum(bool(image.digest) for image in images)
    how = "Compared by BLAKE2b of the decoded, upright RGB pixels, so the same pixels in another file format count too"
    if not alike:
        return f"None among the {_count(read, 'image')} that could be read. {how}."
    more = f" The first {MOST_SHOWN} sets are listed." if len(alike) > MOST_SHOWN else ""
    return (
        f"{_count(len(alike), 'set')} of {sum(map(len, alike))} images. {how}. Each copy counts in every figure.{more}"
    )


def failures(failed: Sequence[Image]) -> str:
    """How many images have no score, by status."""
    if not failed:
        return "None: every image has a score."
    kinds = Counter(image.result.status for image in failed)
    named = ", ".join(f"{count} {Status(kind).name}" for kind, count in kinds.most_common())
    more = f" The first {MOST_SHOWN} are listed here, all of them in the table." if len(failed) > MOST_SHOWN else ""
    return f"{_count(len(failed), 'image')} without a score: {named}.{more}"


def protocol(scorer: Scorer, source: str, maps: bool, diagnoses: bool) -> list[str]:
    """How the scores came about. source: where they come from, in words. maps, diagnoses: whether they are shown."""
    better = "higher" if scorer.scale.higher_is_better else "lower"
    votes = " The spread is the standard deviation of the votes." if scorer.head.has_spread else ""
    lines = [source, f"{scorer.head.how}; {better} is better; it is not clipped to the scale.{votes}"]
    if scorer.calibration:
        lines.append(
            f"The interval of an image: {scorer.calibration.in_words(LEVEL)}. It is about one image's opinion "
            "score, not about a mean, and it holds for images of the kind that it was measured on."
        )
    else:
        spread = "the spread is no error bar, and " if scorer.head.has_spread else ""
        lines.append(f"The model is not calibrated: {spread}no interval is given.")
    lines.append(
        "EXIF orientation is applied, alpha dropped, the first frame of an animation taken; what was padded or what "
        "the decoder had to say stands beside the image."
    )
    if maps:
        lines.append("Quality maps score windows of an image one by one (pscr map); one scale of colours serves all.")
    if diagnoses:
        lines.append(
            "What an image looks like is a guess of a linear classifier on what the network sees, among "
            f"{', '.join(scorer.classifier().groups)}; it is not certain, and does not know how the image was made."
        )
    lines.append(f"Quantiles and means count every image with a score. Random draws start from seed {statistics.SEED}.")
    return lines


def clips(count: int, sampling: FrameSampling) -> str:
    """What stands above the clips. count: how many there are."""
    more = f" {MOST_CLIPS} of {count} are shown; the table has all." if count > MOST_CLIPS else ""
    return (
        f"How the score of each runs, at {_sampled(sampling)}; the dashed line is the clip's score, the mean. "
        f"The worst clip comes first.{more}"
    )


def pooling(sampling: FrameSampling) -> str:
    """How a clip's score comes about."""
    return (
        f"A clip's score is the mean over {_sampled(sampling)}, its spread their standard deviation; it has no "
        "interval. The mean, and that of the lowest 5 %, are conventions of pooling and no model of video quality: "
        "motion, flicker and stutter are not seen."
    )


def _kinds(images: Sequence[Image]) -> list[tuple[int, str]]:
    """How many there are of images and of clips, whichever there are."""
    clips = sum(image.is_clip for image in images)
    return [(number, what) for number, what in ((len(images) - clips, "image"), (clips, "clip")) if number]


def _sampled(sampling: FrameSampling) -> str:
    if sampling.every is not None:
        return f"a frame each {sampling.every:g} s"
    return f"{_count(sampling.frames, 'frame')}, evenly spread"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# --- names as text that a page and a plot can hold: hostile ones cannot steer either ----------------------------------


def visible(text: str) -> str:
    """The text with what is not printed made visible: line ends, overrides of direction, bytes that are no UTF-8."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def shorter(text: str, most: int) -> str:
    """The text on at most `most` characters, its middle left out where it is longer: both ends of a path tell."""
    text = visible(text)
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}"
