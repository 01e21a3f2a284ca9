"""`pscr bank`: make a bank of exemplars from labelled images, and say what a bank is."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import labelled
from ..console import columns, err, interruptible, one_line, out
from ..progress import Progress
from ..runtime.bank import Bank
from ..runtime.bank_building import LeaveOneOut
from ..runtime.bank_building import build as build_bank
from ..runtime.calibration import Calibration
from . import options as shared


def add(verbs: shared.Verbs) -> None:
    bank = shared.add_verb(
        verbs,
        "bank",
        "build a bank from labelled images, without training, or show one",
        description="A bank moves the score to a scale of your own: it takes opinion scores of your images and no "
        "training.",
    )
    actions = bank.add_subparsers(dest="action", metavar="build|show", required=True)
    building = shared.add_verb(actions, "build", "make a bank from a csv of paths and opinion scores", build)
    labelled.add(building, "BANK.npz")
    shared.model(building)
    shared.device(building, precision=False)
    shared.threads(building)
    building.add_argument(
        "--keep-scale", action="store_true", help="the labels are on the model's own scale: do not fit another"
    )
    shared.quiet(building, "warnings and errors only")
    showing = shared.add_verb(actions, "show", "say what a bank holds and how good it is", show)
    showing.add_argument("bank", metavar="BANK.npz")
    shared.json(showing)


def build(options: argparse.Namespace) -> int:
    """Build a bank from a csv of image paths and opinion scores, and say how good it is.

    Raises:
        UsageError: the output is not called like a bank.
        PscrError: the labels, an image, the model or the device cannot be used, or the output not written.
    """
    output = labelled.check_output(options)
    images, _ = labelled.read(options)
    progress = Progress(2 * len(images), options.quiet)
    with interruptible():
        try:
            bank, figures = build_bank(
                options.model,
                images,
                options.device,
                options.threads,
                fit_scale=not options.keep_scale,
                scale=labelled.scale(options, [image.score for image in images]),
                step=progress.step,
            )
        finally:
            progress.hide()
    bank = replace(bank, about={**bank.about, "labels": labelled.source(options)})
    labelled.write(bank, output)
    if not options.quiet:
        _show(output, bank)
    for warning in figures.warnings():
        err(f"pscr: warning: {warning}")
    return 0


def show(options: argparse.Namespace) -> int:
    """Describe a bank.

    Raises:
        PscrError: it cannot be read.
    """
    bank = Bank.read(Path(options.bank))
    if options.json:
        scores = [float(score) for score in bank.scores]
        entries = [{"name": name, "score": score} for name, score in zip(bank.names, scores, strict=True)]
        out(
            json.dumps(
                {
                    "score": bank.score.to_dict() if bank.score else None,
                    "scale": bank.scale,
                    "offset": bank.offset,
                    "about": bank.about,
                    "exemplars": entries,
                },
                ensure_ascii=True,
            )
        )
        return 0
    _show(Path(options.bank), bank)
    return 0


def _show(path: Path, bank: Bank) -> None:
    about = bank.about
    quantiles = np.quantile(bank.scores, [0, 0.25, 0.5, 0.75, 1])
    lines = {
        "bank": f"{path}: {len(bank)} exemplars, terms of {bank.terms.shape[1]} numbers",
        "opinion scores": "lowest {:.3f}, quartiles {:.3f} {:.3f} {:.3f}, highest {:.3f}".format(*quantiles),
        **({"score": f"{bank.score.meaning}; {bank.score}"} if bank.score else {}),
        "scale": f"{bank.scale:.4g} units of these scores per unit of the model's",
        "exemplars": ", ".join(bank.names[:4]) + (" ..." if len(bank) > 4 else ""),
    }
    if about:
        lines["built with"] = " ".join(str(about.get(key, "?")) for key in ("model", "version"))
        lines["built from"] = str(about.get("labels", "?"))
    lines |= _quality(about)
    for line in columns(lines.items()):
        out(one_line(line))


def _quality(about: dict[str, Any]) -> dict[str, str]:
    """The lines on how good a bank is; none where it does not say."""
    lines = {}
    if isinstance(about.get("leave_one_out"), dict):
        try:
            figures = LeaveOneOut(**about["leave_one_out"])
            lines["leave one out"] = (
                f"RMSE {figures.rmse:.3f}, mean error {figures.mae:.3f}, "
                f"SRCC {figures.srcc:.3f}, PLCC {figures.plcc:.3f}"
            )
            lines["without a model"] = f"RMSE {figures.rmse_of_mean:.3f} by giving every image the mean"
        except (TypeError, ValueError):
            lines["leave one out"] = "not readable; build the bank again"
    if "calibration" in about:
        lines["interval"] = Calibration.from_dict(about["calibration"], "the bank").in_words()
    return lines
