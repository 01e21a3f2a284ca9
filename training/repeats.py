"""Several runs that differ in their seed: the median of their figures, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .run_folder import RunFolder
from .run_plots import NAMES
from .run_report import headline


def write(folder: RunFolder, runs: Sequence[RunFolder]) -> None:
    """Write the results and the summary of finished runs into a folder for all of them."""
    results = [run.results() for run in runs]
    found = quartiles(results)
    folder.write_results(found, summary(results, found))


def quartiles(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median and the quartiles of every figure over the runs: {"part", "seeds", "figures": {name: {...}}}."""
    parts, figures = zip(*map(headline, results), strict=True)
    shared = [name for name in figures[0] if all(name in one for one in figures)]
    found = {name: np.percentile([one[name] for one in figures], [25, 50, 75]) for name in shared}
    return {
        "part": parts[0],
        "seeds": [result["seed"] for result in results],
        "figures": {
            name: {"median": round(float(middle), 6), "quartiles": [round(float(low), 6), round(float(high), 6)]}
            for name, (low, middle, high) in found.items()
        },
        "seconds": round(sum(result["seconds"] for result in results), 1),
    }


def summary(results: Sequence[dict[str, Any]], found: dict[str, Any]) -> str:
    """The runs as a page of Markdown."""
    names = list(found["figures"])
    rows = [(f"seed {result['seed']}", headline(result)[1]) for result in results]
    lines = [
        f"# {results[0]['title']}: {len(results)} runs",
        "",
        f"On the {found['part']} images, {results[0]['protocol']} protocol. Interquartile range: of the runs.",
        "",
        f"| | {' | '.join(NAMES[name] for name in names)} |",
        "|---" * (len(names) + 1) + "|",
        *(f"| {label} | {' | '.join(f'{figures[name]:.4f}' for name in names)} |" for label, figures in rows),
    ]
    middles = [f"**{found['figures'][name]['median']:.4f}**" for name in names]
    ranges = ["{:.4f} to {:.4f}".format(*found["figures"][name]["quartiles"]) for name in names]
    lines += [f"| **median** | {' | '.join(middles)} |", f"| interquartile range | {' | '.join(ranges)} |"]
    return "\n".join(lines) + "\n"
