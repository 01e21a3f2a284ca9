"""Libraries, imported: no inference library phones home, and one that cannot be had says what would help.

onnxruntime (from 1.29) and OpenVINO report to their makers, and leave an identifier in the home folder, unless they are
told not to. Every import of these goes through `load`, which also proves the libraries that everything
needs before the command line starts.

- onnxruntime: ORT_DISABLE_TELEMETRY, which it reads as it loads, and which stays as it is where the user has set it. It
  is set together with this module, since the tools that export uses import onnxruntime themselves.
- OpenVINO: it has no such setting, and the one that it keeps (`opt_in_out`) is a file in the home folder. It reports
  through the package openvino_telemetry, and goes without where that is not there: so it is not there while OpenVINO
  is imported. A program that has imported openvino_telemetry by itself keeps it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .errors import PscrError, Status, one_line

_REPORTER = "openvino_telemetry"
_importing = threading.Lock()

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class Library(NamedTuple):
    """needed: a name that a whole installation has. remedy: what to do where it cannot be imported."""

    needed: str
    remedy: str


NEEDED = ("numpy", "cv2")  # by whatever pscr does
LIBRARIES = {
    "numpy": Library("ndarray", "pip install --force-reinstall numpy"),
    "cv2": Library("imdecode", "pip install --force-reinstall opencv-python-headless (opencv-python needs libGL)"),
    "onnxruntime": Library("InferenceSession", "pip install 'pscr[cpu]', or 'pscr[gpu]' with a GPU"),
    "onnxruntime.quantization": Library("quantize_static", "pip install 'pscr[export]'"),
    "openvino": Library("Core", "pip install 'pscr[openvino]', or use cpu"),
    "tensorrt": Library("Runtime", "pip install 'pscr[trt]'"),
    "tensorrt_rtx": Library("Runtime", "pip install 'pscr[rtx]'"),
    "cuda.bindings.driver": Library("cuInit", "pip install 'pscr[trt]' or 'pscr[rtx]', and an NVIDIA driver"),
    "nvidia.nvimgcodec": Library("Decoder", "pip install 'pscr[nvjpeg]', or leave jpeg='gpu' out"),
    "pycuda.driver": Library("Device", "pip install 'pscr[pycuda]', or remove it: cuda-bindings serve as well"),
}


def load(name: str) -> Any:
    """Import one of `LIBRARIES`.

    Raises:
        PscrError: DEVICE_UNAVAILABLE: it is not installed, does not start here, or is there in part only.
    """
    needed, remedy = LIBRARIES[name]
    try:
        with _importing, _unreported():
            library = import_module(name)
    except Exception as error:  # whatever a damaged installation or an unusual machine drives an import to
        _raise_interrupt(error)
        raise PscrError(
            Status.DEVICE_UNAVAILABLE, f"{name} cannot be imported ({one_line(error)}); {remedy}"
        ) from error
    if not hasattr(library, needed):
        found = f"{name} is there in part only, without {needed}, as where one of two packages of its name was removed"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{found}; pip uninstall them all, then {remedy}")
    return library


@cache
def spare_home() -> None:
    """Let matplotlib keep its list of fonts in a folder of this process, where the home folder has none of its yet.

    To be called before it is imported. MPLCONFIGDIR stays as it is where the user has set it.
    """
    with contextlib.suppress(OSError, RuntimeError):  # no home folder, or no place for temporary files: its own affair
        kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "matplotlib").is_dir()
        if "MPLCONFIGDIR" not in os.environ and not kept:
            folder = tempfile.TemporaryDirectory(prefix="pscr-matplotlib-", ignore_cleanup_errors=True)
            atexit.register(folder.cleanup)
            os.environ["MPLCONFIGDIR"] = folder.name


def _raise_interrupt(error: BaseException) -> None:
    """Raise the Ctrl-C or SIGTERM that a library, stopped by it while it was imported, has made an ImportError of."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            raise cause
        cause = cause.__cause__ or cause.__context__


@contextmanager
def _unreported() -> Iterator[None]:
    """Keep OpenVINO from the package through which it reports; afterwards that can be imported as before."""
    if _REPORTER in sys.modules:
        yield
        return
    sys.modules[_REPORTER] = None  # type: ignore[assignment]  # "there is no such module", to whoever imports it
    try:
        yield
    finally:
        sys.modules.pop(_REPORTER, None)
