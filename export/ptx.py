"""Compile the runtime's kernels, pixels.cu, to the PTX that is shipped: `python -m pscr.export.ptx`.

PTX is compiled further by the driver of whichever GPU runs it. It is made for the oldest GPUs that TensorRT runs on,
and by the oldest NVRTC of CUDA 12, so that any driver of CUDA 12 or later takes it. No GPU is needed:

    pip install nvidia-cuda-nvrtc-cu12==12.0.140
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from ..runtime.backends.cuda_pixels import PTX
from ..runtime.errors import PscrError, Status

PACKAGE, VERSION = "nvidia-cuda-nvrtc-cu12", "12.0.140"
_OPTIONS = (b"--gpu-architecture=compute_75", b"--fmad=false")  # OpenCV's sums are not fused


def compiled(source: Path) -> str:
    """The PTX of a file of kernels.

    Raises:
        PscrError: DEVICE_UNAVAILABLE without NVRTC; INVALID_ARGUMENT with the compiler's own words.
    """
    nvrtc, program, size = _nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), source.name.encode(), 0, None, None)
    failed = nvrtc.nvrtcCompileProgram(program, len(_OPTIONS), (ctypes.c_char_p * len(_OPTIONS))(*_OPTIONS))
    length, text = ("GetProgramLogSize", "GetProgramLog") if failed else ("GetPTXSize", "GetPTX")
    nvrtc[f"nvrtc{length}"](program, ctypes.byref(size))
    found = ctypes.create_string_buffer(size.value)
    nvrtc[f"nvrtc{text}"](program, found)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise PscrError(Status.INVALID_ARGUMENT, f"{source.name} does not compile: {found.value.decode()}")
    return heading(source) + found.value.decode()


def heading(source: Path) -> str:
    """The first line of a file that was made of this source."""
    return (
        f"// of {source.name}, SHA-256 {hashlib.sha256(source.read_bytes()).hexdigest()}; python -m pscr.export.ptx\n"
    )


def installed() -> bool:
    """Whether the NVRTC that the shipped PTX is made with is there."""
    try:
        return bool(_libraries())
    except PscrError:
        return False


def _nvrtc() -> ctypes.CDLL:
    *others, nvrtc = _libraries()
    for other in others:  # which it looks for by name alone
        ctypes.CDLL(str(other), ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(nvrtc))


def _libraries() -> list[Path]:
    """The files of NVRTC, itself last."""
    try:
        known = [Path(str(file.locate())) for file in files(PACKAGE) or () if ".so" in file.name]
    except PackageNotFoundError:
        known = []
    if not known:
        found = f"{PACKAGE} is not installed; pip install {PACKAGE}=={VERSION}"
        raise PscrError(Status.DEVICE_UNAVAILABLE, found)
    return sorted(known, key=lambda file: "builtins" not in file.name)


def main() -> int:
    """Write the PTX beside its source."""
    PTX.write_text(compiled(PTX.with_suffix(".cu")), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
