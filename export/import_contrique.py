"""`pscr import contrique`: CONTRIQUE's encoder and one of its regressors to a model folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.manifest import Manifest
from ..training.options import option
from . import shell
from .linear_import import LinearOptions, scale_of

SOURCE = "https://github.com/pavancm/CONTRIQUE"
DATABASES = {  # lowest, highest, whether higher is better: MOS, or DMOS
    "clive": (0.0, 100.0, True),
    "koniq": (0.0, 100.0, True),
    "live": (0.0, 100.0, False),
    "csiq": (0.0, 1.0, False),
    "live_fr": (0.0, 100.0, False),
    "csiq_fr": (0.0, 1.0, False),
}
_FULL_REFERENCE = ("live_fr", "csiq_fr")  # databases whose regressors need the originals


@dataclass(frozen=True, kw_only=True)
class ContriqueImport(LinearOptions):
    """What `import_contrique` is to do.

    encoder: CONTRIQUE_checkpoint25.tar. regressor: one of the authors' .save files, another pickle of scikit-learn's
    Ridge on the same 4096 features, or a file of `pscr regress`.
    full_reference: the regressor takes |f_reference - f_image| of the features; so do LIVE_FR.save and CSIQ_FR.save.
    """

    encoder: Path = option(metavar="FILE", help="CONTRIQUE_checkpoint25.tar, or a state dict like it")
    regressor: Path = option(
        metavar="FILE",
        help="CLIVE.save, Koniq.save, LIVE.save, CSIQ.save, LIVE_FR.save, CSIQ_FR.save, or a Ridge of your own",
    )
    full_reference: bool = option(
        False, help="an image is judged beside its original (default: by the database: LIVE_FR, CSIQ_FR)"
    )
    licence: str = option(f"none stated by its authors, {SOURCE}", help="of the weights", group="the model folder")


def import_contrique(options: ContriqueImport) -> Manifest:
    """Write a model folder that scores as CONTRIQUE's code does; returns its manifest.

    Nothing in the files is executed, and nothing is written where the scores differ.

    Raises:
        PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT, MODEL_INVALID: those of `read_encoder`, `read_regressor` and
            `write_linear`.
        OSError: the folder cannot be written.
    """
    from .linear_encoders import CONTRIQUE, read_encoder
    from .linear_export import LinearSource, write_linear
    from .linear_graph import Expert, Views
    from .regressor_files import read_regressor

    regressor = read_regressor(options.regressor, lambda: scale_of(options.regressor, options, DATABASES))
    source = LinearSource(
        "contrique",
        (Expert(read_encoder(options.encoder, CONTRIQUE)),),
        Views("pil-bicubic", "whole", unit=True),
        regressor,
        regressor.score,
        SOURCE,
        {"encoder": options.encoder, "regressor": options.regressor},
        full_reference=options.full_reference or regressor.score.database.lower() in _FULL_REFERENCE,
    )
    return write_linear(source, options)


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr import contrique`. Returns the exit code: 0, 2 for a wrong argument, 3 for what cannot be used."""
    return shell.command(
        "pscr import contrique",
        "Write a model folder from CONTRIQUE's encoder and a regressor: whole photographs and their half scale, "
        "without reference or beside their originals. Nothing in the files is executed.",
        ContriqueImport,
        import_contrique,
        words,
        eager=True,
    )


if __name__ == "__main__":
    sys.exit(main())
