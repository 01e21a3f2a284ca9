"""Writes the speed tables of docs/performance.md, each between its two marks, from benchmarks/results/*.json.

    python benchmarks/readme_table.py [--check] [--results DIR]

First a summary, a line a promise, then every table, and between marks of its own that of peers.py, of which README.md
has the short form. With --check nothing is written, and the exit code is 1 where a page is not what the results say.
A result that was measured on a busy machine is refused; --busy takes it all the same, and the page then says so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT

from pscr.bench.record import Record, Row

PEERS = "peers"
ORDER = (
    "latency",
    "stages",
    "baseline",
    "cold_start",
    "memory",
    "scaling",
    "image_sizes",
    "accuracy_speed",
    "serve_load",
    "ray_scaling",
    PEERS,
)
NOTHING = "Not measured yet; `make bench` does it.\n"


def lines(record: Record) -> list[str]:
    """The Markdown of one result: a table of what a reader asks for, and the command that repeats it."""
    where = record.environment
    model = where.get("model", {})
    parts = [model.get("name"), model.get("precision"), model.get("library"), f"{where['threads']} threads"]
    parts += [f"{where['processor']} ({where['cores']} cores)", where["date"]]
    title = ", ".join(str(part) for part in parts if part)
    busy = "" if where["idle"] else " **The machine was busy.**"
    head, rows = TABLES[record.instrument](record)
    table = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return [f"`{record.command}`: {title}.{busy}", "", *table, ""]


def details(records: Sequence[Record]) -> str:
    """Every table of every result, but for peers.py's."""
    return "\n".join(line for record in records if record.instrument != PEERS for line in lines(record))


def peers(records: Sequence[Record]) -> str:
    """What peers.py measured: its table, and what each package is and takes on disk."""
    texts = []
    for record in records:
        if record.instrument == PEERS:
            about = [_package(*fact) for fact in record.facts.items()]
            texts.append("\n".join([*lines(record), *about]))
    return "\n\n".join(texts) or "Not measured yet; `python benchmarks/peers.py --peers-python PYTHON` does it."


def peers_short(records: Sequence[Record]) -> str | None:
    """README.md's form of it, and the published way of scoring. None where it is not measured: README.md stays."""
    record = next((record for record in records if record.instrument == PEERS), None)
    if record is None:
        return None
    where, versions = record.environment, record.facts["pyiqa"]["versions"]
    head = [
        f"one 512x512 JPEG, decoding included, {where['threads']} threads on an {where['processor']}, in turns",
        "ms",
    ]
    rows = [[*head, "images/s, a folder", "peak MiB", "cold start, s"], ["---"] * 5]
    for one in record.rows:
        if not one["failed"]:
            name = f"`{one['metric']}`" if one["package"] == "pscr" else f"{one['metric']}, of pyiqa"
            figures = [f"{one['p50_512_ms']:.0f}", f"{one['folder_images_per_s']:.3g}", str(one["peak_512_mib"])]
            rows.append([name, *figures, f"{one['cold_start_s']:.1f}"])
    for other in records:
        if other.instrument == "baseline":
            what, figure = _first_baseline(other)[0]
            rows.append([f"PSCR, {what}, in another run", figure.removesuffix(" ms"), "", "", ""])
    about = f"pyiqa {versions['pyiqa']}, torch {versions['torch']}, random weights, so scores are not compared; "
    link = "[what each sees, and what is fair](docs/performance.md#beside-other-metrics)."
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", about + link])


def _package(name: str, facts: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    cuda = f", {facts['cuda_mb']} MB of it NVIDIA's libraries and triton" if facts["cuda_mb"] else ""
    return f"- {name}: {facts['installed_mb']} MB installed with all that it needs{cuda} ({versions})"


def summary(records: Sequence[Record]) -> str:
    """What a reader asks first, a line each with the command that measured it."""
    rows = []
    for record in records:
        if record.instrument not in HEADLINES:
            continue
        about = "" if record.instrument == "baseline" else f"{record.environment['model']['name']}: "
        for what, figure in HEADLINES[record.instrument](record):
            rows.append(f"| {about}{what} | {figure} | `{record.command}` |")
    if not rows:
        return ""
    where = records[0].environment
    precision = where["model"]["precision"]
    title = f"On {where['cores']} cores of an {where['processor']}, {precision}:"
    return "\n".join([title, "", "| | | measured by |", "|---|---|---|", *rows])


def page(text: str, body: str, name: str = "speed") -> str:
    """The page with the body between the marks of this name, as in <!-- speed: begin -->.

    Raises:
        ValueError: the page does not have both marks, once and in order.
    """
    opening, closing = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = text.partition(opening)
    _, end, after = rest.partition(closing)
    if not begin or not end or opening in rest or closing in after:
        raise ValueError(f"expected {opening} and {closing}, once each and in this order")
    return f"{before}{opening}\n{(body or NOTHING).rstrip()}\n{closing}{after}"


def _latency(record: Record) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            f"{row['scenario']}, {row['setting']}",
            f"{row['images_per_s']:.1f}",
            *(f"{row[key]:.1f}" for key in ("p50_ms", "p90_ms", "p99_ms")),
            "yes" if row["stable"] else "no",
        ]
        for row in record.rows
    ]
    return ["scenario", "images/s", "median ms", "90 %", "99 %", "settled"], rows


def _stages(record: Record) -> tuple[list[str], list[list[str]]]:
    facts = record.facts
    rows = [[row["stage"], f"{row['p50_ms']:.2f}", f"{row['share']:.1%}"] for row in record.rows]
    rows.append(["floor: what this machine needs at least", f"{facts['floor_ms']:.2f}", ""])
    rate = f"{facts['multiply_adds'] / 1e9:.2f} G multiply-adds at {facts['matrix_gflops']:.0f} GFLOP/s"
    rows.append([f"{rate}: fraction of the limit", f"{facts['compute_fraction_of_limit']:.1%}", ""])
    return ["stage", "median ms", "of the score"], rows


def _baseline(record: Record) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            row["network"],
            row["way"],
            f"{row['p50_ms']:.1f}",
            f"{row['times_faster']:.1f}",
            str(row["largest_difference"]),
            str(row["from_dense"]),
        ]
        for row in record.rows
    ]
    head = ["network", "way of scoring", "median ms an image", "times faster"]
    return [*head, "largest difference from published", "from one pass in fp32"], rows


def _cold_start(record: Record) -> tuple[list[str], list[list[str]]]:
    rows = [[row["step"], f"{row['p50_ms']:.0f}", f"{row['p90_ms']:.0f}"] for row in record.rows]
    return ["step", "median ms", "90 %"], rows


def _memory(record: Record) -> tuple[list[str], list[list[str]]]:
    rows = [
        [row["point"], str(row["batch"]), f"{row['resident_mib']:.0f}", f"{row['peak_mib']:.0f}"] for row in record.rows
    ]
    return ["after", "batch", "resident MiB", "peak MiB"], rows


def _scaling(record: Record) -> tuple[list[str], list[list[str]]]:
    def row(one: Row) -> list[str]:
        return [one["axis"], str(one["value"]), f"{one['ms_an_image']:.2f}", f"{one['to_first']:.3f}"]

    return ["axis", "value", "ms an image", "to the first"], [row(one) for one in record.rows]


def _image_sizes(record: Record) -> tuple[list[str], list[list[str]]]:
    def row(one: Row) -> list[str]:
        figures = (
            f"{one['p50_ms']:.1f}",
            f"{one['ratio']:.2f}",
            f"{one['peak_mib']:.0f}",
            f"{one['above_512_mib']:+.0f}",
        )
        return [one["size"], *figures, one["what"] or "as it is"]

    head = ["size", "median ms", "to 512x512", "peak MiB of a process", "to 512x512, MiB"]
    return [*head, "what was done to it"], [row(one) for one in record.rows]


def _accuracy_speed(record: Record) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            *(str(row[key]) for key in ("model", "precision", "sampling", "device", "library")),
            f"{row['srcc']:.3f} ({row['srcc_low']:.3f} to {row['srcc_high']:.3f})",
            f"{row['p50_ms']:.1f}",
        ]
        for row in record.rows
    ]
    return ["model", "precision", "sampling", "device", "library", "SRCC (95 %)", "median ms"], rows


def _ray_scaling(record: Record) -> tuple[list[str], list[list[str]]]:
    def row(one: Row) -> list[str]:
        figures = (f"{one['images_per_s']:.1f}", f"{one['to_plain']:.2f}", f"{one['seconds_to_first']:.1f}")
        return [one["way"], f"{one['processes']} x {one['threads_each']}", str(one["rows"]), *figures]

    head = ["way", "processes x threads", "rows, each once", "images/s", "to plain", "seconds to the first"]
    return head, [row(one) for one in record.rows]


def _peers(record: Record) -> tuple[list[str], list[list[str]]]:
    def row(one: Row) -> list[str]:
        name = f"{one['package']}, {one['metric']}"
        if one["failed"]:
            return [name, f"no figures: {one['failed']}", *[""] * 6]
        figures = (f"{one[key]:.0f}" for key in ("p50_512_ms", "p50_1024_ms"))
        peaks = (str(one[key]) for key in ("peak_512_mib", "peak_1024_mib"))
        return [name, one["sees"], *figures, f"{one['folder_images_per_s']:.3g}", *peaks, f"{one['cold_start_s']:.1f}"]

    head = ["metric", "what it sees", "ms, 512x512", "ms, 1024x1024", "images/s, a folder"]
    return [*head, "peak MiB, 512x512", "peak MiB, 1024x1024", "cold start, s"], [row(one) for one in record.rows]


def _one(record: Record, **keys: str) -> Row:
    return next(row for row in record.rows if all(row[key] == value for key, value in keys.items()))


def _first_latency(record: Record) -> list[tuple[str, str]]:
    single, offline = _one(record, scenario="single-stream"), _one(record, scenario="offline")
    return [
        ("score of an encoded 512x512 JPEG, median (99 %)", f"{single['p50_ms']:.1f} ms ({single['p99_ms']:.1f})"),
        ("images a second, a long list", f"{offline['images_per_s']:.1f}"),
    ]


def _first_stages(record: Record) -> list[tuple[str, str]]:
    facts = record.facts
    limit = f"{facts['compute_fraction_of_limit']:.0%}"
    return [
        ("what this adds to the bare onnxruntime session", f"{facts['overhead_ms']:.1f} ms"),
        (f"of the machine's limit for {facts['multiply_adds'] / 1e9:.2f} G multiply-adds, the session reaches", limit),
    ]


def _first_baseline(record: Record) -> list[tuple[str, str]]:
    rows = [row for row in record.rows if row["network"] == record.rows[0]["network"]]
    backbone = rows[0]["network"].partition(":")[0]
    others = [row for row in rows if row["way"].startswith("runtime, ") and "dense" not in row["way"]]
    runtime = next(row for row in rows if row["way"] == "runtime")
    return [
        (f"{backbone} scored the published way", f"{rows[0]['p50_ms']:.0f} ms"),
        (f"{backbone}, same weights and scores, in this runtime", _times(runtime)),
        *((f"{backbone}, same weights, {_one_pass(row)}", _times(row)) for row in rows if "dense" in row["way"]),
        *((f"{row['way'].rpartition(', ')[2]} in the same turns", _times(row)) for row in others),
    ]


def _one_pass(row: Row) -> str:
    return str(row["way"]).replace("runtime, dense", "one pass over the image")


def _times(row: Row) -> str:
    return f"{row['p50_ms']:.0f} ms, {row['times_faster']:.0f} times faster"


def _first_cold(record: Record) -> list[tuple[str, str]]:
    return [("process start to first score", f"{_one(record, step='first score')['p50_ms'] / 1000:.2f} s")]


def _first_memory(record: Record) -> list[tuple[str, str]]:
    last = [row for row in record.rows if row["batch"] == record.rows[0]["batch"]][-1]
    return [(f"peak memory after {last['point']}", f"{last['peak_mib']:.0f} MiB")]


def _first_size(record: Record) -> list[tuple[str, str]]:
    row = next(one for one in record.rows if one["size"] == "1024x1024")
    return [("a 1024x1024 JPEG, beside a 512x512 one", f"{row['ratio']:.2f} times")]


HEADLINES: dict[str, Callable[[Record], list[tuple[str, str]]]] = {
    "latency": _first_latency,
    "stages": _first_stages,
    "baseline": _first_baseline,
    "cold_start": _first_cold,
    "memory": _first_memory,
    "image_sizes": _first_size,
}
TABLES = {
    "latency": _latency,
    "stages": _stages,
    "baseline": _baseline,
    "cold_start": _cold_start,
    "memory": _memory,
    "scaling": _scaling,
    "image_sizes": _image_sizes,
    "accuracy_speed": _accuracy_speed,
    "serve_load": _latency,
    "ray_scaling": _ray_scaling,
    PEERS: _peers,
}


PAGE = ROOT / "docs" / "performance.md"
PAGES: tuple[
    tuple[Path, str, Callable[[Sequence[Record]], str | None]], ...
] = (  # a page, its marks, and what is between them
    (PAGE, "speed-summary", summary),
    (PAGE, "speed", details),
    (PAGE, PEERS, peers),
    (ROOT / "README.md", "peers-short", peers_short),
)


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--busy", action="store_true", help="take results of a busy machine, and say so")
    given = parser.parse_args()
    found = [Record.read(file) for file in sorted(given.results.glob("*.json"))]
    found.sort(key=lambda record: len(record.command))  # the default model first: other commands name theirs
    records = [record for name in ORDER for record in found if record.instrument == name]
    busy = [record.name for record in records if not record.environment["idle"]]
    if busy and not given.busy:
        print(f"measured on a busy machine: {', '.join(busy)}; measure again, or pass --busy", file=sys.stderr)
        return 1
    stale = 0
    for path, name, write in PAGES:
        old = path.read_text("utf-8")
        body = write(records)
        new = old if body is None else page(old, body, name)
        stale |= new != old
        if not given.check:
            path.write_text(new, "utf-8")
    return int(given.check and stale)


if __name__ == "__main__":
    sys.exit(main())
