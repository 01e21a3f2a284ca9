"""Where the time of one score goes, what we add to the bare onnxruntime session, and how far that is from the limit.

    python benchmarks/stages.py [--model MODEL] [--threads N] [--seconds 15]

Every turn scores one encoded 512x512 JPEG and then does each part of that work by itself, so that a clock that drifts
is every stage's. compute: a bare session with the backend's own settings on tensors that are already bound; copy: what
handing numpy arrays over adds to it; overhead: the whole score less compute. Needs onnx (pscr[export]).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import floor
import graph_cost
import numpy as np
import onnxruntime as ort
from common import examples, finish, opened, parser, where

import pscr
from pscr.bench import plots, stages
from pscr.bench.statistics import repeat
from pscr.runtime.bank import Bank
from pscr.runtime.samplings import Pixels


def bare_session(scorer: pscr.Scorer, graph: bytes, spinning: bool = False) -> stages.Bare:
    """The graph in an onnxruntime session of its own; inputs are bound outside the timed run.

    spinning: onnxruntime's defaults, idle workers that wait busily and memory patterns; the runtime switches both off.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = scorer.info["threads"]
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    options.enable_mem_pattern = spinning
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    bank: Bank = scorer.head.bank.in_model_units()

    def bind(patches: Pixels) -> Callable[[int], object]:
        ready: Any = session.io_binding()
        for name, value in (("patches", patches), ("bank_terms", bank.terms), ("bank_scores", bank.scores)):
            ready.bind_cpu_input(name, value)
        for name in ("score", "votes"):
            ready.bind_output(name)
        return lambda _: session.run_with_iobinding(ready)

    return bind


def main() -> None:
    """Measure, print and write."""
    given = parser(__doc__, 15.0, "altogether").parse_args()
    images = examples()
    with opened(given) as scorer:
        if scorer.info["device"] != "cpu":
            raise SystemExit(
                f"stages.py measures the CPU; found {scorer.info['device']}; see benchmarks/gpu/measure.py"
            )
        environment = where(given, scorer)
        graph = scorer.manifest.read_verified(Path(scorer.info["folder"]), "model.onnx")
        found = stages.measure(scorer, images, 0.7 * given.seconds, bare_session(scorer, graph))
        patches = scorer.patches(images[0])[None]
        cost = graph_cost.count(graph, patches.shape[:2], len(scorer.head.bank))
    run = bare_session(scorer, graph, spinning=True)(np.ascontiguousarray(patches))
    spinning = statistics.median(repeat(run, 0.15 * given.seconds).ms)
    limit = floor.measure(environment["threads"], 0.15 * given.seconds)
    rows = stages.rows(found)
    median = {row["stage"]: row["p50_ms"] for row in rows}
    least = limit.ms(cost.multiply_adds, cost.least_bytes)
    facts = {
        "patches": patches.shape[1],
        "overhead_ms": median["overhead"],
        "overhead_of_compute": round(median["overhead"] / median["compute"], 4),
        "bare_session_default_settings_ms": round(spinning, 3),
        "multiply_adds": cost.multiply_adds,
        "least_bytes": cost.least_bytes,
        "layer_bytes": cost.layer_bytes,
        "matrix_gflops": round(limit.flops / 1e9, 1),
        "copy_gb_per_s": round(limit.bandwidth / 1e9, 2),
        "floor_ms": round(least, 3),
        "compute_fraction_of_limit": round(least / median["compute"], 3),
        "score_fraction_of_limit": round(least / median["score"], 3),
    }
    record, file = finish(given, environment, stages.KEYS, rows, facts)
    labels = [row["stage"] for row in rows] + ["floor"]
    plots.bars(file, labels, [*(row["p50_ms"] for row in rows), least], "ms, median", record.name)


if __name__ == "__main__":
    main()
