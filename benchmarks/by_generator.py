"""How well scores agree with people for each generator, and where they are furthest off.

python benchmarks/by_generator.py scores.csv, the file that `pscr evaluate MODEL --data agiqa3k:DIR --split ... --csv
scores.csv` wrote. The generator is what an image's name begins with, up to the first underscore.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr, spearmanr

Row = tuple[str, float, float]  # name, opinion, score


def read(file: Path) -> dict[str, list[Row]]:
    """The scored images of each generator."""
    found: dict[str, list[Row]] = defaultdict(list)
    with file.open(newline="", encoding="utf-8") as stream:
        for entry in csv.DictReader(stream):
            if entry["score"]:
                name = Path(entry["path"]).name
                found[name.split("_")[0]].append((name, float(entry["opinion"]), float(entry["score"])))
    return dict(sorted(found.items()))


def line(name: str, rows: list[Row]) -> str:
    """A row of the table."""
    opinion, score = (np.array([row[i] for row in rows]) for i in (1, 2))
    error = score - opinion
    correlations = f"{spearmanr(score, opinion)[0]:.3f} | {pearsonr(score, opinion)[0]:.3f}"
    means = f"{opinion.mean():.2f} | {score.mean():.2f}"
    return f"| {name} | {len(rows)} | {means} | {correlations} | {np.sqrt((error**2).mean()):.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("--worst", type=int, default=6, help="images furthest off, above and below")
    arguments = parser.parse_args()
    groups = read(arguments.scores)
    everything = [row for rows in groups.values() for row in rows]
    print("| generator | images | mean opinion | mean score | SRCC | PLCC | RMSE |\n|---|---|---|---|---|---|---|")
    for name, rows in [*groups.items(), ("all", everything)]:
        print(line(name, rows))
    ranked = sorted(everything, key=lambda row: row[2] - row[1])
    for title, some in (("scored too low", ranked), ("scored too high", ranked[::-1])):
        print(f"\n{title}:")
        for name, opinion, score in some[: arguments.worst]:
            print(f"- {name}: people {opinion:.2f}, model {score:.2f}")


if __name__ == "__main__":
    main()
