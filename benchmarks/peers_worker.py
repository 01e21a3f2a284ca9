"""One metric in a process of its own, for peers.py: opens it, then does what it is told, a line of JSON each.

    python benchmarks/peers_worker.py PACKAGE METRIC THREADS IMAGE

Runs with the interpreter of either environment, so it imports PACKAGE (pyiqa or pscr) and nothing of this folder.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

REQUIREMENTS = {"pyiqa": "pyiqa", "pscr": "pscr[cpu]"}
VERSIONS = ("torch", "torchvision", "timm", "onnxruntime", "numpy", "pillow", "opencv-python-headless")
CUDA = ("nvidia-", "cuda-", "triton")
PACKAGE_PARTS = ("pscr", "pscr.runtime", "pscr.export", "pscr.training")  # folders apart where pscr is editable


class Metric(NamedTuple):
    """score: of an image file. command: what the package's own command line does with a folder of images."""

    score: Callable[[str], float]
    command: Callable[[str], None]


def ours(name: str, threads: int) -> Metric:
    """A model of pscr; `pscr score FOLDER` opens it again, and that counts."""
    import pscr
    from pscr.commands.main import main

    scorer = pscr.open(name, "cpu", threads)

    def command(folder: str) -> None:
        words = ["score", folder, "--model", name, "--device", "cpu", "--threads", str(threads)]
        if main([*words, "-o", str(Path(folder).with_suffix(".csv")), "--overwrite", "-q"]):
            raise RuntimeError("pscr score failed")

    return Metric(lambda file: float(scorer.score(file).score), command)


def theirs(name: str, threads: int) -> Metric:
    """A metric of pyiqa with random weights; `pyiqa METRIC -t FOLDER` with the metric that is already built."""
    import torch

    torch.set_num_threads(threads)
    without_downloads()
    import pyiqa
    from pyiqa import pyiqa_cmd

    metric = pyiqa.create_metric(name, device=torch.device("cpu"))
    pyiqa_cmd.create_metric = lambda *_, **__: metric

    def command(folder: str) -> None:
        sys.argv = ["pyiqa", name, "-t", folder, "--device", "cpu"]
        pyiqa_cmd.main()

    return Metric(lambda file: float(metric(file)), command)


def without_downloads() -> None:
    """Leave every weight that pyiqa would fetch as its network was initialised: the same arithmetic, other scores.

    pyiqa imports a metric's file when the metric is built, so what is replaced before then is what that file gets.
    """
    import packaging.version
    import timm
    import torch
    import torchvision

    # openai-clip takes `packaging` from a module that setuptools no longer has.
    sys.modules["pkg_resources"] = types.SimpleNamespace(packaging=packaging)  # type: ignore[assignment]
    from pyiqa.archs import arch_util, clip_model
    from pyiqa.utils import download_util

    create, vgg16, resnet50 = timm.create_model, torchvision.models.vgg16, torchvision.models.resnet50

    def encoder_of_arniqa(*_: object, **__: object) -> dict[str, Any]:
        layers = torch.nn.Sequential(*list(resnet50().children())[:-1])
        return {f"model.{key}": value for key, value in layers.state_dict().items()}

    timm.create_model = lambda *words, **options: create(*words, **{**options, "pretrained": False})
    torchvision.models.vgg16 = lambda **_: vgg16()
    torchvision.models.resnet50 = lambda **_: resnet50()
    torch.hub.load_state_dict_from_url = encoder_of_arniqa
    torch.jit.load = lambda *_, **__: torch.nn.Linear(4096, 1)  # ARNIQA's regressor
    arch_util.load_pretrained_network = lambda *_, **__: None
    download_util.load_file_from_url = lambda url, *_, **__: url
    clip_model.load = lambda *_, **__: clip_model.CLIP(1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12)  # RN50


def timed(score: Callable[[str], float], files: Sequence[str], seconds: float) -> list[float]:
    """Milliseconds of one image after the other for `seconds`, of one at least.

    Raises:
        ValueError: a score is not a finite number, so its time is no time of a score.
    """
    taken: list[float] = []
    ends = time.perf_counter() + seconds
    while not taken or time.perf_counter() < ends:
        started = time.perf_counter()
        found = score(files[len(taken) % len(files)])
        taken.append(1000 * (time.perf_counter() - started))
        if not math.isfinite(found):
            raise ValueError(f"found the score {found}; expected a finite number")
    return taken


def peak_mib() -> float:
    """The most memory that this process has held (Linux: VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def about(package: str) -> dict[str, Any]:
    """Versions, and the megabytes of the package with all it requires; of these, of NVIDIA's libraries and triton."""
    sizes = {name: size(name) for name in closure(REQUIREMENTS[package])}
    versions = {package: sys.modules[package].__version__}  # the metadata of an editable install may be an older one's
    versions |= {name: importlib.metadata.version(name) for name in VERSIONS if name in sizes}
    cuda = sum(megabytes for name, megabytes in sizes.items() if name.startswith(CUDA))
    return {"versions": versions, "installed_mb": round(sum(sizes.values())), "cuda_mb": round(cuda)}


def closure(requirement: str) -> set[str]:
    """Names of the distributions that a requirement needs here, itself among them."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, set[str]] = {}
    left = [Requirement(requirement)]
    while left:
        one = left.pop()
        name, extras = canonicalize_name(one.name), {"", *one.extras}
        if extras <= found.get(name, set()):
            continue
        found[name] = found.get(name, set()) | extras
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in found[name]):
                left.append(needed)
    return set(found)


def size(distribution: str) -> float:
    """Megabytes of an installed distribution; of pscr, of its folders, which an editable install does not list."""
    if distribution == "pscr":
        specs = [importlib.util.find_spec(part) for part in PACKAGE_PARTS]
        folders = [Path(place) for spec in specs if spec for place in spec.submodule_search_locations or []]
        walked = [Path(at) / file for folder in folders for at, _, files in os.walk(folder) for file in files]
        paths = {path.resolve() for path in walked if path.suffix != ".pyc"}
    else:
        paths = {Path(str(file.locate())) for file in importlib.metadata.files(distribution) or []}
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    """Answer each line of standard input, [verb, arguments...], with {"ok": ...} or {"failed": why}."""
    package, name, threads, image = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print is no answer

    def answer(**fields: object) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    try:
        metric = {"pyiqa": theirs, "pscr": ours}[package](name, int(threads))
        timed(metric.score, [image], 0)
        answer(ok=None)
        for line in sys.stdin:
            verb, *rest = json.loads(line)
            if verb == "score":
                answer(ok=timed(metric.score, *rest))
            elif verb == "folder":
                started = time.perf_counter()
                metric.command(*rest)
                answer(ok=time.perf_counter() - started)
            elif verb == "peak":
                answer(ok=peak_mib())
            else:
                answer(ok=about(package))
    except Exception as error:  # whatever a metric needs that is not here is its row's text
        answer(failed=f"{type(error).__name__}: {error}".splitlines()[0])


if __name__ == "__main__":
    main()
