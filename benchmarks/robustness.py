"""How far a score moves where the picture stays the same, and whether it falls where people see damage.

    python benchmarks/robustness.py [--model NAME_OR_FOLDER]... [--photos DIR] [--images DIR] [--count 24] [--seed 1]

--photos (Kodak's, say) and --images (AGIQA-3K's, say) are two sources of pictures, searched with their folders; up to
--count of each are drawn by --seed. Of every picture the middle square is taken, and brought to 512x512 where it is not
(by area averaging downwards, cubic upwards). Three result files a model, each with a plot:

  robustness_size         the picture at 256 to 4096 pixels, cubic and by area, and at other aspects, as JPEG of quality
                          95, beside 512x512 as JPEG of quality 95. Above 1024 half, above 2048 a quarter of them.
                          "crop 3:1": the middle, not enlarged; ", short side 512": that, enlarged (cubic).
                          "mirrored 2:1": the whole, its borders mirrored outwards to that aspect.
  robustness_distortions  the 25 distortions of KADID-10k in 5 levels (training/distortions). right: share of pairs of
                          levels of one picture that the model orders as people's means are ordered; equal scores are
                          wrong, pairs whose means differ by less than 0.1 of 5 are left out. rank: Spearman's
                          correlation of the mean score of each type and level (125) with people's means. Both
                          also for the half of the pictures that the model likes better undistorted: one that it takes
                          for bad already has no room to fall. right_95: the interval over pictures (bootstrap).
  robustness_changes      JPEG, other formats, mirrored, cropped by 2 % (1 % at each edge), letterboxed (black bars of
                          an eighth of the height above and below), beside the pixels as they are.

median, largest: of the absolute change of the score, in its units; ..._share: in percent of the range of the score's
scale; mean: with its sign. Scores come from the public API, so what a model does to large images is part of the figure.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import RESULTS
from numpy.typing import NDArray

import pscr
from pscr.bench.plots import COLOURS
from pscr.bench.record import Record, Row, command, environment, table
from pscr.runtime.calibration import correlation, ranks
from pscr.runtime.image import load
from pscr.runtime.samplings import Pixels
from pscr.runtime.scorer import DEFAULT_MODEL
from pscr.training.distortions import GROUPS, LEVELS, TYPES, distort
from pscr.training.progress_bar import progress_bar

SIDE = 512
SIZES = (256, 384, 768, 1024, 1536, 2048, 3000, 4096)
QUALITIES = (95, 90, 80, 70, 60, 50, 40, 30)
CLEAR = 0.1  # of 5: people's means that differ by less say nothing about an order
PARTS = ("size", "changes", "distortions")
SUMMARY = {
    "size": ("768 cubic", "1024 cubic", "2048 cubic", "3000 cubic"),
    "changes": ("JPEG 60", "mirrored", "cropped by 2 %"),
}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
PEOPLE = np.array([one.people for one in TYPES])  # [25,5], 5 best
Scores = NDArray[np.float64]
Pictures = dict[str, list[Pixels]]


@dataclass(frozen=True)
class Case:
    """What is done to a picture; make: [512,512,3] to what is scored. share: of the pictures it is done to."""

    name: str
    make: Callable[[Pixels], Any]
    share: float = 1.0


def coded(image: Pixels, suffix: str = ".jpg", *options: int) -> bytes:
    """The picture as a file of this format; a JPEG of quality 95 unless said otherwise."""
    found = options or ((cv2.IMWRITE_JPEG_QUALITY, 95) if suffix == ".jpg" else ())
    return bytes(cv2.imencode(suffix, image[..., ::-1], list(found))[1])


def scaled(image: Pixels, factor: float, how: int = cv2.INTER_CUBIC) -> Pixels:
    """Both sides times the factor."""
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def middle(image: Pixels, height: int, width: int) -> Pixels:
    """The middle part of this size."""
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def base(image: Pixels) -> Pixels:
    """The middle square at 512x512."""
    side = min(image.shape[:2])
    square = middle(image, side, side)
    if side == SIDE:
        return square
    how = cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=how), np.uint8)


def part(image: Pixels, height: int, width: int, factor: float = 1.0) -> Pixels:
    """The middle part of this size, then enlarged."""
    return scaled(middle(image, height, width), factor)


def mirrored(image: Pixels, down: int, across: int) -> Pixels:
    """So many pixels more at each border, mirrored outwards."""
    return np.asarray(cv2.copyMakeBorder(image, down, down, across, across, cv2.BORDER_REFLECT_101), np.uint8)


def as_jpeg(change: Callable[..., Pixels], *how: Any) -> Callable[[Pixels], bytes]:
    """The change, then a JPEG of quality 95."""
    return lambda image: coded(change(image, *how))


def size_cases(largest: int = SIZES[-1]) -> list[Case]:
    """Part (a): sizes, then aspects."""
    cases = []
    for side in (side for side in SIZES if side <= largest):
        share = 1 if side <= 1024 else 0.5 if side <= 2048 else 0.25
        for name, how in (("cubic", cv2.INTER_CUBIC), ("area", cv2.INTER_AREA)):
            cases.append(Case(f"{side} {name}", as_jpeg(scaled, side / SIDE, how), share))
    for across, down in ((3, 1), (16, 9), (4, 3), (9, 16), (1, 3)):
        height, width = round(SIDE * min(1, down / across)), round(SIDE * min(1, across / down))
        name, enlarged = f"crop {across}:{down}", SIDE / min(height, width)
        cases.append(Case(name, as_jpeg(part, height, width)))
        cases.append(Case(f"{name}, short side {SIDE}", as_jpeg(part, height, width, enlarged)))
    for aspect, down, across in (("2:1", 0, SIDE // 2), ("3:1", 0, SIDE - 1), ("1:2", SIDE // 2, 0)):
        cases.append(Case(f"mirrored {aspect}", as_jpeg(mirrored, down, across)))
    return cases


def change_cases() -> list[Case]:
    """Part (c)."""
    cut, bar = SIDE - 2 * round(0.01 * SIDE), SIDE // 8

    def compressed(quality: int) -> Callable[[Pixels], bytes]:
        return lambda image: coded(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)

    return [
        *(Case(f"JPEG {quality}", compressed(quality)) for quality in QUALITIES),
        Case("PNG", lambda image: coded(image, ".png")),
        Case("WebP 90", lambda image: coded(image, ".webp", cv2.IMWRITE_WEBP_QUALITY, 90)),
        Case("mirrored", lambda image: np.ascontiguousarray(image[:, ::-1])),
        Case("cropped by 2 %", lambda image: middle(image, cut, cut)),
        Case("letterboxed", lambda image: np.pad(image, ((bar, bar), (0, 0), (0, 0)))),
    ]


def scores(scorer: pscr.Scorer, sources: Iterable[Any]) -> Scores:
    """The score of each source; the first that has none ends the run with its error."""
    found = scorer.score_many(sources, pixel_format="rgb", on_error="raise")
    return np.array([one.score for one in found], np.float64)


def compared(
    scorer: pscr.Scorer, pictures: Pictures, reference: Callable[[Pixels], Any], cases: Sequence[Case]
) -> list[Row]:
    """A row for each source (and for all of them, where there are several) and case: how far the score moves."""
    low, high = scorer.info["range"]
    before = {source: scores(scorer, map(reference, some)) for source, some in pictures.items()}
    rows = []
    for case in progress_bar(cases, len(cases), "cases"):
        moved = {}
        for source, some in pictures.items():
            count = min(len(some), max(2, math.ceil(len(some) * case.share)))
            moved[source] = scores(scorer, map(case.make, some[:count])) - before[source][:count]
        if len(moved) > 1:
            moved["all"] = np.concatenate(list(moved.values()))
        for source, change in moved.items():
            middle_one, largest = float(np.median(np.abs(change))), float(np.abs(change).max())
            rows.append(
                {"source": source, "case": case.name, "pictures": len(change)}
                | {"median": round(middle_one, 4), "largest": round(largest, 4)}
                | {"mean": round(float(change.mean()), 4)}
                | {"median_share": round(100 * middle_one / (high - low), 2)}
                | {"largest_share": round(100 * largest / (high - low), 2)}
            )
    return sorted(rows, key=lambda row: [*pictures, "all"].index(row["source"]))


def damaged(scorer: pscr.Scorer, pictures: Sequence[Pixels]) -> Scores:
    """[25,5,N]: the score of every picture under every distortion."""
    found = np.empty((len(TYPES), LEVELS, len(pictures)))
    for place, one in enumerate(progress_bar(TYPES, len(TYPES), "distortions")):
        for step in range(LEVELS):
            found[place, step] = scores(
                scorer, (distort(image, one.number, step + 1, seed) for seed, image in enumerate(pictures))
            )
    return found


def ordered(found: Scores, people: Scores = PEOPLE, sign: int = 1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of levels in people's order, of each type and picture [T,N], and pairs that people tell apart, [T].

    found: [T,L,N] scores. people: [T,L] means, more is better. sign: -1 where a lower score is better.
    """
    first, second = np.triu_indices(people.shape[1], 1)
    wanted = people[:, first] - people[:, second]
    clear = np.abs(wanted) >= CLEAR
    right = (found[:, first] - found[:, second]) * sign * np.sign(wanted)[..., None] > 0
    return (right & clear[..., None]).sum(1), clear.sum(1)


def agreement(found: Scores, sign: int = 1) -> float:
    """Spearman's correlation of the mean scores [25,5] of found [25,5,N] with people's means."""
    return correlation(ranks(sign * found.mean(2).ravel()), ranks(PEOPLE.ravel()))


def distortion_rows(
    before: dict[str, Scores], after: dict[str, Scores], sign: int
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """A row for each source and type, and what belongs to a source as a whole; see the top of this file.

    before: scores [N] of each source's pictures as they are; after: [25,5,N].
    """
    rows: list[Row] = []
    facts: dict[str, dict[str, Any]] = {}
    if len(after) > 1:
        before = before | {"all": np.concatenate(list(before.values()))}
        after = after | {"all": np.concatenate(list(after.values()), 2)}
    for source, found in after.items():
        right, clear = ordered(found, sign=sign)
        pictures, most = found.shape[2], LEVELS * (LEVELS - 1) // 2
        for one, hits, pairs, levels in zip(TYPES, right, clear, found.mean(2), strict=True):
            means = {f"level_{step}": round(float(value), 3) for step, value in enumerate(levels, 1)}
            rows.append(
                {"source": source, "type": f"{one.number} {one.name}", "group": one.group}
                | {"right": round(float(hits.mean() / pairs), 4), "pairs": int(pairs * pictures)}
                | {"left_out": int((most - pairs) * pictures), "original": round(float(before[source].mean()), 3)}
                | means
            )
        shares = right.sum(0) / clear.sum()  # of each picture
        drawn = np.random.default_rng(1).integers(0, pictures, (2000, pictures))
        upper = before[source] * sign >= np.median(before[source] * sign)
        facts[source] = {
            "pictures": pictures,
            "right": round(float(shares.mean()), 4),
            "right_95": [round(float(bound), 4) for bound in np.quantile(shares[drawn].mean(1), (0.025, 0.975))],
            "right_upper_half": round(float(shares[upper].mean()), 4),
            "pairs": int(clear.sum() * pictures),
            "left_out": int((most * len(TYPES) - clear.sum()) * pictures),
            "rank": round(agreement(found, sign), 4),
            "rank_upper_half": round(agreement(found[..., upper], sign), 4),
        }
        for group in GROUPS:
            some = np.array([one.group == group for one in TYPES])
            facts[source][group] = round(float(right[some].mean(1).sum() / clear[some].sum()), 4)
    return rows, facts


def draw_moves(file: Path, rows: Sequence[Row], title: str) -> None:
    """A bar for the median and a mark for the largest move of each case; rows of one source."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.4 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh(places, [row["median"] for row in rows], color=COLOURS[0], label="median")
    axes.plot([row["largest"] for row in rows], places, "D", color=COLOURS[1], markersize=4, label="largest")
    for place, row in zip(places, rows, strict=True):
        axes.annotate(
            f"{row['median']:.2f} / {row['largest']:.2f}", (row["largest"], place), (6, -3), "data", "offset points"
        ).set_fontsize(7)
    axes.set_yticks(places, [row["case"] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.grid(alpha=0.25, axis="x")
    axes.margins(y=0.01)
    axes.set_xlim(0, 1.2 * max(row["largest"] for row in rows) or 1)  # room for the figures
    axes.set_xlabel("change of the score, absolute")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=2)
    figure.suptitle(title, fontsize=9)
    figure.savefig(file, dpi=150)


def draw_distortions(file: Path, rows: Sequence[Row], facts: dict[str, Any], title: str) -> None:
    """The share of pairs in the right order by type, and each type and level's mean score beside people's mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), layout="constrained")
    bars, points = figure.subplots(1, 2)
    colours = dict(zip(GROUPS, (*COLOURS, "#d36ba6"), strict=True))
    places = range(len(rows))
    drawn = bars.barh(places, [row["right"] for row in rows], color=[colours[row["group"]] for row in rows])
    bars.bar_label(drawn, [f"{row['right']:.0%}" for row in rows], padding=3, fontsize=7)
    bars.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    bars.set_yticks(places, [row["type"] for row in rows], fontsize=8)
    bars.invert_yaxis()
    bars.set_xlim(0, 1.12)
    bars.margins(y=0.01)
    bars.set_xlabel(f"pairs of levels in people's order (all: {facts['right']:.1%})")
    for group in GROUPS:
        some = [(people, row) for people, row in zip(PEOPLE, rows, strict=True) if row["group"] == group]
        x = [mean for people, _ in some for mean in people]
        y = [row[f"level_{step}"] for _, row in some for step in range(1, LEVELS + 1)]
        points.plot(x, y, "o", color=colours[group], markersize=4, label=group)
    points.axhline(rows[0]["original"], color="black", linewidth=0.8, linestyle=":", label="undistorted, model's mean")
    points.set_xlabel("people's mean (KADID-10k, 5 best)")
    points.set_ylabel(f"model's mean score (rank correlation {facts['rank']:.3f})")
    points.grid(alpha=0.25)
    points.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.savefig(file, dpi=150)


def drawn(folder: Path, count: int, seed: int) -> list[Pixels]:
    """Up to so many pictures of a folder and its folders, at 512x512; which, the seed says."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"{folder}: no picture found; expected a folder with {', '.join(SUFFIXES)} files")
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    return [base(load(files[place])) for place in chosen]


def examine(given: argparse.Namespace, model: str, pictures: Pictures) -> Row:
    """Measure one model; each part is printed and written when it is done. Returns the model's line of the summary."""
    whole = "all" if len(pictures) > 1 else next(iter(pictures))
    with pscr.open(model, given.device, given.threads) as scorer:
        where = environment(scorer.info["threads"], scorer)
        sign = 1 if scorer.info["higher_is_better"] else -1
        line: Row = {"model": where["model"]["name"], "version": where["model"]["version"]}
        for part_name in given.parts:
            keys: tuple[str, ...] = ("source", "type" if part_name == "distortions" else "case")
            facts: dict[str, dict[str, Any]] = {}
            if part_name == "size":
                rows = compared(scorer, pictures, coded, size_cases(1024 if given.quick else SIZES[-1]))
            elif part_name == "changes":
                rows = compared(scorer, pictures, lambda image: image, change_cases())
            else:
                before = {source: scores(scorer, some) for source, some in pictures.items()}
                after = {source: damaged(scorer, some) for source, some in pictures.items()}
                rows, facts = distortion_rows(before, after, sign)
            name, typed = f"robustness_{part_name}", command("python benchmarks/robustness.py")
            record = Record(name, typed, where, keys, rows, facts)
            file = record.save(given.output).with_suffix(".png")
            some = [row for row in rows if row["source"] == whole]
            print(f"\n{record.name}\n{table(some)}")
            for source, about in facts.items():
                print(f"{source}: {about}")
            title = f"{record.name}\n{whole}, {sum(map(len, pictures.values()))} pictures"
            if facts:
                draw_distortions(file, some, facts[whole], title)
                line |= {"right": f"{facts[whole]['right']:.1%}", "rank": facts[whole]["rank"]}
            else:
                draw_moves(file, some, title)
                moves = {row["case"]: f"{row['median']:.3f} / {row['largest']:.3f}" for row in some}
                line |= {case: moves[case] for case in SUMMARY[part_name] if case in moves}
            sys.stdout.flush()
    return line


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("--model", action="append", help=f"a model's name or its folder; may be repeated (default: {DEFAULT_MODEL})")
    add("--device", default="cpu", help="as pscr score has it (default: %(default)s)")
    add("--threads", type=int, default=None, help="CPU threads (default: all cores)")
    add("--photos", type=Path, metavar="DIR", help="photographs, such as Kodak's")
    add("--images", type=Path, metavar="DIR", help="generated images, such as AGIQA-3K's")
    add("--count", type=int, default=24, help="pictures of each source, at most (default: %(default)s)")
    add("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    add("--seed", type=int, default=1, help="which pictures are drawn (default: %(default)s)")
    add("--quick", action="store_true", help="one picture of each source, up to 1024 pixels: to see that it runs")
    add("-o", "--output", type=Path, default=RESULTS, metavar="DIR", help="where the files go (default: %(default)s)")
    given = options.parse_args()
    folders = {"photos": given.photos, "images": given.images}
    if not any(folders.values()) or given.count < 1:
        options.error("expected --photos DIR, --images DIR or both, and a count of 1 or more")
    count = 1 if given.quick else given.count
    pictures = {source: drawn(folder, count, given.seed) for source, folder in folders.items() if folder}
    lines = [examine(given, model, pictures) for model in given.model or [DEFAULT_MODEL]]
    print(f"\nMedian / largest change against 512x512 or the pixels as they are; pairs in order; rank\n{table(lines)}")


if __name__ == "__main__":
    sys.exit(main())
