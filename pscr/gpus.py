"""The NVIDIA GPUs of this machine, in words."""

from __future__ import annotations

from dataclasses import dataclass

from .runtime import gpus


@dataclass(frozen=True)
class Gpus:
    """The GPUs in words, or why there are none."""

    names: tuple[str, ...] = ()
    problem: str = ""


def find_gpus() -> Gpus:
    """Each GPU such as `0: NVIDIA H200, compute capability 9.0, 139.8 GiB, driver for CUDA 13.0`."""
    there = gpus.find()
    return Gpus(
        tuple(
            f"{gpu.index}: {gpu.name}, compute capability {gpu.compute_capability}, {gpu.memory / 2**30:.1f} GiB, "
            f"driver for CUDA {there.cuda}"
            for gpu in there.found
        ),
        there.problem,
    )
