"""NVIDIA GPUs as the driver itself lists them: no CUDA toolkit, no Python package."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*, cuda.h


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
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Gpus(problem="no NVIDIA driver here (libcuda.so.1 is missing); with a GPU, install its driver")
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
