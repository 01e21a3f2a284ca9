"""`pscr evaluate --calibrate`: what spread and order are worth on images that did not train, into the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..runtime.calibration import LEVELS, Calibration, measure, reliability
from ..runtime.libraries import spare_home
from ..runtime.manifest import Manifest

PLOT = "reliability.png"


def calibrate(
    folder: Path,
    scores: Sequence[float],
    spreads: Sequence[float] | None,
    opinions: Sequence[float],
    protocol: str,
    by: str | None = None,
) -> Calibration:
    """Measure, write the result into the folder's manifest, and draw reliability.png beside it.

    scores, spreads, opinions: [N] of images that did not train the model, N at least 20; no spreads where the model has
    none. protocol: which images they are. by: see `pscr.runtime.calibration.measure`.

    Raises:
        PscrError: INVALID_ARGUMENT for data that cannot be used; MODEL_INVALID for the folder.
    """
    found = measure(scores, spreads, opinions, protocol, by=by)
    manifest = Manifest.read(folder)
    widths = spreads if found.by == "spread" and spreads is not None else [1.0] * len(scores)
    plot(folder / PLOT, scores, widths, opinions, f"{manifest.name} {manifest.version}, {len(scores)} images")
    names = [*(name for name in manifest.files if name != PLOT), PLOT]
    replace(manifest, calibration=found.to_dict()).write(folder, names)
    return found


def plot(file: Path, scores: Sequence[float], widths: Sequence[float], opinions: Sequence[float], title: str) -> None:
    """Draw the share of opinions held over the level of the interval, for intervals set by other images.

    widths: what a level's factor is multiplied with: the spreads, or ones.
    """
    spare_home()
    from matplotlib.figure import Figure  # the object interface: no display, no global state

    levels = [round(0.05 * step, 2) for step in range(1, 20)]
    held = reliability(scores, widths, opinions, levels)
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="as stated")
    axes.plot(levels, held, "o-", color="#1f5fa8", markersize=4, label="held, one half of the images for the other")
    error = np.sqrt(np.array(levels) * (1 - np.array(levels)) / (len(scores) / 2))
    axes.fill_between(levels, np.array(levels) - 2 * error, np.array(levels) + 2 * error, color="#1f5fa8", alpha=0.12)
    axes.set(xlabel="level of the interval", ylabel="share of opinion scores inside", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper left", frameon=False)
    axes.grid(alpha=0.25)
    figure.savefig(file, dpi=110)


def table(found: Calibration) -> str:
    """The factors, a line for each level, and what the spread and the order are worth."""
    lines = [f"{'interval':<24} {'stated':>7} {'held':>7}"]
    for place, (level, held) in enumerate(zip(LEVELS, found.coverage, strict=True)):
        lines.append(f"{f'score ± {found.width_in_words(place)}':<24} {100 * level:>6.0f}% {100 * held:>6.1f}%")
    if found.spread_correlation is not None:
        lines.append(f"rank correlation of spread and error  {found.spread_correlation:.3f}")
    lines.append(f"order of two: Phi(difference / {found.pair_deviation:.3f})")
    return "\n".join(lines) + "\n"
