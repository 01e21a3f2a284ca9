"""What an encoder's features know: linear probes of distortions and of people's scores, beside other models'.

    python benchmarks/encoder_probes.py --model MODEL [--model MODEL ...] --data agiqa3k:DIR@prompt --data clive:DIR \
        --contents FOLDER [--count 60] [--every 1]

MODEL: a model's name or folder, with scores or without. Ridge regressors on the graph's terms (pscr.runtime.ridge; the
strength by cross-validation within what trains). Columns:

type, group   share of held-out distorted images whose kind of distortion, of the 25 (and of their 7 groups), a ridge on
              one-hot labels puts first. Half of --contents trains, the other half is tested; chance is 4 % and 16 %.
level         rank correlation of a ridge on the level, 1 to 5, with the level, over all kinds, on the same images
NAME          SRCC / PLCC with people's scores: medians over ten splits, 80 to 20, by image or by what stands behind @

--every N takes each N-th labelled image. Features are of whole images at their own size, or of the model's view.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from common import ROOT
from numpy.typing import NDArray

import pscr
from pscr.runtime import ridge
from pscr.runtime.calibration import correlation, ranks
from pscr.training import databases, splits
from pscr.training.diagnosis import Samples, look
from pscr.training.distortions import GROUPS, TYPES
from pscr.training.image_folders import images_below
from pscr.training.progress_bar import progress_bar

SPLITS = 10
Floats = NDArray[np.float64]


def predicted(features: Floats, labels: Floats, groups: NDArray[np.int64], tested: NDArray[np.bool_]) -> Floats:
    """What a ridge that is fitted on the others gives the tested images."""
    rng = np.random.default_rng(0)
    kept = ~tested
    strength = ridge.strength_of(features[kept], labels[kept], groups[kept], rng)
    return ridge.Ridge(features[kept], labels[kept]).line(strength)(features[tested])


def distortions(samples: Samples) -> dict[str, str]:
    """The probes of kinds and levels."""
    distorted = samples.levels > 0
    features, contents = samples.features[distorted].astype(np.float64), samples.contents[distorted]
    types, levels = samples.types[distorted], samples.levels[distorted].astype(np.float64)
    tested = contents % 2 == 1
    each = ((types == place).astype(np.float64) for place in range(len(TYPES)))
    shares = np.stack([predicted(features, one, contents, tested) for one in each], 1)
    group = np.array([GROUPS.index(one.group) for one in TYPES])
    found = shares.argmax(1)
    truth = types[tested]
    level = predicted(features, levels, contents, tested)
    return {
        "type": f"{100 * np.mean(found == truth):.0f} %",
        "group": f"{100 * np.mean(group[found] == group[truth]):.0f} %",
        "level": f"{correlation(ranks(level), ranks(levels[tested])):.2f}",
    }


def opinions(scorer: pscr.Scorer, spec: str, every: int) -> dict[str, str]:
    """The probe of one database's scores."""
    place, _, by = spec.partition("@")
    database = databases.load(place)
    items = database.items[::every]
    bar = progress_bar(items, len(items), database.name)
    features = np.stack([scorer.terms(scorer.patches(item.path)[None])[0] for item in bar]).astype(np.float64)
    labels = np.array([item.score for item in items])
    found = []
    for seed in range(1, SPLITS + 1):
        tested = np.zeros(len(items), bool)
        tested[splits.split(items, by or "image", 0.2, seed)[1]] = True
        groups = np.arange(len(items))
        scores = predicted(features, labels, groups, tested)
        found.append((correlation(ranks(scores), ranks(labels[tested])), correlation(scores, labels[tested])))
    srcc, plcc = np.median(found, 0)
    return {database.name: f"{srcc:.3f} / {plcc:.3f}"}


def main() -> None:
    """Measure and print the table, a row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, help="may be given several times")
    parser.add_argument("--data", action="append", default=[], help="NAME:DIR or NAME:DIR@COLUMN; several times")
    parser.add_argument("--contents", type=Path, default=ROOT / "examples" / "images", help="images to distort")
    parser.add_argument("--count", type=int, default=60, help="contents at most (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    files = images_below([options.contents])
    files = files[:: max(1, len(files) // options.count)][: options.count]
    rows = []
    for name in options.model:
        with pscr.open(name, "cpu", options.threads) as scorer:
            row = {"model": f"{scorer.manifest.name} {scorer.manifest.version}"}
            row |= distortions(look(scorer, files, 1, 0))
            for spec in options.data:
                row |= opinions(scorer, spec, options.every)
        rows.append(row)
        print(row, file=sys.stderr)
    names = list(rows[0])
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        print(f"| {' | '.join(row.values())} |")


if __name__ == "__main__":
    main()
