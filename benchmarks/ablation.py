"""Measures the ablation: method x sampling x protocol on one database and backbone, a `pscr train` command a row.

    python benchmarks/ablation.py --data agiqa3k:DIR                    # the recipe of pscr train
    python benchmarks/ablation.py --data agiqa3k:DIR --quick            # an afternoon on two cores

Rows that are done are kept, and a row that was stopped goes on, so the same command may be run again and again. Writes
benchmarks/results/ablation.csv and the table in docs/researcher.md: seed, epochs, device and wall time of each row
beside its figures. With --quick the frozen layers are cached, training patches are those that the sampling cuts (nine
fixed ones of RPS, the central crop of CR and NR), in bf16, and there are fewer epochs: figures to compare with each
other, not with the paper's.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import readme_table
from common import RESULTS, ROOT

METHODS = (("nr", ""), ("cr", ""), ("pscr", "rps"), ("pscr", "nops"), ("pscr", "ops"))
PROTOCOLS = ("held-out", "published")
HELD_OUT = ["--val", "0.1", "--test", "0.2"]
QUICK = ["--epochs", "4", "--crops", "grid", "--frozen-blocks", "5", "--head-epochs", "3", "--precision", "bf16"]
COLUMNS = (
    "method", "sampling", "protocol", "part", "srcc", "plcc", "srcc_epoch", "plcc_epoch", "srcc_last", "plcc_last",
    "train", "judged", "seed", "epochs", "minutes", "device", "database", "backbone", "budget", "date",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One row of the table and the folder of its run."""

    method: str
    sampling: str
    protocol: str
    folder: Path


def main() -> int:
    """Run what is missing, then write both tables. Returns the exit code: that of the first run that failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--data", required=True, help="as of pscr train")
    add("--runs", type=Path, default=Path("runs/ablation"), help="where the run folders go (default: %(default)s)")
    add("--backbone", default="efficientnet_lite0")
    add("--seed", type=int, default=1)
    add("--quick", action="store_true", help="fewer epochs, on cached layers")
    add("--cache", type=Path, default=None, metavar="DIR", help="frozen layers (default: RUNS/cache)")
    add("--only", default="", metavar="WORD", help="rows whose name has this in it, like pscr-ops-held-out")
    add("--list", action="store_true", help="print the commands and stop")
    add("--table", action="store_true", help="write the tables of the rows that are done and stop")
    add("options", nargs="*", help="more options of pscr train, for every row, after --")
    arguments = parser.parse_args()
    if arguments.table:
        write(all_rows(arguments), arguments)
        return 0
    rows = [row for row in all_rows(arguments) if arguments.only in row.folder.name]
    for row in rows:
        command = command_of(row, arguments)
        print("pscr", *command[3:], flush=True)
        if not arguments.list:
            code = subprocess.run(command, check=False).returncode
            if code:
                return code
            write(all_rows(arguments), arguments)
    return 0


def all_rows(arguments: argparse.Namespace) -> list[Row]:
    """Every row of the table, in its order."""
    budget = "quick" if arguments.quick else "full"
    return [
        Row(method, sampling, protocol, arguments.runs / budget / "-".join(filter(None, (method, sampling, protocol))))
        for protocol in PROTOCOLS
        for method, sampling in METHODS
    ]


def command_of(row: Row, arguments: argparse.Namespace) -> list[str]:
    """The command line of a row."""
    options = ["--data", arguments.data, "-o", str(row.folder), "--backbone", arguments.backbone]
    options += ["--method", row.method, *(["--sampling", row.sampling] if row.sampling else [])]
    options += ["--protocol", row.protocol, "--seed", str(arguments.seed)]
    options += ["--cache", str(arguments.cache or arguments.runs / "cache")]
    options += [*(HELD_OUT if row.protocol == "held-out" else []), *(QUICK if arguments.quick else [])]
    return [sys.executable, "-m", "pscr", "train", *options, *arguments.options]


def write(rows: list[Row], arguments: argparse.Namespace) -> None:
    """Both tables, of the rows that are done."""
    budget = "quick" if arguments.quick else "full"
    done = [(row, json.loads((row.folder / "results.json").read_text())) for row in rows if finished(row)]
    table = [entry(row, results, budget) for row, results in done]
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "ablation.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    page = ROOT / "docs" / "researcher.md"
    page.write_text(readme_table.page(page.read_text("utf-8"), markdown(table), "ablation"), "utf-8")


def markdown(table: Sequence[Mapping[str, object]]) -> str:
    """The table of docs/researcher.md, with what gives each row."""
    shown = ("srcc", "plcc", "seed", "epochs", "minutes", "device")
    lines = [f"| `--only` | {' | '.join(shown)} |", "|---" * (len(shown) + 1) + "|"]
    for line in table:
        name = "-".join(str(line[key]) for key in ("method", "sampling", "protocol") if line[key] != "resize")
        lines.append(f"| `{name}` | {' | '.join(str(line[column]) for column in shown)} |")
    return "\n".join(lines)


def finished(row: Row) -> bool:
    """Whether the row's run has come to its end."""
    file = row.folder / "results.json"
    return file.is_file() and bool(json.loads(file.read_text())["finished"])


def entry(row: Row, results: dict, budget: str) -> dict[str, object]:
    """One line of the table from a run's results.json."""
    found: dict[str, object] = dict.fromkeys(COLUMNS, "")
    if results.get("published"):
        for name, figures in results["published"].items():
            found |= {name: f"{figures['max']:.4f}", f"{name}_epoch": figures["epoch"]}
            found[f"{name}_last"] = f"{figures['median_last']:.4f}"
    else:
        figures = results["figures"]["test"]
        found |= {name: f"{figures[name]:.4f}" for name in ("srcc", "plcc") if name in figures}
        found |= dict.fromkeys(("srcc_epoch", "plcc_epoch"), results["selected_epoch"])
    found |= {key: results[key] for key in ("seed", "epochs", "device", "database", "backbone", "date", "sampling")}
    found |= {"method": row.method, "protocol": row.protocol, "budget": budget, "part": "test"}
    found |= {"train": results["images"]["train"], "judged": results["images"]["test"]}
    found["minutes"] = f"{results['seconds'] / 60:.0f}"
    return found


if __name__ == "__main__":
    sys.exit(main())
