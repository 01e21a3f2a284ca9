"""A model folder in another precision, and how far that moves its scores. Needs no torch."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from ..runtime import cores, golden
from ..runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from ..runtime.errors import PscrError, Status
from ..runtime.families.head import Signature
from ..runtime.manifest import Manifest
from ..runtime.models import locate
from ..runtime.samplings import Sampling
from . import model_folder, tolerance
from .difference import Difference, compare, scores
from .drawing import Drawn, draw
from .model_folder import StoredModel
from .model_options import ModelOptions
from .precision import convolutions, to_half, to_int8
from .tolerance import Allowed

_KEPT = (1, 3, 6, 9, 14, 20)  # leading convolutions that int8 leaves in float, tried in turn
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Converted:
    """A graph in its new precision, and how far its scores are from those in fp32.

    largest, median: the differences allowed; a median is required of int8 alone.
    float_convolutions: how many leading convolutions int8 left in float; all of them in the other precisions.
    images: which it was calibrated and judged on.
    """

    graph: bytes
    precision: str
    difference: Difference
    largest: Allowed
    median: Allowed | None
    float_convolutions: int
    target: str
    images: Drawn

    @property
    def ok(self) -> bool:
        """Whether scores changed by no more than the precision is allowed."""
        near = self.difference.largest <= self.largest.units
        return near and (self.median is None or self.difference.median <= self.median.units)

    def parity(self) -> dict[str, object]:
        """The manifest's `parity` entry."""
        entry: dict[str, object] = {"compared": f"{self.precision} against fp32, both in onnxruntime on the CPU"}
        entry |= {"images": self.difference.images, "drawn": self.images.words, **self.difference.to_dict()}
        entry |= self.largest.entry() | (self.median.entry("median_") if self.median else {})
        if self.precision == "int8":
            entry |= {"float_convolutions": self.float_convolutions, "made_for": self.target}
        return entry


def convert(
    graph: bytes,
    precision: str,
    sampling: Sampling,
    signature: Signature,
    images: Drawn,
    *,
    score_range: Sequence[float],
    tolerated: float | None = None,
    target: str = "tensorrt",
    threads: int = 1,
) -> Converted:
    """Convert a score graph in fp32, and measure what that changes.

    int8 keeps as few leading convolutions in float as the tolerance allows. score_range: the lowest and the highest
    opinion score of the head's scale, which tolerances are shares of. tolerated: see `tolerance.converted`. target: see
    `precision.to_int8`.

    Raises:
        PscrError: INVALID_ARGUMENT: int8 without images, a tolerance that is none; MODEL_INVALID where the graph is not
            in fp32, or where scores change more than the precision is allowed.
    """
    proto = onnx.load_from_string(graph)
    most, middle = tolerance.converted(precision, tolerated)

    def measured(candidate: onnx.ModelProto, kept: int, made_for: str) -> Converted:
        data = candidate.SerializeToString(deterministic=True)
        with OnnxRuntimeBackend(data, signature, sampling.patch, threads=threads) as backend:
            difference = compare(expected, scores(backend, images.judging))
        return Converted(data, precision, difference, largest, median, kept, made_for, images)

    with OnnxRuntimeBackend(graph, signature, sampling.patch, threads=threads) as reference:
        expected = scores(reference, images.judging)
    largest = tolerance.allowed(most, score_range, expected)
    median = tolerance.allowed(middle, score_range, expected) if middle is not None else None
    total = convolutions(proto)
    if precision == "fp16":
        result = measured(to_half(proto), total, "any")
        if result.ok:
            return result
        raise _too_far(result)
    for kept in [number for number in _KEPT if number < total] or [0]:
        result = measured(to_int8(proto, images.calibrating, kept, target), kept, target)
        if result.ok:
            return result
    raise _too_far(result)


def convert_folder(
    folder: Path,
    output: Path,
    precision: str,
    images: Drawn,
    *,
    name: str = "",
    tolerated: float | None = None,
    target: str = "tensorrt",
    threads: int = 1,
) -> Converted:
    """Write a model folder like `folder` in another precision; nothing is written where that fails.

    images, tolerated, target: as of `convert`. name: the new model's; empty for its folder's.

    Raises:
        PscrError: as `convert`, and MODEL_INVALID for a folder that is not in fp32.
    """
    model = StoredModel.read(folder)
    manifest, signature, sampling = model.manifest, model.signature, model.manifest.sampling
    scale = manifest.score.range
    if manifest.precision != "fp32":
        raise PscrError(
            Status.MODEL_INVALID, f"{folder}: found a model in {manifest.precision}; convert from the one in fp32"
        )
    made = convert(
        model.graph,
        precision,
        sampling,
        signature,
        images,
        score_range=scale,
        tolerated=tolerated,
        target=target,
        threads=threads,
    )
    with OnnxRuntimeBackend(made.graph, signature, sampling.patch, threads=threads) as backend:
        cut = [sampling.cut(image) for image in golden.golden_images().values()]
        kept = [float(score) for score in scores(backend, cut)]
    # Kernels for fewer bits round differently from one CPU or GPU to the next.
    most, _ = tolerance.converted(precision, tolerated)
    promised = golden.promise(kept, tolerance.allowed(most, scale, kept).units)
    with model_folder.unfinished(output) as written:
        (written / "model.onnx").write_bytes(made.graph)
        others = [file for file in manifest.files if not file.endswith(".onnx")]  # of the head
        for file in others:
            (written / file).write_bytes(manifest.read_verified(folder, file))
        entry = dataclasses.replace(
            manifest, name=name or output.name, precision=precision, parity=made.parity(), golden=promised
        )
        model_folder.finish(entry, written, ["model.onnx", *others], output)
    return made


def convert_model(model: str | Path, options: ModelOptions) -> Manifest:
    """Convert a model folder, or an installed model by its name, as a command says; returns the new manifest.

    Raises:
        PscrError: INVALID_ARGUMENT for a precision that asks for nothing, and int8 without images; as `convert_folder`.
    """
    folder, precision = locate(model), options.precision
    if precision == "fp32":
        raise PscrError(
            Status.INVALID_ARGUMENT, f"{folder} is a model folder; expected a training run, or --precision fp16 or int8"
        )
    if precision == "int8" and not options.calibrate:
        raise PscrError(Status.INVALID_ARGUMENT, "int8 needs --calibrate IMAGES, such as those that will be scored")
    images, output = draw(options.calibrate, Manifest.read(folder).sampling, precision), options.output.resolve()
    made = convert_folder(
        folder,
        output,
        precision,
        images,
        name=options.name,
        tolerated=options.tolerance,
        target=options.int8_for,
        threads=options.threads or cores.usable(),
    )
    for line in report(made):
        _log.info("%s", line)
    return Manifest.read(output)


def report(made: Converted) -> Iterator[str]:
    """What was made, for people."""
    kept = f", {made.float_convolutions} leading convolutions in float" if made.precision == "int8" else ""
    yield f"{made.precision}: {len(made.graph) / 1e6:.1f} MB{kept}"
    yield f"parity of {made.precision} with fp32 on {made.difference} (allowed {_limits(made)}); {made.images.words}"


def _limits(made: Converted) -> str:
    return f"{made.largest}" + (f"; median {made.median}" if made.median else "")


def _too_far(result: Converted) -> PscrError:
    found = f"{result.precision} changes scores too far ({result.difference}; {result.images.words})"
    return PscrError(
        Status.MODEL_INVALID, f"{found}; allowed: {_limits(result)}; stay with fp32, or allow more with --tolerance"
    )
