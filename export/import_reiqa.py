"""`pscr import reiqa`: Re-IQA's two encoders, and a regressor where there is one, to a model folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.manifest import Manifest
from ..training.backbones.spec import IMAGENET
from ..training.options import option
from . import shell
from .linear_import import NO_SCALE, LinearOptions, scale_of

SOURCE = "https://github.com/avinabsaha/ReIQA"


@dataclass(frozen=True, kw_only=True)
class ReiqaImport(LinearOptions):
    """What `import_reiqa` is to do.

    quality, content: quality_aware_r50.pth and content_aware_r50.pth. regressor: a pickle of scikit-learn's Ridge on
    8192 features (quality at the full and half scale, then content), or a file of `pscr regress`. The authors published
    none: without one the model gives features, on which `pscr regress` fits one.
    """

    quality: Path = option(metavar="FILE", help="quality_aware_r50.pth")
    content: Path = option(metavar="FILE", help="content_aware_r50.pth")
    regressor: Path | None = option(
        None,
        metavar="FILE",
        help="a Ridge of your own on the 8192 features, quality before content (default: none; pscr regress fits one)",
    )
    licence: str = option("MIT", help="of the weights", group="the model folder")


def import_reiqa(options: ReiqaImport) -> Manifest:
    """Write a model folder that scores as Re-IQA's features and the regressor do; returns its manifest.

    Nothing in the files is executed, and nothing is written where the scores differ.

    Raises:
        PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT, MODEL_INVALID: those of `read_encoder`, `read_regressor` and
            `write_linear`.
        OSError: the folder cannot be written.
    """
    from .linear_encoders import REIQA, read_encoder
    from .linear_export import LinearSource, write_linear
    from .linear_graph import Expert, Views
    from .regressor_files import read_regressor

    file, regressor = options.regressor, None
    files = {"quality": options.quality, "content": options.content}
    if file is not None:
        regressor = read_regressor(file, lambda: scale_of(file, options, {}))
        files["regressor"] = file
    source = LinearSource(
        "reiqa",
        (Expert(read_encoder(options.quality, REIQA)), Expert(read_encoder(options.content, REIQA), IMAGENET)),
        Views("pil-bicubic", "whole", unit=False),
        regressor,
        NO_SCALE if regressor is None else regressor.score,
        SOURCE,
        files,
    )
    return write_linear(source, options)


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr import reiqa`. Returns the exit code: 0, 2 for a wrong argument, 3 for files that cannot be used."""
    return shell.command(
        "pscr import reiqa",
        "Write a model folder from Re-IQA's quality and content encoders, and a regressor where there is one. Nothing "
        "in the files is executed.",
        ReiqaImport,
        import_reiqa,
        words,
        eager=True,
    )


if __name__ == "__main__":
    sys.exit(main())
