"""`pscr export onnx` and `python export/to_onnx.py`: a training run to a model folder, or one to another precision."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pscr.export import shell
from pscr.export.model_folder import is_model
from pscr.export.model_options import REDUCTION_IMAGES, ModelOptions
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import Manifest
from pscr.training.contrastive.config import is_contrastive
from pscr.training.options import defaults, option

_BANK = "the exemplars, of a training run"


@dataclass(frozen=True, kw_only=True)
class OnnxExport(ModelOptions):
    """What `export_onnx` is to do.

    run: the folder that `pscr train` wrote; or a model folder in fp32, by its path or name, which is converted.
    bank: which training images become exemplars, see `exemplar_choice.choose`. bank_of: the database that trained
        along whose images they are. rank: of the reduced regressor, 0 for the whole; see `reduction.reduce`.
    twin: a model folder of the same recipe on a part of the images; see `held_out_results.adopt`.
    """

    run: str | Path = option(
        help="the folder that pscr train wrote; with --precision also a model in fp32", positional=True, metavar="RUN"
    )
    bank: str = option("all", help="which of the training images: all, spread:K or random:K", group=_BANK)
    bank_of: str = option(
        "",
        metavar="SPEC",
        help="one of the databases that trained along (pscr train --also), to export the network for: its training "
        "images are the exemplars, its scale is the score's",
        group=_BANK,
    )
    rank: int = option(
        0,
        metavar="R",
        help="reduce the regressor's first layer to the R directions in which its output varies most over "
        f"{REDUCTION_IMAGES} of the bank's images: fewer parameters, nearly the same scores (default: 0, not)",
        group=_BANK,
    )
    twin: Path | None = option(
        None,
        metavar="MODEL",
        help="for a model of all images, which leaves none to measure it on: the model folder of the same recipe on a "
        "part of them, whose figures and calibration go into the manifest as the twin's",
        group=_BANK,
    )


def export_onnx(options: OnnxExport) -> Manifest:
    """Write a model folder, and prove that it scores like what it was made of; returns its manifest.

    Nothing is written where that fails. What is found on the way is logged.

    Raises:
        PscrError: FILE_NOT_FOUND, INVALID_ARGUMENT: a run, database, bank or image that cannot be used; MODEL_INVALID:
            a damaged one, or scores that are further apart than `tolerance` allows.
        OSError: the folder cannot be written.
    """
    if is_model(options.run):
        from pscr.export.convert import convert_model  # without torch

        return convert_model(options.run, options)
    if is_contrastive(Path(options.run)):
        return _export_encoder(options)
    from pscr.export.network_export import write_model
    from pscr.export.run_source import of_run

    source = of_run(Path(options.run), options.bank, options.bank_of)
    return write_model(source, options, rank=options.rank, twin=options.twin)


def _export_encoder(options: OnnxExport) -> Manifest:
    """Write the model folder of a self-supervised run: an encoder, for which `pscr regress` fits regressors."""
    for name in ("bank", "bank_of", "rank", "twin", "bake_bank", "precision"):
        if getattr(options, name) != defaults(OnnxExport)[name]:
            found = f"--{name.replace('_', '-')}: {options.run} is a self-supervised run, whose model has no scores yet"
            raise PscrError(Status.INVALID_ARGUMENT, f"{found}; leave it out")
    from pscr.export.contrastive_source import of_contrastive
    from pscr.export.linear_export import write_linear

    return write_linear(of_contrastive(Path(options.run)), options)


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr export onnx`. Returns the exit code: 0, 2 for a wrong argument, 3 for what cannot be used."""
    return shell.command(
        "pscr export onnx",
        "Write a model folder (graph, exemplar bank, manifest) from a training run, and prove that it scores like the "
        "network that was trained; or convert a model folder to another precision.",
        OnnxExport,
        export_onnx,
        words,
        eager=True,
    )


if __name__ == "__main__":
    sys.exit(main())
