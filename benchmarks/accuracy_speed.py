"""Accuracy against speed: SRCC on unseen images and milliseconds an image, for every model and device given.

    python benchmarks/accuracy_speed.py MODEL... --data agiqa3k:DIR --split image:0.2:1 [--devices cpu openvino]

A model is a name or a folder (`pscr export onnx` writes them, in any precision and sampling). Both figures come through
the same backend: the scores of all images that `--split` names and that are no exemplars, and the single-stream latency
on 512x512 JPEGs. The images of the split must not have trained the model. Needs pscr[train].
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

from common import examples, finish, parser, where

import pscr
from pscr.bench import plots, scenarios
from pscr.bench.record import environment
from pscr.training import databases
from pscr.training.evaluate import score
from pscr.training.metrics import agreement, intervals
from pscr.training.unseen import chosen, without

KEYS = ("model", "version", "precision", "sampling", "device", "library")


def measure(model: str, device: str, given: argparse.Namespace) -> dict[str, Any]:
    """The row of one model on one device.

    Raises:
        PscrError: a model, device or database that cannot be used. ValueError: an image without a score.
    """
    database = databases.load(given.data)
    with pscr.open(model, device, given.threads) as scorer:
        info = scorer.info
        items = without(chosen(database, given.split), scorer.head.bank.names)
        scored = score(scorer, items)
        failed = [one.result.message for one in scored if not one.result.ok]
        if failed:
            raise ValueError(f"{model}: {len(failed)} images have no score; the first: {failed[0]}")
        timings = scenarios.single_stream(scorer, examples(), given.seconds)
    predicted, opinion = [one.result.score for one in scored], [one.item.score for one in scored]
    figures, bounds = agreement(predicted, opinion), intervals(predicted, opinion, measures=("srcc", "plcc"))
    row = {**info, "sampling": info["sampling"]["method"], "images": len(scored)}
    row = {key: row[key] for key in (*KEYS, "images")}
    for name in ("srcc", "plcc"):
        row |= {name: round(figures[name], 4)}
        row |= {f"{name}_low": round(bounds[name][0], 4), f"{name}_high": round(bounds[name][1], 4)}
    return row | {"p50_ms": round(statistics.median(timings.ms), 3)}


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__)
    options.add_argument("models", nargs="+", metavar="MODEL")
    options.add_argument("--data", required=True, help=databases.EXPECTED)
    options.add_argument("--split", required=True, help="as pscr evaluate has it")
    options.add_argument("--devices", nargs="+", default=["cpu"], metavar="DEVICE")
    given = options.parse_args()
    with pscr.open(given.models[0], given.devices[0], given.threads) as first:
        header = environment(first.info["threads"])
        where(given, first)
    rows = []
    for model in given.models:
        for device in given.devices:
            try:
                rows.append(measure(model, device, given))
            except pscr.PscrError as error:
                print(f"left out: {model} on {device}: {error}", file=sys.stderr)
    if not rows:
        raise SystemExit("nothing could be measured")
    record, file = finish(given, header, KEYS, rows, {"split": given.split.rpartition("/")[2]})
    labels = [f"{row['model']}, {row['precision']}, {row['device']}" for row in rows]
    x, y = ([row[name] for row in rows] for name in ("p50_ms", "srcc"))
    plots.points(file, labels, x, y, ("ms an image, single stream, median", f"SRCC, {record.facts['split']}"))


if __name__ == "__main__":
    main()
