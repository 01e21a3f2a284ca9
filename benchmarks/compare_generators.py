"""Which generators of AGIQA-3K people tell apart, and whether `pscr compare` says the same of a model's scores.

    pscr score AGIQA3K/images --model agiqa3k-lite0 -o scores.csv
    python benchmarks/compare_generators.py scores.csv AGIQA3K/data.csv

Each pair of generators is compared twice, paired by prompt: by people's mean opinion scores and by the model's scores.
The generator is what an image's name begins with, up to the first underscore. Then false alarms: random halves of each
generator's images, compared by their scores, where nothing is to be found.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np

from pscr.report.two_sets import Change, Scored, Verdict, change
from pscr.tables.formats import read_results
from pscr.training.databases import read_columns

Sets = dict[str, list[Scored]]


def read(scores: Path, labels: Path) -> tuple[Sets, Sets]:
    """People's opinions and the model's scores of the images that have both, by generator."""
    given = {Path(result.path or "").name: result.score for result in read_results(scores) if result.ok}
    people, model = defaultdict(list), defaultdict(list)
    for _, (name, prompt, opinion) in read_columns(labels, "name", "prompt", "mos_quality"):
        if name in given:
            generator = name.split("_")[0]
            people[generator].append(Scored(float(opinion), prompt))
            model[generator].append(Scored(given[name], prompt))
    return dict(people), dict(model)


def false_alarms(model: Sets, halves: int) -> float:
    """How often random halves of one generator's images are told apart."""
    rng = np.random.default_rng(0)
    alarms = 0
    for scored in model.values():
        for _ in range(halves):
            order = [scored[i] for i in rng.permutation(len(scored))]
            half = len(order) // 2
            alarms += change(order[:half], order[half:]).verdict is not Verdict.NONE
    return alarms / (halves * len(model))


def cells(found: Change) -> str:
    value, low, high = found.difference
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f}) | {found.verdict.value}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--halves", type=int, default=50, help="random halves of each generator (default: 50)")
    given = parser.parse_args()
    people, model = read(given.scores, given.labels)
    said: Counter[tuple[str, str]] = Counter()
    print("| before | after | prompts | people | | model | |\n|---|---|---|---|---|---|---|")
    for first, second in combinations(sorted(people), 2):
        one, other = (change(side[first], side[second], paired=True) for side in (people, model))
        said[one.verdict.value, other.verdict.value] += 1
        print(f"| {first} | {second} | {one.pairs} | {cells(one)} | {cells(other)} |")
    print("\npeople, model:")
    for (one_said, other_said), count in sorted(said.items()):
        print(f"- {one_said}, {other_said}: {count}")
    print(f"\nfalse alarms of random halves: {false_alarms(model, given.halves):.1%}")


if __name__ == "__main__":
    main()
