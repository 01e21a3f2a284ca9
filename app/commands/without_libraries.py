"""The command line where a library that everything needs cannot be imported: the verbs' own files need it as well."""

from __future__ import annotations

from collections.abc import Sequence

from ..console import error, out
from ..installation import UNUSABLE, Choice, written
from ..runtime.version import __version__

HELP = """\
usage: pscr [-h] [--version] VERB ...

Quality scores for AI-generated images.

Here no verb but doctor works, and the others' help is not there either:
  {problem}

'pscr doctor' says what is installed, and what would help.
"""


def run(words: Sequence[str], problem: str) -> int:
    """Answer a command line; returns the exit code. problem: which library it is, and what would help."""
    asked = [word for word in words if word != "--debug"][:1]
    if asked == ["--version"]:
        out(f"pscr {__version__}")
        return 0
    if asked in (["-h"], ["--help"]):
        out(HELP.format(problem=problem).rstrip())
        return 0
    if asked == ["doctor"]:
        return written([], Choice(), as_json="--json" in words)
    error(f"{problem}; 'pscr doctor' says more")
    return UNUSABLE
