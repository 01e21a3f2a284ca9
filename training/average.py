"""`python -m pscr.training.average RUN RUN ... -o RUN`: one network from several runs, by averaging their weights.

Runs that begin with the same weights and differ in their order of images, patches or loss end close enough together
that the mean of their weights is a network too, and often a better one than each (model soups, arXiv 2203.05482).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ..runtime.errors import PscrError, Status
from . import checkpoint
from .config import Config, same

SAME = ("data", "label", "backbone", "pretrained", "method", "sampling", "features", "scales",
        "hidden", "frozen_blocks", "protocol", "split",
        "split_by", "seed")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Write the run folder of the mean. Returns the exit code: 0, or 3 for runs that cannot be averaged."""
    parser = argparse.ArgumentParser(prog="python -m pscr.training.average", description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders of pscr train, of one split")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUN", help="the run folder to write")
    arguments = parser.parse_args(argv)
    try:
        average(arguments.runs, arguments.output)
    except PscrError as error:
        sys.stderr.write(f"pscr.training.average: error: {error}\n")
        return 3
    return 0


def average(runs: Sequence[Path], output: Path) -> None:
    """Average the selected weights of `runs` into the folder `output`, which `pscr export` takes like any run.

    The runs may have held out different shares of the images: held out of the mean is what every one of them held out.

    Raises:
        PscrError: INVALID_ARGUMENT where the runs differ in database, split, backbone or first weights;
            FILE_NOT_FOUND or MODEL_INVALID for a folder that is no run.
    """
    configs = [Config.read(run) for run in runs]
    for run, config in zip(runs, configs, strict=True):
        for name in SAME:
            found, expected = getattr(config, name), getattr(configs[0], name)
            if not same(name, found, expected):
                raise PscrError(
                    Status.INVALID_ARGUMENT, f"{run}: {name} is {found!r}; expected {expected!r} as in {runs[0]}"
                )
    loaded = [checkpoint.read(run / "best.safetensors") for run in runs]
    mean = {}
    for key, first in loaded[0][0].items():
        values = [tensors[key] for tensors, _ in loaded]
        mean[key] = torch.stack(values).mean(0) if first.is_floating_point() else first
    output.mkdir(parents=True, exist_ok=True)
    epochs = [meta["epoch"] for _, meta in loaded]
    shares = {"val": min(config.val for config in configs), "test": min(config.test for config in configs)}
    written = {**json.loads((runs[0] / "config.json").read_text()), **shares}
    checkpoint.write_atomically(output / "config.json", json.dumps(written, indent=1).encode())
    split = json.dumps(common([json.loads((run / "split.json").read_text()) for run in runs]), indent=1)
    checkpoint.write_atomically(output / "split.json", split.encode())
    note = {"averaged": [json.loads((run / "config.json").read_text()) for run in runs], "epochs": epochs}
    checkpoint.write_atomically(output / "averaged.json", json.dumps(note, indent=1).encode())
    labels = {key: meta[key] for key, meta in (("labels", loaded[0][1]),) if key in meta}
    checkpoint.write(output / "best.safetensors", mean, {"epoch": epochs, **labels})


def common(splits: Sequence[dict[str, list[str]]]) -> dict[str, list[str]]:
    """The split of a mean: in each held-out part what is in that part of all `splits`; the rest trained."""
    held = {part: [n for n in splits[0][part] if all(n in other[part] for other in splits)]
            for part in ("val", "test") if all(part in other for other in splits)}  # fmt: skip
    kept = {name for names in held.values() for name in names}
    train = [name for split in splits for names in split.values() for name in names if name not in kept]
    return {"train": list(dict.fromkeys(train)), **held}


if __name__ == "__main__":
    sys.exit(main())
