"""Figures of a run and of an evaluation, drawn with matplotlib, which is imported where something is drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..runtime import output_file
from ..runtime.errors import PscrError, Status
from ..runtime.libraries import spare_home
from .logistic import fit_logistic
from .terminal import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMES = {
    "srcc": "SRCC",
    "krcc": "KRCC",
    "plcc": "PLCC",
    "plcc_fitted": "PLCC fitted",
    "rmse": "RMSE",
    "rmse_fitted": "RMSE fitted",
}


def check_plot(file: Path) -> None:
    """Find out early that a plot cannot be drawn.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        PscrError: INVALID_ARGUMENT for an ending that it does not know.
    """
    spare_home()
    from matplotlib.figure import Figure

    kinds = Figure().canvas.get_supported_filetypes()
    if file.suffix.removeprefix(".").lower() not in kinds:
        found = f"{file}: cannot be drawn; expected a name ending in one of: {', '.join(sorted(kinds))}"
        raise PscrError(Status.INVALID_ARGUMENT, found)


def scatter(
    file: Path, predicted: Sequence[float], opinion: Sequence[float], title: str, figures: dict[str, float]
) -> None:
    """Draw opinions over scores with the fitted curve, as PNG, PDF or SVG by the file's ending.

    figures: srcc, plcc and plcc_fitted stand below the title, as far as they are there and defined.
    """
    scatters(file, [(predicted, opinion, title, figures)])


def scatters(
    file: Path, panels: Sequence[tuple[Sequence[float], Sequence[float], str, dict[str, float]]], longest: int = 3
) -> None:
    """Draw a panel like that of `scatter` for each database, up to `longest` in a row."""
    spare_home()
    from matplotlib.figure import Figure  # the object interface: no display, no global state

    wide = min(len(panels), longest)
    tall = math.ceil(len(panels) / wide)
    figure = Figure(figsize=(6.4 * wide, 5.2 * tall), layout="constrained")
    places = figure.subplots(tall, wide, squeeze=False).ravel()
    for axes, panel in zip(places, panels, strict=False):
        _panel(axes, *panel)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=150, format=file.suffix.removeprefix("."))
    output_file.write(file, drawn.getvalue())


def _panel(
    axes: Axes, predicted: Sequence[float], opinion: Sequence[float], title: str, figures: dict[str, float]
) -> None:
    axes.scatter(predicted, opinion, s=14, alpha=0.5, linewidths=0, color="#1f5fa8", label="images")
    curve = fit_logistic(predicted, opinion)
    if curve is not None:
        x = np.linspace(min(predicted), max(predicted), 200)
        axes.plot(x, curve(x), color="#c8501e", linewidth=2, label="four-parameter logistic")
    axes.set_xlabel("score of the model")
    axes.set_ylabel("opinion score")
    shown = (measure for measure in ("srcc", "plcc", "plcc_fitted") if math.isfinite(figures.get(measure, math.nan)))
    below = ", ".join(f"{NAMES[measure]} {figures[measure]:.3f}" for measure in shown)
    # A dollar sign would begin mathematics, in which most names are errors.
    axes.set_title(f"{visible(title)}\n{below}".replace("$", "\\$"), fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", frameon=False)


def curves(file: Path, rows: Sequence[dict[str, float]], part: str, chosen: float) -> None:
    """Draw the training loss and the correlations of `part` ("val" or "test") over the epochs.

    rows: of metrics.csv. chosen: the epoch that was selected, which is marked.
    """
    spare_home()
    from matplotlib.figure import Figure  # the object interface: no display, no global state

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot([row["epoch"] for row in rows], [row["train_loss"] for row in rows], color="#444444", marker=".")
    upper.set_ylabel("training loss")
    for measure, colour in (("srcc", "#1f5fa8"), ("plcc", "#c8501e")):
        judged = [row for row in rows if math.isfinite(row.get(f"{part}_{measure}", math.nan))]
        found = [row[f"{part}_{measure}"] for row in judged]
        label = f"{part} {NAMES[measure]}"
        lower.plot([row["epoch"] for row in judged], found, color=colour, marker=".", label=label)
    lower.axvline(chosen, color="#999999", linestyle=":", label="selected epoch")
    lower.set_xlabel("epoch")
    lower.set_ylabel("correlation")
    lower.legend(frameon=False)
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    figure.savefig(file, dpi=150)
