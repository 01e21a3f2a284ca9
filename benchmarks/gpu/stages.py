"""What the GPU does in one run, as its profiler saw it: kernels counted and timed, copies timed. Whoever launches them.

torch's profiler listens to the driver, so it sees TensorRT's and onnxruntime's kernels as well, in a CUDA graph or not.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

_IN, _OUT = "Memcpy HtoD", "Memcpy DtoH"
COLUMNS = ("copy_in_ms", "kernels_ms", "copy_out_ms", "launches")


def summed(events: Iterable[tuple[str, float]]) -> dict[str, float]:
    """One run's events on the GPU, each its name and its microseconds, as `COLUMNS`.

    Copies and fills within the device are work like that of kernels, and launched like them.
    """
    found = dict.fromkeys(COLUMNS, 0.0)
    for name, microseconds in events:
        if name.startswith(_IN):
            found["copy_in_ms"] += microseconds / 1000
        elif name.startswith(_OUT):
            found["copy_out_ms"] += microseconds / 1000
        else:
            found["kernels_ms"] += microseconds / 1000
            found["launches"] += 1
    return found


def median(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The middle of several runs, column by column."""
    found: dict[str, Any] = {name: statistics.median(run[name] for run in runs) for name in COLUMNS}
    return found | {"launches": round(found["launches"])}


def profiled(work: Callable[[], object], turns: int = 10) -> dict[str, Any]:
    """`COLUMNS` of a piece of work that has run before; nothing where no torch with CUDA is installed."""
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    runs = []
    for _ in range(turns):
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            work()
            torch.cuda.synchronize()
        events = [event for event in seen.events() if event.device_type == DeviceType.CUDA]
        runs.append(summed((event.name, event.time_range.elapsed_us()) for event in events))
    return median(runs)
