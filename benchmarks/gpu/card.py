"""What the two GPU scripts share: engines for this machine, tables, and a JSON file that says where it comes from."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pscr.bench.record import packages, table
from pscr.runtime import gpus
from pscr.runtime.models import locate

__all__ = ["copy_of", "machine", "save", "table"]
PACKAGES = (
    "tensorrt",
    "tensorrt-rtx-cu13",
    "onnxruntime-gpu",
    "onnxruntime",
    "torch",
    "pycuda",
    "cuda-bindings",
    "numpy",
)


def machine() -> dict[str, Any]:
    """GPU, driver's CUDA, processor, Python, and the libraries' versions.

    Ends the program with one line where there is no GPU.
    """
    there = gpus.find()
    if not there.found:
        sys.exit(f"this script needs an NVIDIA GPU: {there.problem}")
    gpu = there.found[0]
    return {
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "memory_gib": round(gpu.memory / 2**30, 1),
        "driver_cuda": there.cuda,
        "python": platform.python_version(),
        "packages": packages(PACKAGES),
        "date": time.strftime("%Y-%m-%d"),
    }


@contextmanager
def copy_of(model: str | Path) -> Iterator[Path]:
    """A copy of a model folder, so that engines built for a measurement do not stay in it."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "model"
        shutil.copytree(locate(model), target, ignore=shutil.ignore_patterns("engines"))
        yield target


def save(path: Path, where: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Write the results as JSON."""
    path.write_text(
        json.dumps({"machine": where, "command": sys.argv, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
