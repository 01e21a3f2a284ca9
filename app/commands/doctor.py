"""`pscr doctor`: which libraries and devices can be used here, and what would help where one cannot.

Devices come from a real trial: a library that is installed, or a provider that is listed, may still not work. Each is
timed, and its scores are compared with those of `cpu`, on the images by which `pscr verify` knows a model again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ..describe import runs_on
from ..installation import Choice, Finding, written
from ..runtime import golden, gpus
from ..runtime.backends import cuda
from ..runtime.devices import DEVICES, Device
from ..runtime.errors import PscrError, Status
from ..runtime.scorer import DEFAULT_MODEL, Scorer
from ..runtime.scorer import open as open_scorer
from ..runtime.verification import golden_score
from . import options as shared

_REPEATS = 5  # of a timing, whose median counts


@dataclass(frozen=True)
class Trial(Finding):
    """What a device did. milliseconds: of one image of 512x512. difference: the largest of a score from `cpu`'s."""

    milliseconds: float | None = None
    difference: float | None = None


def add(verbs: shared.Verbs) -> None:
    doctor = shared.add_verb(
        verbs, "doctor", "say which libraries and devices can be used here, and what would help", run
    )
    doctor.add_argument("--model", default=DEFAULT_MODEL, help="the model that is tried (default: %(default)s)")
    shared.json(doctor)


def run(options: argparse.Namespace) -> int:
    """Write what was found; returns 0 where images can be scored here, else 3."""
    there = gpus.find()
    trials: list[Trial] = []
    of_cpu: list[float] = []
    for one in DEVICES.values():  # cpu first: the others are compared with it
        if one.tried:
            trial, scores = device(one, options.model, there, of_cpu)
            trials.append(trial)
            of_cpu = scores if one.name == "cpu" else of_cpu
    fastest = min((trial for trial in trials if trial.usable), key=lambda trial: trial.milliseconds or 0, default=None)
    taken, passed_over = _auto(options.model)
    return written(
        trials, Choice(fastest.name if fastest else "", taken, passed_over, cuda.in_use()), as_json=options.json
    )


def device(one: Device, model: str, there: gpus.Gpus, of_cpu: Sequence[float]) -> tuple[Trial, list[float]]:
    """Whether a device scores images, how fast, and how far from the CPU's scores: a real trial.

    of_cpu: scores of the golden images on "cpu", to compare with; empty where there are none.

    Returns the trial and the device's own scores of the golden images; none where it cannot be used.
    """
    name = one.name
    if one.on_gpu and not there.found:
        return Trial(name, False, "", there.problem), []
    start = time.perf_counter()
    try:
        with open_scorer(model, name) as scorer:
            seconds = time.perf_counter() - start
            images = golden.golden_images().values()
            scores = [golden_score(scorer, image) for image in images]  # and warm from here on
            milliseconds = 1000 * median(_seconds(scorer) for _ in range(_REPEATS))
            runs = runs_on(scorer.info)
    except PscrError as problem:
        return Trial(name, False, "", f"{Status(problem.status).name}: {problem.message}"), []
    except Exception as problem:  # a library that is broken may raise anything, and saying so is this verb's purpose
        return Trial(name, False, "", f"{type(problem).__name__}: {problem}"), []
    detail = f"model opened in {seconds:.2f} s, one 512x512 image scored in {milliseconds:.3g} ms"
    difference = None
    if of_cpu:
        difference = max(abs(own - other) for own, other in zip(scores, of_cpu, strict=True))
        detail += f", scores differ from cpu's by {difference:.1e} at most"
    return Trial(name, True, runs, detail, milliseconds, difference), scores


def _seconds(scorer: Scorer) -> float:
    """What the score of one image of 512x512 takes."""
    image = golden.first()
    start = time.perf_counter()
    golden_score(scorer, image)
    return time.perf_counter() - start


def _auto(model: str) -> tuple[str, tuple[str, ...]]:
    """The device that `auto` takes, "" for none, and why not the better ones."""
    try:
        with open_scorer(model) as scorer:
            return scorer.info["device"], tuple(scorer.info["passed_over"])
    except Exception:  # the trials have told why
        return "", ()
