"""`pscr export COMMAND`: what a training run and a model folder can be turned into."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .subcommands import Subcommand, dispatch

COMMANDS = {
    "onnx": Subcommand("pscr.export.to_onnx", "a model folder of a training run, or of a model in another precision"),
    "engine": Subcommand("pscr.export.to_trt", "a TensorRT engine of a model"),
    "triton": Subcommand("pscr.export.to_triton", "a Triton Inference Server model repository of a model"),
    "ensemble": Subcommand("pscr.export.ensemble", "several models in one, their votes averaged"),
    "view": Subcommand("pscr.export.to_view", "the reference view for a model of the first format"),
}
MOVED = {
    "--engine": "pscr export engine MODEL",
    "--triton": "pscr export triton MODEL -o DIR",
    "--ensemble": "pscr export ensemble MODEL MODEL ... -o DIR",
    "--view": "pscr export view MODEL -o DIR",
    "--published": "pscr import pscr CHECKPOINT -o DIR",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr export`. Returns the command's exit code; 2 where the first word is none."""
    words = list(sys.argv[1:] if words is None else words)
    first = words[0] if words else ""
    if first in COMMANDS or not words:
        return _dispatch(words)
    moved = next((word for word in words if word in MOVED), "")
    if moved:
        return _refuse(f"{moved} is a command of its own now: {MOVED[moved]}")
    if not first.startswith("-"):
        found = f"{first!r} is no command; expected one of {', '.join(COMMANDS)}"
        return _refuse(f"{found}; of a training run or a model folder: pscr export onnx {first}")
    return _dispatch(words)


def _dispatch(words: Sequence[str]) -> int:
    return dispatch("pscr export", "Turn a training run into a model, or a model into another form.", COMMANDS, words)


def _refuse(found: str) -> int:
    sys.stderr.write(f"pscr export: error: {found}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
