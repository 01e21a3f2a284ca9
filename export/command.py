"""`pscr export`: which of the export commands is meant. Engines need no torch, so none is imported for them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

OTHERS = {"--engine": "to_trt", "--triton": "to_triton", "--ensemble": "ensemble", "--view": "to_view"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pscr export`; each option of OTHERS is a command of its own, with the rest of the words."""
    words = list(sys.argv[1:] if argv is None else argv)
    for option, module in OTHERS.items():
        if option in words:
            words.remove(option)
            return int(import_module(f"pscr.export.{module}").main(words))
    return int(import_module("pscr.export.to_onnx").main(words))
