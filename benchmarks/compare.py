"""Two result files of the same instrument side by side: before and after, or one machine and another.

    python benchmarks/compare.py BEFORE.json AFTER.json

Says first in what the environments differ and which rows had not settled; then each figure, and after / before.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pscr import PscrError, Status
from pscr.bench.record import Record, Row, table

NOT_COMPARED = ("count", "stable", "first_ms", "share")


def differences(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """A line for each entry of the environments that differs, nested ones by their path."""
    lines = []
    for key in sorted({*before, *after}):
        a, b = before.get(key), after.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a} -> {b}")
    return lines


def side_by_side(before: Record, after: Record) -> list[Row]:
    """A row for each figure that both have, matched by the instrument's keys: before, after and after / before.

    Raises:
        PscrError: INVALID_ARGUMENT: other instruments, or no row in common.
    """
    if before.instrument != after.instrument or list(before.keys) != list(after.keys):
        found = f"{before.instrument} and {after.instrument}"
        raise PscrError(Status.INVALID_ARGUMENT, f"found {found}; expected two results of the same instrument")
    others = {_key(after, row): row for row in after.rows}
    rows: list[Row] = []
    for row in before.rows:
        other = others.get(_key(before, row), {})
        for name, value in row.items():
            now = other.get(name)
            if name in (*NOT_COMPARED, *before.keys) or not (_number(value) and _number(now)):
                continue
            ratio = round(now / value, 3) if value else ""
            what = ", ".join(str(row[key]) for key in before.keys)
            unsettled = "" if row.get("stable", True) is not False and other.get("stable", True) is not False else "no"
            figure = {"row": what, "figure": name, "before": value, "after": now, "after/before": ratio}
            rows.append(figure | {"settled": unsettled})
    if not rows:
        raise PscrError(Status.INVALID_ARGUMENT, f"no row in common; expected the same {', '.join(before.keys)}")
    return rows


def main() -> int:
    """Compare and print; 2 where the files cannot be compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    given = parser.parse_args()
    try:
        before, after = Record.read(given.before), Record.read(given.after)
        rows = side_by_side(before, after)
    except PscrError as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return 2
    for line in differences(before.environment, after.environment) or ["same environment"]:
        print(line)
    for name, record in (("before", before), ("after", after)):
        if not record.environment.get("idle", True):
            print(f"{name}: the machine was busy; these figures say little")
    missing = {_key(before, row) for row in before.rows} ^ {_key(after, row) for row in after.rows}
    for key in sorted(missing):
        print(f"only in one: {', '.join(key)}")
    print(table(rows))
    return 0


def _key(record: Record, row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(key)) for key in record.keys)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


if __name__ == "__main__":
    sys.exit(main())
