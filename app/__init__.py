"""PSCR: quality scores for AI-generated images.

>>> import pscr
>>> with pscr.open() as scorer:              # the default model, on the best device there is
...     result = scorer.score("image.jpg")   # a path, encoded bytes or a uint8 array

Events are logged under "pscr", which is silent until the program adds a handler:
>>> import logging
>>> logging.getLogger("pscr").addHandler(logging.StreamHandler())
"""

import logging
import sys
from pathlib import Path

from .runtime.errors import PscrError, Status
from .runtime.version import __version__


def _is_the_program() -> bool:
    """Whether Python was started as `pscr` or `python -m pscr`, whose sys.argv[0] is "-m" while this is imported."""
    name = Path(sys.argv[0]).stem.removesuffix("-script") if getattr(sys, "argv", None) else ""
    return name == "pscr" or (name == "-m" and "pscr" in sys.orig_argv)


try:
    import numpy  # noqa: F401  # before OpenCV, which writes to standard output where NumPy is missing

    from .runtime.clip import ClipResult, score_clip
    from .runtime.quality_map import QualityMap, quality_map
    from .runtime.ranking import Ranked, rank
    from .runtime.scorer import Result, Scorer, open
except Exception:  # an ImportError of numpy or OpenCV, or whatever else a damaged one of them leads to
    if not _is_the_program():  # which goes on, to say so: see `commands.without_libraries`
        raise

__all__ = [
    "ClipResult",
    "PscrError",
    "QualityMap",
    "Ranked",
    "Result",
    "Scorer",
    "Status",
    "__version__",
    "open",
    "quality_map",
    "rank",
    "score_clip",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
