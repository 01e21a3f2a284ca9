"""`pscr import arniqa`: ARNIQA's encoder and one of its regressors to a model folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.manifest import Manifest
from ..training.backbones.spec import IMAGENET
from ..training.options import option
from . import shell
from .linear_import import LinearOptions, scale_of

SOURCE = "https://github.com/miccunifi/ARNIQA"
DATABASES = {  # lowest, highest, whether higher is better: MOS, or DMOS
    "live": (1.0, 100.0, False),
    "csiq": (0.0, 1.0, False),
    "tid2013": (0.0, 9.0, True),
    "kadid10k": (1.0, 5.0, True),
    **dict.fromkeys(("flive", "spaq", "clive", "koniq10k"), (1.0, 100.0, True)),
}
PROTOCOLS = {  # the half scale and the crops
    "test": ("pil-bicubic", "five224"),
    "hub": ("pil-bilinear", "whole"),
    "pyiqa": ("mean2", "whole"),
}


@dataclass(frozen=True, kw_only=True)
class ArniqaImport(LinearOptions):
    """What `import_arniqa` is to do.

    encoder: ARNIQA.pth, or the checkpoint of a training of one's own. regressor: one of the authors' regressor_*.pth,
    which are TorchScript, a pickle of scikit-learn's Ridge, or a file of `pscr regress`. protocol: one of `PROTOCOLS`:
    the authors' own code has several.
    """

    encoder: Path = option(metavar="FILE", help="ARNIQA.pth, or a checkpoint of your own training")
    regressor: Path = option(metavar="FILE", help="regressor_kadid10k.pth or another, or a Ridge of your own")
    protocol: str = option(
        "test",
        choices=tuple(PROTOCOLS),
        help="what the encoder sees: five crops of 224 pixels and a bicubic half, which the regressors were fitted on; "
        "or the whole image with the half scale of the authors' hub or of pyiqa",
    )
    licence: str = option("Apache-2.0", help="of the weights", group="the model folder")


def import_arniqa(options: ArniqaImport) -> Manifest:
    """Write a model folder whose scores are ARNIQA's, from 0 to 1 and the higher the better; returns its manifest.

    A regressor of `pscr regress` keeps its own scale. Nothing in the files is executed, and nothing is written where
    the scores differ.

    Raises:
        PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT, MODEL_INVALID: those of `read_encoder`, `read_regressor` and
            `write_linear`.
        OSError: the folder cannot be written.
    """
    from .linear_encoders import ARNIQA, read_encoder
    from .linear_export import LinearSource, write_linear
    from .linear_graph import Expert, Views
    from .regressor_files import read_regressor, to_unit

    regressor = read_regressor(options.regressor, lambda: scale_of(options.regressor, options, DATABASES), to_unit)
    source = LinearSource(
        "arniqa",
        (Expert(read_encoder(options.encoder, ARNIQA), IMAGENET),),
        Views(*PROTOCOLS[options.protocol], unit=True),
        regressor,
        regressor.score,
        SOURCE,
        {"encoder": options.encoder, "regressor": options.regressor},
    )
    return write_linear(source, options)


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr import arniqa`. Returns the exit code: 0, 2 for a wrong argument, 3 for files that cannot be used."""
    return shell.command(
        "pscr import arniqa",
        "Write a model folder from ARNIQA's encoder and a regressor: scores from 0 to 1, higher is better. Nothing in "
        "the files is executed.",
        ArniqaImport,
        import_arniqa,
        words,
        eager=True,
    )


if __name__ == "__main__":
    sys.exit(main())
