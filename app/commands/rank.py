"""`pscr rank`: candidates in order, the best first, and how sure each step of the order is."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any

from ..console import UsageError, columns, err, interruptible, one_line, out
from ..describe import title
from ..runtime.ranking import Ranked
from ..runtime.ranking import rank as rank_images
from ..tables.fields import record
from ..tables.inputs import expand, in_words
from ..voting import named, opened
from . import options as shared

HEADER = ("place", "score", "ahead", "supported", "confidence", "path")


def add(verbs: shared.Verbs) -> None:
    ranking = shared.add_verb(verbs, "rank", "put candidates for the same prompt in order, the best first", run)
    ranking.add_argument(
        "paths", metavar="PATH", nargs="+", help="files, folders or quoted patterns; two images or more"
    )
    shared.model(ranking)
    shared.device(ranking)
    shared.threads(ranking)
    shared.bank(ranking)
    ranking.add_argument("--format", choices=("table", "jsonl"), default="table", help="default: %(default)s")
    shared.quiet(ranking, "rows and errors only")


def run(options: argparse.Namespace) -> int:
    """Rank what the command line names; returns 1 where an image has no place.

    Raises:
        UsageError: fewer than two images.
        PscrError: the model, the bank or the device cannot be used.
    """
    left_out: Counter[str] = Counter()
    items = expand(options.paths, left_out)
    images = [item for item in items if not item.problem]
    if len(images) < 2:
        found = next((f"{item.path}: {item.problem}" for item in items if item.problem), "one image")
        raise UsageError(f"found {found}; expected two images or more to put in order")
    if left_out and not options.quiet:
        err(f"pscr: {in_words(left_out)}")
    with interruptible(), opened(options) as scorer:
        ranked = rank_images(scorer, [image.path for image in images])
        heading = title(scorer, named(options))
        calibrated = scorer.calibration is not None
    if options.format == "jsonl":
        for one in ranked:
            out(json.dumps(_record(one), ensure_ascii=True))
    else:
        if not options.quiet:
            out(one_line(heading) + "\n")
        for line in columns([HEADER, *map(_cells, ranked)], right=frozenset({0, 1, 2, 4})):
            out(line)
        if not options.quiet and not calibrated:
            out("\nno confidence: this model and bank are not calibrated")
    return 0 if all(one.place for one in ranked) else 1


def _record(one: Ranked) -> dict[str, Any]:
    values = record(one.result)
    return {
        "place": one.place or None,
        **{key: values[key] for key in ("path", "score", "spread")},
        "ahead": None if one.ahead is None else round(one.ahead, 6),
        "supported": one.supported,
        "confidence": None if one.confidence is None else round(one.confidence, 4),
        **{key: values[key] for key in ("status", "message")},
    }


def _cells(one: Ranked) -> tuple[str, ...]:
    values = _record(one)
    path = str(values["path"])
    note = str(values["message"]).removeprefix(f"{path}: ")
    if not one.place:
        return "-", "-", "-", "-", "-", one_line(f"{path}  {values['status']} ({note})")
    ahead = "" if values["ahead"] is None else f"{values['ahead']:.3f}"
    supported = "" if values["supported"] is None else ("yes" if values["supported"] else "no")
    confidence = "" if values["confidence"] is None else f"{100 * values['confidence']:.0f} %"
    return str(one.place), f"{values['score']:.3f}", ahead, supported, confidence, one_line(path)
