"""What this machine can do at most: its fp32 matrix-product rate and its memory bandwidth.

    python benchmarks/floor.py [--threads N] [--seconds 4]

Both are measured in a fresh process, whose libraries are told the number of threads before they load. The rate is the
best that numpy's or onnxruntime's matrix product reaches; the bandwidth the best of copying arrays that no cache holds,
reading and writing counted. The floor of a computation is the larger of multiply-adds / rate and bytes / bandwidth.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIDES = (768, 1536)
COPIED = 96 << 20  # bytes of one thread's array
VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Floor:
    """flops: fp32 operations per second, a multiply-add being two. bandwidth: bytes per second, read and written."""

    flops: float
    bandwidth: float

    def ms(self, multiply_adds: int, moved: int) -> float:
        """The least time of a computation, in milliseconds."""
        return 1000 * max(2 * multiply_adds / self.flops, moved / self.bandwidth)


def measure(threads: int, seconds: float = 4.0) -> Floor:
    """Measure in a fresh process."""
    words = [sys.executable, str(Path(__file__)), "--here", "--threads", str(threads), "--seconds", str(seconds)]
    variables = {**os.environ, **dict.fromkeys(VARIABLES, str(threads))}
    done = subprocess.run(words, env=variables, check=True, capture_output=True, text=True)
    return Floor(**json.loads(done.stdout))


def matrix_rate(threads: int, seconds: float) -> float:
    """Operations per second of the best square product of the best library."""
    best = 0.0
    for side in SIDES:
        a = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
        for product in (lambda a=a: a @ a, _session(a, threads)):
            best = max(best, 2 * side**3 / _fastest(product, seconds / 2 / len(SIDES)))
    return best


def copy_rate(threads: int, seconds: float) -> float:
    """Bytes per second, read and written, of `threads` threads that copy arrays of their own."""
    arrays = [np.ones(COPIED // 8) for _ in range(2 * threads)]
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(np.copyto, arrays[:threads], arrays[threads:]))

        return 2 * COPIED * threads / _fastest(copy, seconds)


def _session(a: np.ndarray, threads: int) -> Callable[[], object]:
    import onnxruntime as ort
    from onnx import TensorProto, helper

    side = list(a.shape)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, side) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "product", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": a})


def _fastest(work: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest call: a limit is what was reached once."""
    work()
    best, ends = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < ends:
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Measure and print; with --here in this process, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=4.0, help="altogether (default: %(default)s)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        flops = matrix_rate(given.threads, 0.75 * given.seconds)
        print(json.dumps({"flops": flops, "bandwidth": copy_rate(given.threads, 0.25 * given.seconds)}))
        return
    found = measure(given.threads, given.seconds)
    print(f"{given.threads} threads: {found.flops / 1e9:.1f} GFLOP/s fp32, {found.bandwidth / 1e9:.1f} GB/s copied")


if __name__ == "__main__":
    main()
