"""The proof of an engine on its GPU: its scores against onnxruntime's, and against its own in any batch."""

from __future__ import annotations

from collections.abc import Sequence

from ..runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from ..runtime.backends.tensorrt_backend import TensorRTBackend
from ..runtime.engines import Engine
from ..runtime.samplings import Pixels
from . import tolerance
from .difference import compare, in_batches, scores
from .model_folder import StoredModel


def check(
    engine: Engine,
    model: StoredModel,
    index: int,
    images: Sequence[Pixels],
    share: float,
    threads: int,
) -> tuple[bool, list[str]]:
    """Run an engine on GPU `index` over images [P,S,S,3] uint8 RGB, and over every batch size of its profile.

    share: the largest difference from the graph that it may have, of the scores' range.
    Returns whether it may be kept, and the table's lines.

    Raises:
        PscrError: MODEL_INVALID for scores that float32 cannot tell apart on the model's scale; those of running it.
    """
    sampling, precision = model.manifest.sampling, engine.sidecar.precision
    with OnnxRuntimeBackend(model.graph, model.signature, sampling.patch, threads=threads) as reference:
        expected = scores(reference, images)
    with TensorRTBackend(engine, model.signature, sampling.patch, index=index) as native:
        low, _, high = (shape[0] for shape in engine.sidecar.profile["patches"])
        found = scores(native, images, low)
        apart = in_batches(native, images[:4], range(low, high + 1), low, turns=1)
    difference, scale = compare(expected, found), model.manifest.score.range
    most = tolerance.allowed(share, scale, expected, found)
    most_batched = tolerance.allowed(tolerance.ENGINE_BATCH[precision], scale, found)
    good = difference.largest <= most.units and apart <= most_batched.units
    own = model.manifest.precision
    return good, [
        f"parity     against onnxruntime on the CPU ({own}): {difference} (allowed {most})",
        f"batches    one image alone and in batches of {low} to {high}, every position: {apart:.1e} "
        f"(allowed {most_batched})",
    ]
