"""NVIDIA GPUs as the driver itself lists them: no CUDA toolkit, no Python package.

The driver is started in a process of its own: in one that is forked afterwards, as data loaders and servers do, CUDA
could not be used any more. That process runs this file, which therefore imports nothing of pscr. Where no Python can be
started (a frozen program, or one that Python is embedded in, such as uWSGI) it is asked in this process.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*, cuda.h
_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_PYTHONS = ("python", "pypy", "graalpy")  # how an interpreter's file is called; uWSGI, say, names itself instead
_PATIENCE = 60.0  # seconds: a driver may load its module first


@dataclass(frozen=True)
class Gpu:
    """One GPU. compute_capability: such as "8.9". memory: bytes."""

    index: int
    name: str
    compute_capability: str
    memory: int


@dataclass(frozen=True)
class Gpus:
    """The GPUs that the driver lists, and the CUDA version it brings; or in `problem` why there are none."""

    found: tuple[Gpu, ...] = ()
    cuda: str = ""
    problem: str = ""


def find() -> Gpus:
    """Ask the driver; every failure is told in `problem`, together with what would help."""
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return Gpus(problem=f"no NVIDIA driver here ({_LIBRARY} is missing); with a GPU, install its driver")
    if getattr(sys, "frozen", False) or not Path(sys.executable or "").name.lower().startswith(_PYTHONS):
        return ask(driver)
    try:
        command = [sys.executable, "-I", "-S", __file__]
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True, stdin=subprocess.DEVNULL)
        entries = json.loads(done.stdout)
        return Gpus(tuple(Gpu(**one) for one in entries["found"]), entries["cuda"], entries["problem"])
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, KeyError) as error:
        by_signal = isinstance(error, subprocess.CalledProcessError) and error.returncode < 0
        if by_signal or isinstance(error, subprocess.TimeoutExpired):
            return Gpus(problem=f"the NVIDIA driver does not answer ({type(error).__name__}); try nvidia-smi")
        return ask(driver)  # what was started is no Python


def ask(driver: ctypes.CDLL) -> Gpus:
    """What `find` tells, by starting the driver in this process."""
    code = driver.cuInit(0)
    if code:
        return Gpus(problem=f"the NVIDIA driver does not start: cuInit gives {_named(driver, code)}; try nvidia-smi")
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGetCount(ctypes.byref(count))
    if not count.value:
        return Gpus(problem="the NVIDIA driver lists no GPU; look at CUDA_VISIBLE_DEVICES")
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Gpus(tuple(_describe(driver, number) for number in range(count.value)), cuda)


def _describe(driver: ctypes.CDLL, number: int) -> Gpu:
    device = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), number)
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, len(name), device)
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    words = name.value.decode(errors="replace")
    return Gpu(number, words, f"{major.value}.{minor.value}", memory.value)


def _named(driver: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    driver.cuGetErrorName(code, ctypes.byref(text))
    return text.value.decode(errors="replace") if text.value else f"error {code}"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(ask(ctypes.CDLL(_LIBRARY)))))
