"""What the importers of CONTRIQUE, ARNIQA and Re-IQA share: their options, and what a regressor's scores mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import PscrError, Status
from ..runtime.score_scale import ScoreScale
from ..training.databases import MEANINGS
from ..training.options import option
from .model_options import ModelOptions

MOS = MEANINGS["quality"]
DMOS = "difference mean opinion score (quality lost)"
NO_SCALE = ScoreScale(f"{MOS}, of the regressor that is still to be fitted", "none", (0.0, 1.0))
_FITTED = "what the regressor was fitted on"


@dataclass(frozen=True, kw_only=True)
class LinearOptions(ModelOptions):
    """database: what the regressor was fitted on, "" for what its file is called. range, lower_is_better: of its
    scores, for a database that is not in the method's own table.
    """

    database: str = option("", help="the database (default: by the regressor's file name)", group=_FITTED)
    range: tuple[float, float] | None = option(
        None, metavar=("LOW", "HIGH"), help="of its opinion scores (default: as the authors have it)", group=_FITTED
    )
    lower_is_better: bool = option(
        False, help="its scores are of what is lost, such as DMOS; with --range", group=_FITTED
    )


def scale_of(file: Path, options: LinearOptions, table: Mapping[str, tuple[float, float, bool]]) -> ScoreScale:
    """On which scale the scores of a regressor lie.

    table: the method's own, the lowest and highest score of each database and whether higher is better.

    Raises:
        PscrError: INVALID_ARGUMENT for a database that is not in the table, without a range; for one that is none.
    """
    name = options.database or file.stem.removeprefix("regressor_").partition("_srocc_")[0]
    if options.range is not None:
        low, high, higher = *options.range, not options.lower_is_better
    elif name.lower() in table:
        low, high, higher = table[name.lower()]
    else:
        known = f" (known: {', '.join(table)})" if table else ""
        found = f"{file}: nothing is known of the scores of {name!r}{known}"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; give --database NAME --range LOW HIGH [--lower-is-better]")
    if not low < high:
        raise PscrError(Status.INVALID_ARGUMENT, f"--range is {low:g} {high:g}; expected the lowest, then the highest")
    return ScoreScale(MOS if higher else DMOS, name, (low, high), higher)
