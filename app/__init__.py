"""PSCR: quality scores for AI-generated images.

>>> import pscr
>>> with pscr.open() as scorer:              # the default model, on the best device there is
...     result = scorer.score("image.jpg")   # a path, encoded bytes or a uint8 array

Events are logged under "pscr", which is silent until the program adds a handler:
>>> import logging
>>> logging.getLogger("pscr").addHandler(logging.StreamHandler())
"""

import logging

from .runtime.errors import PscrError, Status
from .runtime.quality_map import QualityMap, quality_map
from .runtime.ranking import Ranked, rank
from .runtime.scorer import Result, Scorer, open
from .runtime.version import __version__

__all__ = [
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
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
