"""Does it help to let exemplars vote that are like the image, and not all of them alike?

    python benchmarks/bank_weighting.py --data agiqa3k:DIR --model TWIN

On the images that the model held out. Likeness is the distance of exemplar terms, which are what the model knows of an
image: the nearest exemplars only, or all, weighted by exp(-distance^2 / (tau * its median)). Prints SRCC, PLCC, RMSE.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import pscr
from pscr.training import databases, splits
from pscr.training.metrics import agreement
from pscr.training.progress_bar import progress_bar
from pscr.training.unseen import unseen


def main() -> None:
    """Measure and print a line for each way of voting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="agiqa3k:DIR")
    parser.add_argument("--model", required=True, help="trained without the images that the split holds out")
    parser.add_argument("--seed", type=int, default=1, help="of the split that the model was trained with")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    items = databases.load(options.data).items
    chosen = [items[place] for place in splits.split(items, "image", 0.2, options.seed)[1]]
    votes, terms = [], []
    with pscr.open(options.model, threads=options.threads) as scorer:
        unseen(scorer, chosen)
        for item in progress_bar(chosen, len(chosen), "votes"):
            patches = scorer.patches(item.path)[None]
            votes.append(scorer.infer(patches).votes[0])
            terms.append(scorer.terms(patches)[0])
        bank = scorer.head.bank.terms
    vote, opinion = np.stack(votes), np.array([item.score for item in chosen])
    distance = np.stack([((bank - own) ** 2).sum(1) for own in terms])
    nearest = np.argsort(distance, 1)
    ways = {"all alike, as shipped": vote.mean(1), "median": np.median(vote, 1)}
    for count in (20, 50, 100, 300, 800):
        if count < len(bank):
            ways[f"{count} nearest"] = np.take_along_axis(vote, nearest[:, :count], 1).mean(1)
    for tau in (0.05, 0.1, 0.2, 0.5, 1.0):
        weight = np.exp(-distance / (tau * np.median(distance)))
        ways[f"tau {tau}"] = (weight * vote).sum(1) / weight.sum(1)
    for name, scores in ways.items():
        found = agreement(scores, opinion)
        print(f"{name:22}  SRCC {found['srcc']:.4f}  PLCC {found['plcc']:.4f}  RMSE {found['rmse']:.4f}")


if __name__ == "__main__":
    sys.exit(main())
