"""The proof of an engine on its GPU: its scores against onnxruntime's, and against its own in any batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pscr.export.convert import FP16_LARGEST, INT8_LARGEST, patches_of
from pscr.export.difference import compare, in_batches, scores
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.backends.tensorrt_backend import TensorRTBackend
from pscr.runtime.engines import Engine

if TYPE_CHECKING:
    from pscr.export.to_trt import Source

LARGEST = {"fp32": 1e-3, "fp16": FP16_LARGEST, "int8": INT8_LARGEST}  # opinion-score units, against fp32 on the CPU
IN_BATCHES = {"fp32": 1e-4, "fp16": 5e-3, "int8": 2e-2}  # kernels, and their order of summation, change with the shape


def check(
    engine: Engine, source: Source, index: int, batch: tuple[int, int, int], paths: Sequence[str], threads: int
) -> tuple[bool, list[str]]:
    """Run an engine on GPU `index` over real images, or the golden ones, and over every batch size of its profile.

    Returns whether it may be kept, and the table's lines.
    """
    sampling, precision = source.manifest.sampling, engine.sidecar.precision
    images = patches_of(paths, sampling)
    with OnnxRuntimeBackend(source.graph, source.bank, sampling.patch, threads=threads) as reference:
        expected = scores(reference, images)
    with TensorRTBackend(engine, source.bank, sampling.patch, index=index) as native:
        low, _, high = batch
        difference = compare(expected, scores(native, images, low))
        apart = in_batches(native, images[:4], range(low, high + 1), low, turns=1)
    good = difference.largest <= LARGEST[precision] and apart <= IN_BATCHES[precision]
    own = source.manifest.precision
    return good, [
        f"parity     against onnxruntime on the CPU ({own}): {difference} (allowed {LARGEST[precision]:g})",
        f"batches    one image alone and in batches of {low} to {high}, every position: {apart:.1e} "
        f"(allowed {IN_BATCHES[precision]:.0e})",
    ]
