"""`pscr import FORMAT CHECKPOINT`: a published checkpoint to a model folder. A format is one entry of IMPORTERS."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .subcommands import Subcommand, dispatch

IMPORTERS = {
    "pscr": Subcommand("pscr.export.import_pscr", "a best_model.pt of PSCR's own training code, with its exemplars"),
    "contrique": Subcommand("pscr.export.import_contrique", "CONTRIQUE: its encoder and one of its regressors"),
    "arniqa": Subcommand("pscr.export.import_arniqa", "ARNIQA: its encoder and one of its regressors"),
    "reiqa": Subcommand("pscr.export.import_reiqa", "Re-IQA: its two encoders, and a regressor where there is one"),
}


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr import`. Returns the importer's exit code; 2 where the first word is none."""
    words = sys.argv[1:] if words is None else words
    return dispatch("pscr import", "Turn a published checkpoint into a model folder.", IMPORTERS, words)


if __name__ == "__main__":
    sys.exit(main())
