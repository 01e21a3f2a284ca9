"""How hard a validation split is, by a model that no split was tuned on: ridge regression on ImageNet features.

    python benchmarks/split_difficulty.py --data agiqa3k:DIR [--seed 1] [--draws 20]

Prints SRCC and PLCC of the split that `pscr train --seed N` makes, and their mean and standard deviation over random
draws of the same size. Features: the unchanged backbone, averaged over the nine patches.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch

from pscr.runtime.image import load
from pscr.training import databases, splits
from pscr.training.metrics import agreement
from pscr.training.model import build, load_pretrained
from pscr.training.progress import progress

PENALTY = 3000.0  # on standardised features; one value for all draws, not tuned


def ridge(features: np.ndarray, scores: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """SRCC and PLCC on `test` of a ridge regression fitted to `train`."""
    x, y = features[train], scores[train] - scores[train].mean()
    weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ y)
    found = agreement(features[test] @ weights, scores[test])
    return found["srcc"], found["plcc"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="agiqa3k:DIR, ...")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--val", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    items = databases.load(options.data).items
    model = build(options.backbone).eval()
    load_pretrained(model, "imagenet")
    rows = []
    with torch.inference_mode():
        for item in progress(items, len(items), "features"):
            rows.append(model.features(torch.from_numpy(model.sampling.cut(load(item.path))[None]))[0].numpy())
    features = np.stack(rows).astype(np.float64)
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    scores = np.array([item.score for item in items])
    train, val = (np.array(part) for part in splits.split(items, "image", options.val, options.seed))
    srcc, plcc = ridge(features, scores, train, val)
    print(f"split of seed {options.seed}, {len(val)} images: SRCC {srcc:.4f}, PLCC {plcc:.4f}")
    others = []
    for draw in range(options.draws):
        order = np.random.default_rng(1000 + draw).permutation(len(scores))
        others.append(ridge(features, scores, order[len(val) :], order[: len(val)]))
    mean, deviation = np.mean(others, 0), np.std(others, 0)
    print(
        f"{options.draws} random draws: SRCC {mean[0]:.4f} (standard deviation {deviation[0]:.4f}), "
        f"PLCC {mean[1]:.4f} ({deviation[1]:.4f})"
    )


if __name__ == "__main__":
    sys.exit(main())
