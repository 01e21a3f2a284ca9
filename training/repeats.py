"""Several runs that differ in their seed: the median of their figures, and how far they lie apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import write_atomically
from .plots import NAMES
from .report import headline


def write(folder: Path, runs: Sequence[Path]) -> None:
    """Write folder/{results.json, summary.md} from the results.json of each finished run."""
    results = [json.loads((run / "results.json").read_text()) for run in runs]
    found = spread(results)
    write_atomically(folder / "results.json", json.dumps(found, indent=1).encode())
    write_atomically(folder / "summary.md", summary(results, found).encode())


def spread(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median and the quartiles of every figure over the runs: {"part", "seeds", "figures": {name: {...}}}."""
    parts, figures = zip(*map(headline, results), strict=True)
    shared = [name for name in figures[0] if all(name in one for one in figures)]
    quartiles = {name: np.percentile([one[name] for one in figures], [25, 50, 75]) for name in shared}
    return {
        "part": parts[0],
        "seeds": [result["seed"] for result in results],
        "figures": {
            name: {"median": round(float(middle), 6), "quartiles": [round(float(low), 6), round(float(high), 6)]}
            for name, (low, middle, high) in quartiles.items()
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
