"""`pscr doctor`: which libraries and devices can be used here, and what would help where one cannot.

Versions come from the packages' metadata and devices from a real trial: a library that is installed, or a provider that
is listed, may still not work.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..console import columns, one_line, out
from ..describe import gpu_names, runs_on
from ..runtime import cores, gpus
from ..runtime.devices import DEVICES, Device
from ..runtime.errors import PscrError, Status
from ..runtime.scorer import DEFAULT_MODEL
from ..runtime.scorer import open as open_scorer
from . import options as shared

# Module, what it is for, the extra that installs it.
LIBRARIES = (
    ("numpy", "everything", ""),
    ("cv2", "reading images", ""),
    ("imagesize", "image sizes before decoding", ""),
    ("onnxruntime", "scoring on a CPU, or with [gpu] on an NVIDIA GPU", "cpu"),
    ("tensorrt", "engines for NVIDIA GPUs", "trt"),
    ("tensorrt_rtx", "engines for NVIDIA RTX GPUs", "rtx"),
    ("pycuda", "running engines", "trt"),
    ("openvino", "scoring on a CPU, faster on some", "openvino"),
    ("PIL", "image formats that OpenCV cannot read", "pillow"),
    ("jinja2", "pscr report", "report"),
    ("fastapi", "pscr serve", "serve"),
    ("ray", "pscr score --engine ray", "ray"),
    ("torch", "training and export only", "train"),
)
# Two packages that install the same module overwrite each other's files.
RIVALS = (("onnxruntime", "onnxruntime-gpu"), ("opencv-python", "opencv-python-headless"))


@dataclass(frozen=True)
class Finding:
    """One library or device: whether it is there (a library) or works (a device), and where not, what would help.

    version: of a library's packages; of a device, what really runs on it.
    """

    name: str
    usable: bool
    version: str
    detail: str


def add(verbs: shared.Verbs) -> None:
    doctor = shared.add_verb(
        verbs, "doctor", "say which libraries and devices can be used here, and what would help", run
    )
    doctor.add_argument("--model", default=DEFAULT_MODEL, help="the model that is tried (default: %(default)s)")
    shared.json(doctor)


def run(options: argparse.Namespace) -> int:
    """Write what was found; returns 0 where images can be scored on the CPU at least, else 3."""
    there = gpus.find()
    facts = system(there)
    libraries = [library(*entry) for entry in LIBRARIES] + rivals()
    devices = [device(one, options.model, there) for one in DEVICES.values() if one.tried]
    usable = devices[0].usable
    if options.json:
        report = {"system": facts, "libraries": libraries, "devices": devices, "usable": usable}
        out(json.dumps(report, indent=2, default=_plain))
        return 0 if usable else 3
    out("system")
    for line in columns((f"  {name}", value) for name, value in facts.items()):
        out(line)
    out("\nlibraries")
    for line in columns((*_name(found), found.version or "-", one_line(found.detail)) for found in libraries):
        out(line)
    out("\ndevices")
    for line in columns(
        (*_name(tried), one_line(f"{tried.version}; {tried.detail}".removeprefix("; "))) for tried in devices
    ):
        out(line)
    ready = [finding.name for finding in devices if finding.usable]
    out(f"\nimages can be scored here on: {', '.join(ready)}" if ready else "\nimages cannot be scored here")
    return 0 if usable else 3


def system(there: gpus.Gpus) -> dict[str, str]:
    """The machine, in words."""
    return {
        "pscr": f"{__version__}, {Path(__file__).parents[1]}",
        "python": f"{platform.python_version()}, {sys.executable}",
        "platform": f"{platform.platform()}, {platform.machine()}",
        "cpu": f"{_cpu_name()}, {cores.usable()} cores usable{_cpu_features()}",
        "gpu": "; ".join(gpu_names(there)) or there.problem,
    }


def library(module: str, purpose: str, extra: str) -> Finding:
    """Whether a module is installed, its packages' versions, and where it is missing how to install it."""
    from importlib import metadata  # some 20 ms, which no other verb's help has to wait for

    unused = bool(extra) and extra not in (metadata.metadata("pscr").get_all("Provides-Extra") or [])
    use = f"{purpose}; this version of pscr does not use it" if unused else purpose
    if importlib.util.find_spec(module) is None:
        return Finding(module, False, "", f"not installed: {use}" + ("" if unused else f"; {_install(extra)}"))
    packages = sorted(set(metadata.packages_distributions().get(module, [])))
    versions = [f"{name} {metadata.version(name)}" for name in packages]
    return Finding(module, True, ", ".join(versions) or "version unknown", use)


def rivals() -> list[Finding]:
    """Packages that are installed together and must not be."""
    found = []
    for pair in RIVALS:
        if all(map(_installed, pair)):
            advice = f"both are installed and overwrite each other's files; remove both, then install {pair[1]} alone"
            found.append(Finding(" + ".join(pair), False, "", advice))
    return found


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


def _name(finding: Finding) -> tuple[str, str]:
    return f"  {finding.name}", "yes" if finding.usable else "no"


def _install(extra: str) -> str:
    return f"pip install 'pscr[{extra}]'" if extra else "pip install pscr"


def _installed(package: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cpu_name() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_features() -> str:
    flags = set(_cpuinfo("flags").split())
    named = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags]
    return f", {' '.join(named)}" if named else ""


def _cpuinfo(key: str) -> str:
    """The first processor's value of a key in /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _plain(finding: Any) -> dict[str, Any]:
    return asdict(finding)
