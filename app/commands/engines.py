"""`pscr engines`: the TensorRT engines of a model, and which of them would run here."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from ..console import columns, one_line, out
from ..runtime import engines, gpus
from ..runtime.errors import PscrError
from ..runtime.manifest import Manifest
from ..runtime.models import locate
from . import options as shared

LISTED = ("engine", "precision", "batches", "MB", "here")


def add(verbs: shared.Verbs) -> None:
    listing = shared.add_verb(verbs, "engines", "list a model's TensorRT engines and which of them would run here", run)
    shared.model_name(listing)
    shared.json(listing)


def run(options: argparse.Namespace) -> int:
    """List them; returns 0 where one would run here or there are none, else 3.

    Raises:
        PscrError: MODEL_INVALID: no such model.
    """
    folder = locate(options.model)
    digest = Manifest.read(folder).files["model.onnx"].sha256
    paths = engines.files(folder)
    if not paths and not options.json:
        out(f"{folder} has no engines; {engines.rebuild(folder)}")
        return 0
    there = gpus.find()
    versions = _versions() if paths else {}
    gpu = next(iter(there.found), None)
    found: list[tuple[str, engines.Engine | None, str]] = []
    for path in paths:
        try:
            engine = engines.Engine.read(path)
            obstacle = engine.obstacle(digest, versions, gpu)
            if not obstacle:
                engine.plan()
            found.append((path.name, engine, obstacle))
        except PscrError as problem:
            found.append((path.name, None, problem.message))
    if options.json:
        out(
            json.dumps(
                {"gpu": gpu and asdict(gpu), "libraries": versions, "engines": [_plain(*it) for it in found]}, indent=2
            )
        )
    else:
        out(f"here: {gpu.name + ', compute capability ' + gpu.compute_capability if gpu else there.problem}")
        out("libraries: " + (", ".join(f"{name} {version}" for name, version in versions.items()) or "no TensorRT"))
        for line in columns([LISTED, *(_row(*it) for it in found)], right=frozenset({3})):
            out(line)
    return 0 if not found or any(not obstacle for _, _, obstacle in found) else 3


def _versions() -> dict[str, str]:
    from ..runtime.backends.tensorrt_backend import versions

    return versions()


def _row(name: str, engine: engines.Engine | None, obstacle: str) -> tuple[str, ...]:
    here = one_line(obstacle or "yes")
    if engine is None:
        return one_line(name), "-", "-", "-", here
    car = engine.sidecar
    batches = " ".join(str(shape[0]) for shape in car.profile["patches"])
    return one_line(name), car.precision, batches, f"{car.plan_size / 1e6:.1f}", here


def _plain(name: str, engine: engines.Engine | None, obstacle: str) -> dict[str, Any]:
    return {"name": name, "usable": not obstacle, "obstacle": obstacle, "sidecar": engine and asdict(engine.sidecar)}
