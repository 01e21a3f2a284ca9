"""How often `pscr rank` orders two images as people do, by the confidence that it states.

    python benchmarks/ranking_agreement.py --data agiqa3k:DIR --model TWIN

On the images that the model held out. The confidence is calibrated on one half of the prompts and counted on the other,
both ways, so no pair is judged by a calibration that saw it. Pairs of one prompt are what ranking is for; pairs of any
two images are there because there are more of them. Pairs that people scored alike are left out.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import numpy as np

import pscr
from pscr.runtime.calibration import measure
from pscr.runtime.ranking import SUPPORT
from pscr.training import databases, splits
from pscr.training.progress_bar import progress_bar
from pscr.training.unseen import unseen

EDGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="agiqa3k:DIR")
    parser.add_argument("--model", required=True, help="trained without the images that the split holds out")
    parser.add_argument("--seed", type=int, default=1, help="of the split that the model was trained with")
    parser.add_argument("--test", type=int, default=0, help="held-out images; 0 for all (default)")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    items = databases.load(options.data).items
    held_out = splits.split(items, "image", 0.2, options.seed)[1][: options.test or None]
    chosen = [items[place] for place in held_out]
    with pscr.open(options.model, threads=options.threads) as scorer:
        unseen(scorer, chosen)
        rows = (scorer.infer(scorer.patches(item.path)[None]).votes[0] for item in chosen)
        votes = np.stack(list(progress_bar(rows, len(chosen), "votes"))).astype(np.float64)
    scores, spreads, opinions = votes.mean(1), votes.std(1), np.array([item.score for item in chosen])
    prompts = {group: place for place, group in enumerate(sorted({item.group for item in chosen}))}
    prompt = np.array([prompts[item.group] for item in chosen])
    half = np.random.default_rng(0).permutation(len(prompts))[prompt] % 2
    scales = [measure(scores[half == h], spreads[half == h], opinions[half == h], "half") for h in (0, 1)]
    for name, same in (("pairs of one prompt", True), ("pairs of any two images", False)):
        stated, agrees, supported = [], [], []
        for side in (0, 1):  # calibrated on the other side
            here = np.flatnonzero(half == side)
            first, second = (here[place] for place in np.triu_indices(len(here), 1))
            kept = (opinions[first] != opinions[second]) & ((prompt[first] == prompt[second]) | (not same))
            for a, b in zip(first[kept], second[kept], strict=True):
                paired = votes[a] - votes[b]
                stated.append(scales[1 - side].agreement(float(paired.mean())))
                agrees.append((paired.mean() > 0) == (opinions[a] > opinions[b]))
                supported.append(abs(paired.mean()) > SUPPORT * paired.std())
        confidence, agree, support = np.array(stated), np.array(agrees), np.array(supported)
        print(f"{name}: {len(agree)}, same order as people {agree.mean():.3f}")
        for what, mask in (("supported by the votes", support), ("not supported", ~support)):
            if mask.any():
                print(f"  {what:22} {mask.sum():7d}  agree {agree[mask].mean():.3f}")
        print(f"  {'confidence':>12} {'pairs':>8} {'stated':>7} {'agree':>7} {'± 2 s.e.':>8}")
        for low, high in itertools.pairwise(EDGES):
            here = (confidence >= low) & ((confidence < high) | (high == 1.0))
            if here.any():
                share = agree[here].mean()
                error = 2 * np.sqrt(max(share * (1 - share), 1e-9) / here.sum())
                cells = f"{here.sum():8d} {confidence[here].mean():7.3f} {share:7.3f} {error:8.3f}"
                print(f"  {low:.2f} to {high:.2f} {cells}")


if __name__ == "__main__":
    sys.exit(main())
