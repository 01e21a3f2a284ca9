"""Engine files with sidecars, for tests that compare them and never load them."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from pscr.runtime import gpus
from pscr.runtime.engines import Engine, Sidecar

PLAN = b"a plan" * 100
ONNX = "a" * 64
CARD = gpus.Gpu(0, "NVIDIA GeForce RTX 4090", "8.9", 24 << 30)
HERE = {"tensorrt": "10.16.1.11", "tensorrt_rtx": "1.7.1.116"}


def sidecar(**changes: Any) -> Sidecar:
    """An engine that fits `CARD` and `HERE`."""
    entry = Sidecar(
        library="tensorrt",
        library_version="10.16.1.11",
        gpu=CARD.name,
        compute_capabilities=["8.9"],
        precision="fp16",
        profile={"patches": [[1, 1, 224, 224, 3], [8, 9, 224, 224, 3], [64, 9, 224, 224, 3]]},
        bank_inside=False,
        onnx_sha256=ONNX,
        graph_sha256="b" * 64,
        plan_sha256=hashlib.sha256(PLAN).hexdigest(),
        plan_size=len(PLAN),
        build_seconds=12.5,
        built="2026-11-21T12:00:00+00:00",
    )
    return dataclasses.replace(entry, **changes)


def place(folder: Path, plan: bytes = PLAN, **changes: Any) -> Engine:
    """Write an engine into a model folder."""
    entry = sidecar(**changes)
    (folder / "engines").mkdir(exist_ok=True)
    (folder / "engines" / entry.name).write_bytes(plan)
    entry.write(folder / "engines")
    return Engine.read(folder / "engines" / entry.name)


def profile(side: int, width: int, bank: int = 256) -> dict[str, tuple[tuple[int, ...], ...]]:
    """A dynamic one: batches of 1 to 64, 1 to 9 patches of `side` pixels, banks of 1 to 4096 terms of `width`."""
    return {
        "patches": ((1, 1, side, side, 3), (8, 9, side, side, 3), (64, 9, side, side, 3)),
        "bank_terms": ((1, width), (bank, width), (4096, width)),
        "bank_scores": ((1,), (bank,), (4096,)),
    }
