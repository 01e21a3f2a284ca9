"""`pscr export view MODEL -o DIR`: a model of the first format gets the view; its network stays as it is.

On images whose sides are not above the view's, such as the 512x512 ones that the published databases have, its scores
stay the same; what was measured on them therefore holds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..runtime import cores, golden
from ..runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from ..runtime.errors import PscrError, Status
from ..runtime.manifest import FORMAT_VERSION, Manifest
from ..runtime.samplings import WINDOWS
from ..training.options import option
from . import model_folder, shell, tolerance
from .difference import scores
from .model_folder import StoredModel


@dataclass(frozen=True, kw_only=True)
class ViewExport:
    """What `export_view` is to write.

    model: a model folder, or an installed model's name. output: the model folder like it. name, version: empty for its
    folder's name, and for the version that it has. threads: of the CPU, 0 for all.
    """

    model: str | Path = option(help="a model folder, or an installed model's name", positional=True, metavar="MODEL")
    output: Path = option(short="-o", metavar="DIR", help="the model folder to write")
    name: str = option("", help="the model's name (default: the folder's)")
    version: str = option("", help="the model's version (default: the one that it has)")
    threads: int = option(0, help="CPU threads, 0 for all")


def export_view(options: ViewExport) -> Manifest:
    """Write a model folder like another that brings images to the view first; returns its manifest.

    Raises:
        PscrError: INVALID_ARGUMENT for a model that has a view already or resizes by itself; MODEL_INVALID for a
            folder that cannot be used.
        OSError: the folder cannot be written.
    """
    model, output = StoredModel.read(options.model), options.output.resolve()
    manifest, before = model.manifest, model.manifest.sampling
    if before.view or before.scales_to:
        has = "a view already" if before.view else "a scale of its own"
        raise PscrError(
            Status.INVALID_ARGUMENT, f"{model.folder}: has {has}; expected a model that takes images as they are"
        )
    sampling = replace(before, view=before.reference_side, windows=WINDOWS)
    threads = options.threads or cores.usable()
    with OnnxRuntimeBackend(model.graph, model.signature, sampling.patch, threads=threads) as backend:
        kept = [float(s) for s in scores(backend, [sampling.cut(one) for one in golden.golden_images().values()])]
    share = tolerance.CONVERTED.get(manifest.precision, tolerance.GOLDEN)
    written = replace(
        manifest,
        name=options.name or output.name,
        version=options.version or manifest.version,
        sampling=sampling,
        golden=golden.promise(kept, tolerance.allowed(share, manifest.score.range, kept).units),
        format_version=FORMAT_VERSION,
    )
    with model_folder.unfinished(output) as unfinished:
        for file in manifest.files:
            (unfinished / file).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / file).write_bytes(manifest.read_verified(model.folder, file))
        return model_folder.finish(written, unfinished, list(manifest.files), output)


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr export view`. Returns the exit code: 0, 2 for a wrong argument, 3 for a model that cannot be used."""
    return shell.command(
        "pscr export view",
        "Give a model of the first format the view: images whose shorter side is above its own are scaled down to it "
        "before patches are cut, and windows cover all of them. Engines have to be built anew.",
        ViewExport,
        export_view,
        words,
    )


if __name__ == "__main__":
    sys.exit(main())
