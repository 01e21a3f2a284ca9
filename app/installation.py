"""What is installed here, and what would help where it is not: all of `pscr doctor` that needs no library.

Versions come from the packages' metadata.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .console import columns, one_line, out
from .describe import gpu_names
from .runtime import cores, gpus, libraries
from .runtime.errors import PscrError
from .runtime.version import __version__

UNUSABLE = 3  # the exit code

# Module, what it is for, the extra that installs it.
LIBRARIES = (
    ("numpy", "everything", ""),
    ("cv2", "reading images", ""),
    ("imagesize", "image sizes before decoding", ""),
    ("onnxruntime", "scoring on a CPU, or with [gpu] on an NVIDIA GPU", "cpu"),
    ("tensorrt", "engines for NVIDIA GPUs", "trt"),
    ("tensorrt_rtx", "engines for NVIDIA RTX GPUs", "rtx"),
    ("cuda", "running engines, by cuda-bindings", "trt"),
    ("pycuda", "running engines in place of cuda-bindings, which still record graphs", "pycuda"),
    ("openvino", "scoring on a CPU, faster on some", "openvino"),
    ("PIL", "image formats that OpenCV cannot read", "pillow"),
    ("jinja2", "pscr report", "report"),
    ("fastapi", "pscr serve", "serve"),
    ("ray", "pscr score --engine ray", "ray"),
    ("torch", "training and export only", "train"),
)
# Packages that install the same module overwrite each other's files. Of each row, what to install alone.
RIVALS = {
    "onnxruntime or onnxruntime-gpu": (
        "onnxruntime",
        "onnxruntime-gpu",
        "onnxruntime-openvino",
        "onnxruntime-directml",
    ),
    "opencv-python-headless": (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One library or device: whether it is there (a library) or works (a device), and where not, what would help.

    version: of a library's packages; of a device, what really runs on it.
    """

    name: str
    usable: bool
    version: str
    detail: str


@dataclass(frozen=True)
class Choice:
    """The fastest of the devices, the one that `auto` takes, "" where there is none, and why it took no better one.

    engines_by: the package through which TensorRT engines reach the GPU; "" where none is installed.
    """

    fastest: str = ""
    auto: str = ""
    passed_over: tuple[str, ...] = ()
    engines_by: str = ""


def missing() -> tuple[str, str] | None:
    """The first of the libraries that everything needs which cannot be used: its name, and why and what would help.

    No further: OpenCV writes to standard output where it does not find NumPy.
    """
    for name in libraries.NEEDED:
        try:
            libraries.load(name)
        except PscrError as problem:
            return name, problem.message
    return None


def listed() -> list[Finding]:
    """All libraries, and those that are installed together and must not be."""
    name, problem = missing() or ("", "")
    found = [library(*entry) for entry in LIBRARIES]
    return [replace(one, usable=False, detail=problem) if one.name == name else one for one in found] + rivals()


def written(devices: Sequence[Finding], choice: Choice, *, as_json: bool) -> int:
    """Write the system, the libraries and the devices that were tried; returns the exit code."""
    facts, found, usable = system(gpus.find()), listed(), bool(choice.auto)
    if as_json:
        told = {"system": facts, "libraries": found, "devices": devices, **asdict(choice), "usable": usable}
        out(json.dumps(told, indent=2, default=asdict))
        return 0 if usable else UNUSABLE
    out("system")
    for line in columns((f"  {name}", value) for name, value in facts.items()):
        out(line)
    out("\nlibraries")
    for line in columns((*_name(one), one.version or "-", one_line(one.detail)) for one in found):
        out(line)
    out("\ndevices" if devices else "\nno device was tried")
    for line in columns((*_name(one), one_line(f"{one.version}; {one.detail}".removeprefix("; "))) for one in devices):
        out(line)
    ready = ", ".join(one.name for one in devices if one.usable)
    out(f"\nimages can be scored here on: {ready}" if ready else "\nimages cannot be scored here")
    if choice.fastest:
        out(f"the fastest here with this model, one image at a time: {choice.fastest}")
    if choice.auto:
        out(f"--device auto takes: {choice.auto}")
    for reason in choice.passed_over:
        out(one_line(f"  and not {reason}"))
    if choice.engines_by:
        out(f"TensorRT engines are run through: {choice.engines_by}")
    return 0 if usable else UNUSABLE


def system(there: gpus.Gpus) -> dict[str, str]:
    """The machine, in words."""
    return {
        "pscr": f"{__version__}, {Path(__file__).parent}",
        "python": f"{platform.python_version()}, {sys.executable}",
        "platform": f"{platform.platform()}, {platform.machine()}",
        "cpu": f"{cores.processor()}, {cores.usable()} cores usable{_cpu_features()}",
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
    for alone, packages in RIVALS.items():
        there = list(filter(_installed, packages))
        if len(there) > 1:
            advice = f"together they overwrite each other's files; remove them all, then install {alone} alone"
            found.append(Finding(" + ".join(there), False, "", advice))
    return found


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
