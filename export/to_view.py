"""`pscr export --view MODEL -o DIR`: a model of the first format gets the view; its network stays as it is.

On images whose sides are not above the view's, such as the 512x512 ones that the published databases have, its scores
stay the same; what was measured on them therefore holds.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pscr.export import model_folder, tolerance
from pscr.export.difference import scores
from pscr.runtime import golden
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.manifest import FORMAT_VERSION, Manifest
from pscr.runtime.models import locate
from pscr.runtime.sampling import WINDOWS


def with_view(model: str, output: Path, *, name: str = "", version: str = "", threads: int = 1) -> Manifest:
    """Write a model folder like `model`, an installed model's name or a folder, that brings images to the view first.

    name, version: of the model that is written; empty for its folder's name, and for the version that it has.

    Raises:
        PscrError: INVALID_ARGUMENT for a model that has a view already or resizes by itself; MODEL_INVALID for a
            folder that cannot be used.
    """
    folder = locate(model)
    manifest = Manifest.read(folder)
    before = manifest.sampling
    if before.view or before.resized:
        has = "a view already" if before.view else "a scale of its own"
        raise PscrError(Status.INVALID_ARGUMENT, f"{folder}: has {has}; expected a model that takes images as they are")
    sampling = replace(before, view=before.reference_side, windows=WINDOWS)
    files = {file: manifest.read_verified(folder, file) for file in manifest.files}
    bank = Bank.from_bytes(files["bank.npz"], str(folder / "bank.npz"))
    with OnnxRuntimeBackend(files["model.onnx"], bank, sampling.patch, threads=threads) as backend:
        kept = [float(s) for s in scores(backend, [sampling.cut(one) for one in golden.golden_images().values()])]
    share = tolerance.CONVERTED.get(manifest.precision, tolerance.GOLDEN)
    promised = golden.promise(kept, tolerance.allowed(share, manifest.score.range, kept).units)
    written = replace(
        manifest,
        name=name or output.name,
        version=version or manifest.version,
        sampling=sampling,
        golden=promised,
        format_version=FORMAT_VERSION,
    )
    with model_folder.unfinished(output) as unfinished:
        for file, data in files.items():
            (unfinished / file).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / file).write_bytes(data)
        sys.stderr.write(f"{model_folder.finish(written, unfinished, list(files), output)}\n")
    return written


def parser() -> argparse.ArgumentParser:
    """The command line of `pscr export --view`."""
    result = argparse.ArgumentParser(
        prog="pscr export --view",
        description="Give a model of the first format the view: images whose shorter side is above its own are scaled "
        "down to it before patches are cut, and windows cover all of them. Engines have to be built anew.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add("model", metavar="MODEL", help="a model folder, or an installed model's name")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="the model folder to write")
    add("--name", default="", help="the model's name (default: the folder's)")
    add("--version", default="", help="the model's version (default: the one that it has)")
    add("--threads", type=int, default=0, help="CPU threads, 0 for all")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder. Returns 0, 1 for a model that needs no view, 3 for one that cannot be used."""
    given = parser().parse_args(argv)
    threads = given.threads or len(os.sched_getaffinity(0))
    try:
        with_view(given.model, given.output.resolve(), name=given.name, version=given.version, threads=threads)
        return 0
    except PscrError as error:
        sys.stderr.write(f"pscr export: error: {error}\n")
        return 3 if error.status is Status.MODEL_INVALID else 1


if __name__ == "__main__":
    sys.exit(main())
