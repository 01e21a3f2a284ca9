"""How hard a validation split is, by models that no split was tuned on, on the features of an unchanged backbone.

    python benchmarks/split_difficulty.py --data agiqa3k:DIR [--seed 1] [--draws 10]

Prints SRCC and PLCC, on the split that `pscr train --seed N` makes, of ridge regression and of PSCR's regressor
trained alone, and their mean and standard deviation over the splits of other seeds. Features: ImageNet's, averaged
over the nine patches.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np
import torch

from pscr.runtime.image import load
from pscr.training import databases, splits
from pscr.training.head import train_head
from pscr.training.losses import pair_loss
from pscr.training.metrics import agreement
from pscr.training.model import build, load_pretrained
from pscr.training.progress_bar import progress_bar
from pscr.training.regressor import Regressor

PENALTY = 3000.0  # on standardised features; one value for all draws, not tuned
EPOCHS = 50  # of the regressor; one value for all draws


def ridge(features: np.ndarray, scores: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """SRCC and PLCC on `test` of a ridge regression fitted to `train`.

    features [N,C], standardised; scores [N], opinions; train and test: indices of images.
    """
    x, y = features[train], scores[train] - scores[train].mean()
    weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ y)
    found = agreement(features[test] @ weights, scores[test])
    return found["srcc"], found["plcc"]


def regressor_alone(
    features: np.ndarray, scores: np.ndarray, train: np.ndarray, test: np.ndarray
) -> tuple[float, float]:
    """The same of PSCR's regressor, trained on all pairs of its batches; every training image is an exemplar.

    Source: PSCR section III-C, equation 6.
    """
    torch.manual_seed(0)  # the first weights and dropout
    x, y = torch.from_numpy(features).float(), torch.from_numpy(scores).float()
    regressor = Regressor(x.shape[1])
    train_head(
        regressor.parameters(),
        partial(pair_loss, regressor),
        x[train][None],
        y[train],
        np.random.default_rng(0),
        epochs=EPOCHS,
        rate=3e-4,
        weight_decay=0.05,
        dropout=0.4,
    )
    with torch.inference_mode():
        terms = regressor.terms(x[train])
        votes = [regressor.differences(regressor.query_part(x[i : i + 1]), terms)[0] + y[train] for i in test]
    found = agreement(torch.stack(votes).mean(1).numpy(), scores[test])
    return found["srcc"], found["plcc"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="agiqa3k:DIR, ...")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--val", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    items = databases.load(options.data).items
    model = build(options.backbone).eval()
    load_pretrained(model, "imagenet")
    rows = []
    with torch.inference_mode():
        for item in progress_bar(items, len(items), "features"):
            rows.append(model.features(torch.from_numpy(model.sampling.cut(load(item.path))[None]))[0].numpy())
    features = np.stack(rows).astype(np.float64)
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    scores = np.array([item.score for item in items])
    print(f"{len(items)} images, {options.val:g} of them for validation")
    seeds = [options.seed, *(seed for seed in range(1, options.draws + 2) if seed != options.seed)][: 1 + options.draws]
    parts = [[np.array(part) for part in splits.split(items, "image", options.val, seed)] for seed in seeds]
    for name, measure in {"ridge regression": ridge, "PSCR's regressor alone": regressor_alone}.items():
        rows = [measure(features, scores, *part) for part in progress_bar(parts, len(parts), name)]
        mean, deviation = np.mean(rows[1:], 0), np.std(rows[1:], 0)
        print(f"{name}: split of seed {options.seed}: SRCC {rows[0][0]:.4f}, PLCC {rows[0][1]:.4f}")
        print(
            f"  {options.draws} other seeds: SRCC {mean[0]:.4f} (standard deviation {deviation[0]:.4f}), "
            f"PLCC {mean[1]:.4f} ({deviation[1]:.4f})"
        )


if __name__ == "__main__":
    sys.exit(main())
