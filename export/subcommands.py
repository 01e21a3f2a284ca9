"""A verb whose first word says which command is meant; only that one's module is imported."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Subcommand:
    """module: has `main(words) -> exit code`, and its help needs no torch. summary: for the verb's help."""

    module: str
    summary: str


def dispatch(prog: str, description: str, commands: Mapping[str, Subcommand], words: Sequence[str]) -> int:
    """Run the command that the first word names, or say which there are. Returns the exit code."""
    if words and words[0] in commands:
        return int(import_module(commands[words[0]].module).main(words[1:]))
    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    listed = parser.add_subparsers(metavar="COMMAND", title=f"commands ('{prog} COMMAND --help' says more)")
    listed.required = True
    for name, command in commands.items():
        listed.add_parser(name, help=command.summary)
    parser.parse_args(words)
    return 2
