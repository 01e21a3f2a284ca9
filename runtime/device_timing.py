"""Which of a CPU's devices is the fastest for a model: measured once on a machine, and kept in the cache folder.

onnxruntime and OpenVINO lie within a third of each other either way, by processor, model and version, so nothing but a
measurement can tell. It takes about as long as opening the model, and is made where more than one of them is installed
and the result can be kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from . import cores, output_file
from .backends.base import Backend
from .cache_folder import cache_folder
from .errors import PscrError
from .families.head import Floats
from .samplings import Pixels

_log = logging.getLogger(__name__)
EXACT = 2e-5  # of the range: 1e-4 of five points, by which fp32 may differ between libraries
FAST = 0.02  # of the range, by which scores may differ where that was allowed
_FILE = "devices.json"
_KEPT = 200  # measurements; the oldest ones make room
_WORTH = 0.9  # of the first device's time: less than that is told from noise, and worth another library
_TURNS = 5
_SECONDS = 1.0  # after which no further turn is begun


@dataclass(frozen=True)
class Measured:
    """What devices did with one model. measured: the day.

    milliseconds: the median of one image, by device. off: how far scores differ from the first device's at most, a part
    of the scale's range. problems: why the others cannot be had.
    """

    measured: str
    milliseconds: dict[str, float] = field(default_factory=dict)
    off: dict[str, float] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def taken(self, names: Sequence[str], most_off: float) -> str:
        """The fastest of these devices; the first one unless another is faster by more than chance."""
        first = names[0]
        among = [one for one in names if one in self.milliseconds and (one == first or self.off[one] <= most_off)]
        best = min(among, key=self.milliseconds.__getitem__)
        return best if self.milliseconds[best] < _WORTH * self.milliseconds[first] else first

    def reasons(self, names: Sequence[str], most_off: float) -> dict[str, str]:
        """Why each of the others was not taken, in words."""
        best = self.taken(names, most_off)
        said = {}
        for name in names:
            if name in self.problems:
                said[name] = self.problems[name]
            elif name != best:
                times = [f"{self.milliseconds[one]:.3g} ms" for one in (name, best)]
                said[name] = f"{times[0]} an image, {best} {times[1]}"
                if self.off[name] > most_off:
                    said[name] += f"; scores differ by {self.off[name]:.2%} of the range, {most_off:.2g} is allowed"
                elif self.off[best] > EXACT:
                    said[name] += f", whose scores differ by up to {self.off[best]:.2%} of the range"
                said[name] += f" (measured on {self.measured})"
        return said


def among(
    names: Sequence[str],
    opens: Callable[[str], Backend],
    *,
    images: Callable[[], list[Pixels]],
    graph: bytes,
    threads: int,
    span: float,
) -> Measured | None:
    """The measurement of these devices, the kept one or a new one; None where none can be kept.

    opens: gives the model on a device. images: patches [P,S,S,3] to try it with; times are those of the first.
    span: the length of the scale's range, in score units.

    Raises:
        PscrError: what the first device raises.
    """
    try:
        path = cache_folder(_FILE)
        path.parent.mkdir(parents=True, exist_ok=True)
        output_file.check(path)
    except (OSError, RuntimeError, PscrError):  # RuntimeError: there is no home folder
        return None
    kept = _read(path)
    versions = [_version(name) for name in ("onnxruntime", "onnxruntime-gpu", "openvino", "numpy")]
    key = " ".join([hashlib.sha256(graph).hexdigest()[:32], str(threads), *versions, cores.processor()])
    found = _parsed(kept.get(key), names)
    if found is None:
        found = measure(names, opens, images(), span)
        entries = {**{one: value for one, value in kept.items() if one != key}, key: asdict(found)}
        with contextlib.suppress(OSError, PscrError):  # a full disk; on Windows, another process that reads it now
            output_file.write(path, json.dumps(dict(list(entries.items())[-_KEPT:]), indent=1).encode())
        _log.info("measured %s", ", ".join(f"{one} {took:.3g} ms" for one, took in found.milliseconds.items()))
    return found


def measure(names: Sequence[str], opens: Callable[[str], Backend], images: Sequence[Pixels], span: float) -> Measured:
    """Time the devices in turns. Arguments and errors as `among`."""
    problems: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        opened: dict[str, Backend] = {}
        for name in names:
            try:
                opened[name] = stack.enter_context(opens(name))
            except PscrError as error:
                if name == names[0]:
                    raise
                problems[name] = error.message
        given = {name: [_outputs(backend, image) for image in images] for name, backend in opened.items()}  # and warm
        off = {name: _off(found, given[names[0]], span) for name, found in given.items()}
        times: dict[str, list[float]] = {name: [] for name in opened}
        ends = time.perf_counter() + _SECONDS
        for turn in range(_TURNS):
            if turn and time.perf_counter() > ends:
                break
            for name, backend in opened.items():
                started = time.perf_counter()
                _outputs(backend, images[0])
                times[name].append(1000 * (time.perf_counter() - started))
    middle = {name: round(median(taken), 3) for name, taken in times.items()}
    return Measured(time.strftime("%Y-%m-%d"), middle, off, problems)


def _outputs(backend: Backend, image: Pixels) -> tuple[Floats, bool]:
    """What the graph gives for an image, and whether it is a score: of a head that reads terms it is these."""
    if "score" in backend.signature.outputs:
        return backend.infer(image[None]).scores, True
    return backend.terms(image[None]), False


def _off(found: Sequence[tuple[Floats, bool]], first: Sequence[tuple[Floats, bool]], span: float) -> float:
    """The largest difference from the first device: of scores a part of the range, of terms a part of their length."""
    parts = []
    for (own, scores), (other, _) in zip(found, first, strict=True):
        whole = span if scores else float(np.linalg.norm(other))
        parts.append(float(np.linalg.norm(own - other)) / max(whole, 1e-12))
    return max(parts)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "-"


def _read(path: Path) -> Mapping[str, Any]:
    """What the file keeps; nothing of one that is damaged, which the next measurement replaces."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed(entry: Any, names: Sequence[str]) -> Measured | None:
    """A kept measurement of all these devices; None where it is another's, or damaged."""
    try:
        found = Measured(**entry)
        told = {**found.milliseconds, **found.problems}
        whole = all(name in told for name in names) and names[0] in found.milliseconds
        numbers = [*found.milliseconds.values(), *(found.off[name] for name in found.milliseconds)]
        return found if whole and all(value >= 0 for value in numbers) else None
    except (TypeError, KeyError, AttributeError):
        return None
