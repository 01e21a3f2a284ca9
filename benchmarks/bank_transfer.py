"""How far a bank carries the score to another scale without training: AGIQA-3K's alignment label and a rescaled MOS.

    python benchmarks/bank_transfer.py --data agiqa3k:DIR --model TWIN [--pool 500] [--draws 30]

A bank of n labelled images is drawn from those that trained the model and tested on the images that it held out. Three
ways: nothing refitted (the model's own bank), a bank whose line is not fitted, and a bank as `pscr bank build` makes
it; and what a straight line through the model's own score would give with the same labels. SRCC and RMSE in their
own units, means over the draws. One pass through the network per image and bank: all banks are parts of one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

import pscr
from pscr.runtime.bank import Bank
from pscr.runtime.bank_building import leave_one_out
from pscr.training import databases, splits
from pscr.training.metrics import agreement
from pscr.training.progress_bar import progress_bar
from pscr.training.unseen import unseen

SIZES = (10, 20, 50, 100, 200, 500)


def votes(scorer: pscr.Scorer, items: Sequence[databases.Item], what: str) -> np.ndarray:
    """The votes [N,K] for images, in order."""
    return np.stack(
        [scorer.infer(scorer.patches(item.path)[None]).votes[0] for item in progress_bar(items, len(items), what)]
    )


def figures(predicted: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """SRCC and RMSE."""
    found = agreement(predicted, labels)
    return found["srcc"], found["rmse"]


def main() -> None:
    """Measure and print a table for each label."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="agiqa3k:DIR")
    parser.add_argument("--model", required=True, help="trained without the images that the split holds out")
    parser.add_argument("--pool", type=int, default=500, help="images that banks are drawn from (default: %(default)s)")
    parser.add_argument("--test", type=int, default=0, help="held-out images; 0 for all (default)")
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    quality = databases.load(options.data).items
    alignment = np.array([item.score for item in databases.load(options.data, label="alignment").items])
    mos = np.array([item.score for item in quality])
    train, held_out = splits.split(quality, "image", 0.2, 1)
    rng = np.random.default_rng(0)
    pool = rng.permutation(train)[: options.pool]
    test = np.array(held_out[: options.test or None])
    with pscr.open(options.model, threads=options.threads) as scorer:
        unseen(scorer, [quality[i] for i in test])
        own = votes(scorer, [quality[i] for i in test], "own bank").mean(1)
        own_pool = votes(scorer, [quality[i] for i in pool], "own bank, pool").mean(1)
        patches = (scorer.patches(quality[i].path)[None] for i in pool)
        terms = np.stack([scorer.terms(one)[0] for one in progress_bar(patches, len(pool), "terms")])
    whole = Bank(terms, np.zeros(len(pool), np.float32), tuple(map(str, pool)))
    with pscr.open(options.model, threads=options.threads, bank=whole) as scorer:
        to_pool = votes(scorer, [quality[i] for i in test], "differences")
        in_pool = votes(scorer, [quality[i] for i in pool], "differences, pool")
    labels = {"MOS of quality x 20 + 5": 20 * mos + 5, "MOS of alignment": alignment}
    for name, label in labels.items():
        there, here = label[pool], label[test]
        srcc, rmse = figures(own, here)
        print(f"{name}: {len(test)} held-out images, standard deviation {here.std():.3f}")
        heads = ("bank, line fitted", "bank, no line", "line on the score")
        print(f"{'labels':>8}  {'  '.join(f'{head:>23}' for head in heads)}  {'LOO RMSE':>9}")
        print(f"{0:8d}  nothing refitted: SRCC {srcc:.3f} RMSE {rmse:.3f}")
        for size in (size for size in SIZES if size <= len(pool)):
            rows = []
            for _ in range(options.draws):
                kept = rng.permutation(len(pool))[:size]
                found, _, _ = leave_one_out(in_pool[np.ix_(kept, kept)], there[kept])
                difference = to_pool[:, kept].mean(1)
                fitted = there[kept].mean() + found.offset + found.scale * difference
                plain = there[kept].mean() + difference
                line = np.polyval(np.polyfit(own_pool[kept], there[kept], 1), own)
                each = [figures(predicted, here) for predicted in (fitted, plain, line)]
                rows.append([*(value for pair in each for value in pair), found.rmse])
            mean = np.mean(rows, 0)
            cells = "  ".join(f"SRCC {mean[n]:.3f} RMSE {mean[n + 1]:6.3f}".rjust(23) for n in (0, 2, 4))
            print(f"{size:8d}  {cells}  {mean[6]:9.3f}")


if __name__ == "__main__":
    sys.exit(main())
