"""Does everything work on this GPU? Builds every engine that can be built, proves each, and records what could not be.

    python benchmarks/gpu/check.py [MODEL] [--images PATH ...] [-o check.json]

Needs pscr[cpu,export] or pscr[gpu,export], and pscr[trt], pscr[rtx] or both. Takes some minutes; the table comes last.
It also tries what is not promised, tensorrt_rtx on a GPU that it does not list (compute capability 9.0), in its words.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from card import copy_of, machine, save, table
from folders import in_precision

import pscr
from pscr.export.to_trt import main as build
from pscr.runtime.engines import LIBRARIES, files
from pscr.runtime.golden import golden_images
from pscr.runtime.models import locate
from pscr.runtime.scorer import DEFAULT_MODEL

PRECISIONS = ("fp32", "fp16", "int8")


def attempt(model: Path, library: str, precision: str, images: list[str], largest: int) -> dict[str, Any]:
    """Build one engine of a model folder, with its own checks, and score with it through the public interface.

    The CPU scores the folder's own graph, so that in fp16 and int8 the engine is compared with its own precision.
    """
    row: dict[str, Any] = {
        "library": library,
        "precision": precision,
        "result": "",
        "MB": "",
        "seconds": "",
        "detail": "",
    }
    if importlib.util.find_spec(library) is None:
        return row | {"result": "not installed"}
    said, errors = io.StringIO(), io.StringIO()
    started = time.perf_counter()
    with copy_of(model) as folder:
        words = [str(folder), "--library", library, "--batch", f"1,8,{largest}"]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            code = build([*words, *(["--calibrate", *images] if images else [])])
        lines = said.getvalue().splitlines()
        row |= {"seconds": round(time.perf_counter() - started, 1)}
        if code:
            return row | {"result": "FAILED", "detail": (errors.getvalue() or "no reason given").splitlines()[-1]}
        (path,) = files(folder)
        row |= {"MB": round(path.stat().st_size / 1e6, 1)}
        row |= {
            "detail": "; ".join(
                line for line in lines if line.startswith(("precision", "parity", "batches", "not run"))
            )
        }
        try:
            with pscr.open(folder, device="tensorrt") as native, pscr.open(folder, device="cpu") as cpu:
                pictures = golden_images().values()
                apart = [abs(s.score(p, pixel_format="rgb").score - c) for p in pictures
                         for s, c in [(native, cpu.score(p, pixel_format="rgb").score)]]  # fmt: skip
        except pscr.PscrError as error:
            return row | {"result": "FAILED", "detail": f"{error.status.name}: {error}"}
    return row | {"result": f"ok, golden images to {np.max(apart):.1e}"}


def providers(model: str) -> list[dict[str, Any]]:
    """onnxruntime's own ways to a GPU."""
    rows = []
    for device in ("cuda", "onnxruntime-tensorrt"):
        started = time.perf_counter()
        try:
            with pscr.open(model, device=device) as gpu, pscr.open(model, device="cpu") as cpu:
                pictures = list(golden_images().values())
                pairs = [[s.score(p, pixel_format="rgb").score for s in (gpu, cpu)] for p in pictures]
            result = f"ok, golden images to {np.abs(np.diff(pairs)).max():.1e}"
            detail = ""
        except pscr.PscrError as error:
            result, detail = "FAILED", f"{error.status.name}: {error}"
        row = {"library": device, "precision": "the model's", "result": result, "MB": ""}
        rows.append(row | {"seconds": round(time.perf_counter() - started, 1), "detail": detail})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="MODEL", help="a model in fp32")
    parser.add_argument("--images", nargs="+", default=["examples/images"], help="int8 is calibrated on them")
    parser.add_argument("--largest", type=int, default=32, help="the largest batch; every size up to it is tried")
    parser.add_argument("-o", "--output", type=Path, default=Path("check.json"))
    given = parser.parse_args()
    where = machine()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for precision in PRECISIONS:  # each converted once, for every library
            try:
                folder = in_precision(locate(given.model), precision, given.images, Path(temporary) / precision, None)
            except pscr.PscrError as error:
                row = {"library": "any", "precision": precision, "result": "not converted", "MB": "", "seconds": ""}
                rows.append(row | {"detail": f"{error.status.name}: {error}"})
                continue
            rows += [attempt(folder, library, precision, given.images, given.largest) for library in LIBRARIES]
    rows += providers(given.model)
    save(given.output, where, rows)
    print(where)
    print(table(rows))


if __name__ == "__main__":
    main()
