"""`pscr import pscr CHECKPOINT`: a published PSCR checkpoint and a CSV of exemplars to a model folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.manifest import Manifest
from ..training.backbones import NAMES
from ..training.options import option
from . import shell
from .model_options import ModelOptions


@dataclass(frozen=True, kw_only=True)
class PscrImport(ModelOptions):
    """What `import_pscr` is to do.

    checkpoint: the best_model.pt. backbone: what it was trained with. bank_csv: its exemplars, a CSV with the columns
    path and score; bank_root: the folder that the paths are relative to, None for the CSV's own. database, range: what
    it was trained on and the lowest and highest opinion score there, for the manifest; None for those of the exemplars.
    """

    checkpoint: Path = option(
        help="best_model.pt of the published training code", positional=True, metavar="CHECKPOINT"
    )
    backbone: str = option(choices=NAMES, help="what it was trained with")
    bank_csv: Path = option(metavar="FILE", help="its exemplars: columns path and score")
    bank_root: Path | None = option(None, metavar="DIR", help="where the paths begin (default: the CSV's folder)")
    database: str = option("", help="what it was trained on, for the manifest")
    range: tuple[float, float] | None = option(
        None, metavar=("LOW", "HIGH"), help="of the opinion scores (default: those of the exemplars)"
    )


def import_pscr(options: PscrImport) -> Manifest:
    """Write a model folder that scores as the published computation does; returns its manifest.

    Nothing in the checkpoint is executed, and nothing is written where the scores differ.

    Raises:
        PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT: no such checkpoint, exemplar or range; MODEL_INVALID: not such a
            checkpoint, one of another backbone, or scores further apart than `tolerance.PUBLISHED` allows.
        OSError: the folder cannot be written.
    """
    from .network_export import write_model
    from .published import of_published

    return write_model(
        of_published(
            options.checkpoint,
            options.backbone,
            options.bank_csv,
            options.bank_root or options.bank_csv.parent,
            database=options.database,
            score_range=options.range,
        ),
        options,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr import pscr`. Returns the exit code: 0, 2 for a wrong argument, 3 for what cannot be used."""
    return shell.command(
        "pscr import pscr",
        "Write a model folder from a checkpoint of PSCR's published training code, and prove that it scores like the "
        "published computation.",
        PscrImport,
        import_pscr,
        words,
        eager=True,
    )


if __name__ == "__main__":
    sys.exit(main())
