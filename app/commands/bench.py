"""`pscr bench`: how fast a model is on this machine, in four scenarios and by stage."""

from __future__ import annotations

import argparse
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path

from ..console import err, out
from ..runtime.errors import PscrError, Status
from ..runtime.scorer import open as open_scorer
from ..tables.inputs import Item, expand
from . import options as shared


def add(verbs: shared.Verbs) -> None:
    bench = shared.add_verb(
        verbs,
        "bench",
        "measure how fast a model is on this machine",
        run,
        description="Latency in the scenarios of MLPerf (single-stream, multi-stream, server, offline) and by stage:\n"
        "decode, sample, infer, rest. Nothing is judged: the exit code never depends on a time.",
    )
    bench.add_argument(
        "paths", metavar="PATH", nargs="*", help="images, resized and encoded alike (default: built-in ones)"
    )
    shared.model(bench)
    shared.device(bench, precision=False)
    shared.threads(bench)
    bench.add_argument(
        "--scenario", action="append", choices=("single-stream", "multi-stream", "offline", "server"), help="repeatable"
    )
    bench.add_argument("--seconds", type=float, default=5.0, help="of each row of the table (default: %(default)s)")
    bench.add_argument(
        "--side", type=shared.positive, default=512, help="of the images, in pixels (default: %(default)s)"
    )
    bench.add_argument("-o", "--output", metavar="DIR", help="also write JSON, CSV and a plot into DIR")
    bench.add_argument("--json", action="store_true", help="write the results as JSON in place of tables")


def run(options: argparse.Namespace) -> int:
    """Measure, write the tables (or JSON) to stdout and with -o the result files; timing fails nothing."""
    from ..bench import plots, scenarios, stages
    from ..bench.pictures import jpegs
    from ..bench.record import Record, command, environment, table

    images = jpegs([_file(item) for item in expand(options.paths)], options.side)
    with open_scorer(options.model, options.device, options.threads) as scorer:
        where = environment(scorer.info["threads"], scorer)
        if not where["idle"]:
            err(f"pscr: warning: {where['busy']:.0%} of the processor is taken; do not publish these figures")
        words = [*options.paths, "--model", options.model, "--device", options.device]
        words += ["--threads", str(where["threads"]), "--seconds", f"{options.seconds:g}", "--side", str(options.side)]
        measured = command("pscr bench", words)
        names = options.scenario or scenarios.NAMES
        rows = scenarios.run(scorer, images, options.seconds, names)
        spent = stages.rows(stages.measure(scorer, images, options.seconds))
    records = [
        Record("bench_latency", measured, where, scenarios.KEYS, rows),
        Record("bench_stages", measured, where, stages.KEYS, spent),
    ]
    if options.json:
        out(json.dumps([asdict(record) for record in records]))
    else:
        model = where["model"]
        out(f"{model['name']} {model['version']}, {model['precision']}, {model['library']} on {model['device']}")
        out(f"{where['threads']} threads, {where['cores']} cores, {where['processor']}, {options.side}x{options.side}")
        for record in records:
            out()
            out(table(record.rows))
    if options.output:
        for record in records:
            err(f"wrote {record.save(Path(options.output))}, and .csv")
        if importlib.util.find_spec("matplotlib"):
            plots.latencies(Path(options.output) / f"{records[0].name}.png", rows, records[0].name)
        else:
            err("no plot: matplotlib is not installed; pip install matplotlib")
    return 0


def _file(item: Item) -> Path:
    if item.problem:
        raise PscrError(Status.FILE_NOT_FOUND, f"{item.path}: {item.problem}")
    return Path(item.path)
