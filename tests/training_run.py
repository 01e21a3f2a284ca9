"""A small real training run, for tests of training and of export."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

OPTIONS = [
    "--epochs=3", "--batch=4", "--patches=1", "--val=0.25", "--exemplars=4", "--head-epochs=1", "--frozen-blocks=14",
    "--threads=1", "--dropout=0.1", "--validate-every=1",
]  # fmt: skip


def label(folder: Path) -> Path:
    """Write twelve noisy images whose score is their brightness, and their CSV; gives the CSV."""
    rng = np.random.default_rng(0)
    rows = ["path,score"]
    for index in range(12):
        noise = rng.integers(0, 20 * index + 20, (224, 224, 3))
        cv2.imwrite(str(folder / f"{index}.png"), noise.astype(np.uint8))
        rows.append(f"{index}.png,{index / 3:.3f}")
    file = folder / "labels.csv"
    file.write_text("\n".join(rows))
    return file
