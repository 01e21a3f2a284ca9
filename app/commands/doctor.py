"""`pscr doctor`: which libraries and devices can be used here, and what would help where one cannot.

Devices come from a real trial: a library that is installed, or a provider that is listed, may still not work.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from ..describe import runs_on
from ..installation import Finding, written
from ..runtime import gpus
from ..runtime.devices import DEVICES, Device
from ..runtime.errors import PscrError, Status
from ..runtime.scorer import DEFAULT_MODEL
from ..runtime.scorer import open as open_scorer
from . import options as shared


def add(verbs: shared.Verbs) -> None:
    doctor = shared.add_verb(
        verbs, "doctor", "say which libraries and devices can be used here, and what would help", run
    )
    doctor.add_argument("--model", default=DEFAULT_MODEL, help="the model that is tried (default: %(default)s)")
    shared.json(doctor)


def run(options: argparse.Namespace) -> int:
    """Write what was found; returns 0 where images can be scored on the CPU at least, else 3."""
    there = gpus.find()
    devices = [device(one, options.model, there) for one in DEVICES.values() if one.tried]
    return written(devices, usable=devices[0].usable, as_json=options.json)


def device(one: Device, model: str, there: gpus.Gpus) -> Finding:
    """Whether a device scores an image: a real trial."""
    name = one.name
    if one.on_gpu and not there.found:
        return Finding(name, False, "", there.problem)
    start = time.perf_counter()
    try:
        with open_scorer(model, name) as scorer:
            opened = time.perf_counter()
            result = scorer.score(np.full((512, 512, 3), 128, np.uint8), pixel_format="rgb")
            scored = time.perf_counter()
            runs = runs_on(scorer.info)
    except PscrError as problem:
        return Finding(name, False, "", f"{Status(problem.status).name}: {problem.message}")
    except Exception as problem:  # a library that is broken may raise anything, and saying so is this verb's purpose
        return Finding(name, False, "", f"{type(problem).__name__}: {problem}")
    times = f"model opened in {opened - start:.2f} s, one 512x512 image scored in {1000 * (scored - opened):.0f} ms"
    return Finding(name, bool(np.isfinite(result.score)), runs, times)
