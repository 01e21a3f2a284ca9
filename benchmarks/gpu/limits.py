"""The limit, honestly: how much of what this very card can do a run got out of it, and which of two rates bounds it.

A card multiplies matrices at one rate and reads and writes its memory at another; both are measured here, on the card
itself, with the largest matrices and the longest copy that serve. What a network needs of either follows from its graph
(pscr.export.graph_costs): operations of its convolutions and matrix products, and the bytes that its kernels move where
every activation is written once and read once by each kernel that uses it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pscr.export.graph_costs import Costs

COLUMNS = ("matrix_share", "memory_share", "bound", "least_ms", "of_limit")
_SIDE = 8192  # of the matrices; larger ones are no faster
_COPIED = 1 << 30  # bytes; no cache holds it


@dataclass(frozen=True)
class Rates:
    """What a card does: matrix, operations a second by precision (fp32, tf32, fp16, int8); memory, bytes a second."""

    matrix: dict[str, float]
    memory: float

    def to_dict(self) -> dict[str, str]:
        """For the head of a table."""
        operations = {kind: f"{rate / 1e12:.4g} TFLOP/s" for kind, rate in self.matrix.items()}
        return {**operations, "memory": f"{self.memory / 1e12:.4g} TB/s"}


def limit(costs: Costs, milliseconds: float, precision: str, rates: Rates) -> dict[str, Any]:
    """What a run that took so long got out of the card, as `COLUMNS`.

    matrix_share, memory_share: of the measured rates. bound: the rate that this network needs more of. least_ms: what
    the run takes where that rate is reached and the other waits for nothing. of_limit: that, of what the run took.
    """
    needs = {"matrix": 1000 * costs.operations / rates.matrix[precision], "memory": 1000 * costs.moved / rates.memory}
    bound = max(needs, key=lambda rate: needs[rate])
    return {
        "matrix_share": needs["matrix"] / milliseconds,
        "memory_share": needs["memory"] / milliseconds,
        "bound": bound,
        "least_ms": needs[bound],
        "of_limit": needs[bound] / milliseconds,
    }


def measured() -> Rates | None:
    """The rates of the first GPU, with torch; None where no torch with CUDA is installed."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None

    def milliseconds(work: Callable[[], object], turns: int = 10) -> float:
        times = []
        for turn in range(turns + 3):  # the first ones do not count
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record(), work(), after.record()
            after.synchronize()
            times += [before.elapsed_time(after)] if turn >= 3 else []
        return statistics.median(times)

    def product(kind: torch.dtype, tf32: bool = False) -> float:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        if kind is torch.int8:
            a, b = (torch.randint(-9, 9, (_SIDE, _SIDE), device="cuda", dtype=kind) for _ in range(2))
            taken = milliseconds(lambda: torch._int_mm(a, b.t()))
        else:
            a, b = (torch.randn(_SIDE, _SIDE, device="cuda", dtype=kind) for _ in range(2))
            taken = milliseconds(lambda: a @ b)
        return 1000 * 2 * _SIDE**3 / taken

    matrix = {"fp32": product(torch.float32), "tf32": product(torch.float32, tf32=True)}
    matrix |= {"fp16": product(torch.float16), "int8": product(torch.int8)}
    torch.backends.cuda.matmul.allow_tf32 = False
    source, target = (torch.empty(_COPIED, device="cuda", dtype=torch.uint8) for _ in range(2))
    return Rates(matrix, 1000 * 2 * _COPIED / milliseconds(lambda: target.copy_(source)))  # read and written
