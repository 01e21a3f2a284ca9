"""What a run leaves for people: metrics.csv, predictions.csv, results.json, curves.png, scatter.png and summary.md."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import checkpoint
from .config import Config
from .databases import Database
from .metrics import MEASURES, agreement, agreement_fitted, intervals
from .run_folder import RunFolder
from .run_plots import NAMES, curves, scatter
from .validation import FIGURES, best

Row = dict[str, float]
LAST_EPOCHS = 20  # whose median stands beside the published maxima
_DRAW_EVERY = 60.0  # seconds, while the run goes on
_HELD_OUT = "The epoch was chosen on the validation images; the test images were scored once, with the chosen weights."
_NO_TEST = (
    "The validation images chose the epoch, so their figures lean a little towards the good side; no image was kept "
    "from that choice (`--test` or `--split` does)."
)
_PUBLISHED = (
    "**Maxima over the test set**: every epoch was scored on the test images{against}, and SRCC and PLCC each count "
    "from their own best epoch, as PSCR was published. To be put beside the paper's figures, not beside those of "
    "images that chose nothing."
)


@dataclass(frozen=True)
class RunDescription:
    """What all the reports of a run need to know. parts: indices of the database's images by part of the split."""

    run: RunFolder
    config: Config
    database: Database
    parts: dict[str, list[int]]
    device: str

    @property
    def title(self) -> str:
        """The run in one line."""
        config = self.config
        what = {"pscr": f"PSCR, {config.sampling.upper()} patches", "cr": "CR, no patches", "nr": "NR, no exemplars"}
        return f"{what[config.method]}, {config.backbone} on {self.database.name} ({self.database.label})"


class Reporter:
    """Writes the reports of a run; every file is whole or not there."""

    def __init__(self, described: RunDescription) -> None:
        self.described, self._drawn = described, time.monotonic()

    def epoch(self, rows: Sequence[Row]) -> None:
        """After an epoch: metrics.csv, and now and then the rest."""
        self._metrics(rows)
        if time.monotonic() - self._drawn > _DRAW_EVERY:
            self.write(rows)

    def write(self, rows: Sequence[Row], test: NDArray[np.float32] | None = None, finished: bool = False) -> None:
        """All reports of the epochs so far. test: scores of the test part by the selected weights, once they are known.

        finished: nothing will be added.

        The selected weights' scores of the part that selects come from their checkpoint.
        """
        described, part = self.described, self.described.config.selection_part
        self._metrics(rows)
        scored: dict[str, Sequence[float]] = {}
        if rows and len(described.parts.get(part, ())) > 1:
            known = checkpoint.read(described.run.selected)[1].get("scores")
            scored |= {part: known} if known else {}
        if test is not None:
            scored["test"] = [float(score) for score in test]
        if scored:
            self._predictions(scored)
            shown = "test" if "test" in scored else part
            x, y = scored[shown], self._opinions(shown)
            figures = {**agreement(x, y), **agreement_fitted(x, y)}
            title = f"{described.title}: {len(x)} {shown} images"
            described.run.draw_scatter(lambda file: scatter(file, x, y, title, figures))
        if rows:
            chosen = best(rows, part)["epoch"]
            described.run.draw_curves(lambda file: curves(file, rows, part, chosen))
        results = {"finished": finished, **self._results(rows, scored)}
        described.run.write_results(results, summary(described, results))
        self._drawn = time.monotonic()

    def _opinions(self, part: str) -> list[float]:
        return [self.described.database.items[index].score for index in self.described.parts[part]]

    def _metrics(self, rows: Sequence[Row]) -> None:
        part = self.described.config.selection_part
        columns = ("epoch", "train_loss", *(f"{part}_{name}" for name in FIGURES), "seconds")
        plain = ([_plain(row.get(column, "")) for column in columns] for row in rows)
        self.described.run.write_metrics(columns, plain)

    def _predictions(self, scored: dict[str, Sequence[float]]) -> None:
        items = self.described.database.items
        rows = [
            (items[index].name, part, f"{items[index].score:.6f}", f"{score:.6f}")
            for part, scores in scored.items()
            for index, score in zip(self.described.parts[part], scores, strict=True)
        ]
        self.described.run.write_predictions(rows)

    def _results(self, rows: Sequence[Row], scored: dict[str, Sequence[float]]) -> dict[str, Any]:
        described, config = self.described, self.described.config
        found: dict[str, Any] = {
            "title": described.title,
            **{key: getattr(config, key) for key in ("method", "sampling", "protocol", "backbone", "seed")},
            "database": described.database.name,
            "label": described.database.label,
            "images": {part: len(chosen) for part, chosen in described.parts.items()},
            "epochs": len(rows),
            "epochs_asked": config.epochs,
            "selected_epoch": best(rows, config.selection_part)["epoch"] if rows else None,
            "seconds": round(sum(row["seconds"] for row in rows), 1),
            "device": described.device,
            "torch": torch.__version__,
            "date": datetime.date.today().isoformat(),
        }
        found["figures"] = {part: figures(scores, self._opinions(part)) for part, scores in scored.items()}
        if config.protocol == "published" and scored:
            found["published"] = maxima(rows)
        return found


def figures(predicted: Sequence[float], opinion: Sequence[float]) -> dict[str, float | list[float]]:
    """All figures of one part, with 95 % bootstrap intervals of SRCC and PLCC; those that are not defined left out."""
    found: dict[str, float | list[float]] = {**agreement(predicted, opinion), **agreement_fitted(predicted, opinion)}
    for name, bound in intervals(predicted, opinion, measures=("srcc", "plcc")).items():
        found[f"{name}_95"] = list(bound)
    return {key: np.round(value, 6).tolist() for key, value in found.items() if np.isfinite(value).all()}


def maxima(rows: Sequence[Row]) -> dict[str, Any]:
    """The published protocol's figures: the highest test SRCC and PLCC, their epochs, and the last epochs' median."""
    found: dict[str, Any] = {}
    for name in ("srcc", "plcc"):
        values = [(row.get(f"test_{name}", math.nan), row["epoch"]) for row in rows]
        judged = [(value, epoch) for value, epoch in values if math.isfinite(value)]
        if judged:
            value, epoch = max(judged)
            last = [value for value, _ in judged[-LAST_EPOCHS:]]
            found[name] = {"max": round(value, 6), "epoch": epoch}
            found[name] |= {"median_last": round(float(np.median(last)), 6), "last": len(last)}
    return found


def headline(results: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """What a results.json is quoted with: whose figures they are, and the figures; of maxima only SRCC and PLCC."""
    if results.get("published"):
        return "test (maxima)", {name: entry["max"] for name, entry in results["published"].items()}
    for part in ("test", "val"):
        if part in results["figures"]:
            found = results["figures"][part]
            return part, {name: found[name] for name in MEASURES if name in found}
    return "none", {}


def summary(described: RunDescription, results: dict[str, Any]) -> str:
    """The run as a page of Markdown."""
    config = described.config
    images = ", ".join(f"{count} {part}" for part, count in results["images"].items())
    lines = [f"# {described.title}", ""]
    if results["epochs"] < results["epochs_asked"]:
        lines += [f"After {results['epochs']} of {results['epochs_asked']} epochs.", ""]
    if results["figures"]:
        lines += ["| | SRCC (95 %) | KRCC | PLCC (95 %) | PLCC fitted | RMSE |", "|---|---|---|---|---|---|"]
        for part, found in results["figures"].items():
            cells = [_cell(found, name) for name in ("srcc", "krcc", "plcc", "plcc_fitted", "rmse")]
            lines.append(f"| {part}, epoch {results['selected_epoch']} | {' | '.join(cells)} |")
        lines.append("")
    if "published" in results:
        for name, entry in results["published"].items():
            median = f"median of the last {entry['last']} judged epochs {entry['median_last']:.4f}"
            lines.append(f"- {NAMES[name]}: {entry['max']:.4f}, the best test epoch ({entry['epoch']}); {median}")
        against = f", each against {config.exemplars} training images drawn anew for it"
        lines += ["", _PUBLISHED.format(against="" if config.method == "nr" else against), ""]
    elif results["figures"]:
        lines += [_HELD_OUT if "test" in results["figures"] else _NO_TEST, ""]
    if config.split:
        by = f"`{Path(config.split).name}`"
    elif config.protocol == "published":
        by = f"80/20 by image after numpy.random.seed({config.seed})"
    else:
        by = f"by {config.split_by}, seed {config.seed}, identical images kept together"
    lines += [
        f"Images: {images} ({by}). Protocol: {config.protocol}. Epochs: "
        f"{results['epochs']}, {results['seconds']:.0f} s, on {described.device}; torch {results['torch']}, "
        f"{results['date']}.",
        "",
        "![prediction against opinion](scatter.png)" if results["figures"] else "",
        "![curves](curves.png)" if results["epochs"] else "",
        "",
        "| option | value |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in asdict(config).items() if key not in ("data", "split")),
    ]
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, Any], name: str) -> str:
    if name not in found:
        return "-"
    bounds = found.get(f"{name}_95")
    return f"{found[name]:.4f}" + (f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else "")


def _plain(value: float | str) -> Any:
    return value if isinstance(value, int | str) else f"{value:.6g}"
