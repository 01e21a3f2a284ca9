"""`pscr export MODEL --precision`, `python export/convert.py`: a model folder in another precision, and its parity."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from pscr.export import model_folder, tolerance
from pscr.export.difference import Difference, compare, scores
from pscr.export.precision import PRECISIONS, TARGETS, convolutions, to_half, to_int8
from pscr.export.tolerance import Allowed
from pscr.runtime import golden
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import load
from pscr.runtime.manifest import FILE_NAME, Manifest
from pscr.runtime.models import locate, packaged
from pscr.runtime.sampling import Pixels, Sampling
from pscr.tables.inputs import expand

CALIBRATION_IMAGES = 32  # of those given; ranges hardly move with more, and the quantiser takes seconds for each
PARITY_IMAGES = 64
_KEPT = (1, 3, 6, 9, 14, 20)  # leading convolutions that int8 leaves in float, tried in turn


@dataclasses.dataclass(frozen=True)
class Converted:
    """A graph in its new precision, and how far its scores are from those in fp32.

    largest, median: the differences allowed; a median is required of int8 alone.
    float_convolutions: how many leading convolutions int8 left in float; all of them in the other precisions.
    """

    graph: bytes
    precision: str
    difference: Difference
    largest: Allowed
    median: Allowed | None
    float_convolutions: int
    target: str

    @property
    def ok(self) -> bool:
        """Whether scores changed by no more than the precision is allowed."""
        near = self.difference.largest <= self.largest.units
        return near and (self.median is None or self.difference.median <= self.median.units)

    def parity(self) -> dict[str, object]:
        """The manifest's `parity` entry."""
        entry: dict[str, object] = {"compared": f"{self.precision} against fp32, both in onnxruntime on the CPU"}
        entry |= {"images": self.difference.images, **self.difference.to_dict()}
        entry |= self.largest.entry() | (self.median.entry("median_") if self.median else {})
        if self.precision == "int8":
            entry |= {"float_convolutions": self.float_convolutions, "made_for": self.target}
        return entry


def convert(
    graph: bytes,
    precision: str,
    sampling: Sampling,
    bank: Bank,
    images: Sequence[Pixels],
    *,
    score_range: Sequence[float],
    target: str = "tensorrt",
    threads: int = 1,
) -> Converted:
    """Convert a score graph in fp32, and measure what that changes.

    images: [P,S,S,3] uint8 RGB each; int8 is calibrated on the first `CALIBRATION_IMAGES` of them and compared on all.
    It keeps as few leading convolutions in float as the tolerance allows. score_range: the lowest and the highest
    opinion score of the bank's scale, which tolerances are shares of. target: see `precision.to_int8`.

    Raises:
        PscrError: INVALID_ARGUMENT without images; MODEL_INVALID where the graph is not in fp32, or where scores
            change more than the precision is allowed: `tolerance.CONVERTED`, and for int8 `tolerance.INT8_MEDIAN`.
    """
    proto = onnx.load_from_string(graph)
    if not images:
        raise PscrError(Status.INVALID_ARGUMENT, "found no images to compare on; pass --calibrate IMAGES")

    def measured(candidate: onnx.ModelProto, kept: int, made_for: str) -> Converted:
        data = candidate.SerializeToString(deterministic=True)
        with OnnxRuntimeBackend(data, bank, sampling.patch, threads=threads) as backend:
            difference = compare(expected, scores(backend, images))
        return Converted(data, precision, difference, largest, median, kept, made_for)

    with OnnxRuntimeBackend(graph, bank, sampling.patch, threads=threads) as reference:
        expected = scores(reference, images)
    largest = tolerance.allowed(tolerance.CONVERTED[precision], score_range, expected)
    median = tolerance.allowed(tolerance.INT8_MEDIAN, score_range, expected) if precision == "int8" else None
    total = convolutions(proto)
    if precision == "fp16":
        result = measured(to_half(proto), total, "any")
        if result.ok:
            return result
        raise _too_far(result)
    for kept in [number for number in _KEPT if number < total] or [0]:
        result = measured(to_int8(proto, images[:CALIBRATION_IMAGES], kept, target), kept, target)
        if result.ok:
            return result
    raise _too_far(result)


def convert_folder(
    folder: Path, output: Path, precision: str, images: Sequence[Pixels], *, target: str = "tensorrt", threads: int = 1
) -> Converted:
    """Write a model folder like `folder` in another precision; nothing is written where that fails.

    Raises:
        PscrError: as `convert`, and MODEL_INVALID for a folder that is not in fp32.
    """
    manifest = Manifest.read(folder)
    if manifest.precision != "fp32":
        raise PscrError(
            Status.MODEL_INVALID, f"{folder}: found a model in {manifest.precision}; convert from the one in fp32"
        )
    graph = manifest.read_verified(folder, "model.onnx")
    stored = manifest.read_verified(folder, "bank.npz")
    bank, sampling, scale = Bank.from_bytes(stored, str(folder / "bank.npz")), manifest.sampling, manifest.score.range
    made = convert(graph, precision, sampling, bank, images, score_range=scale, target=target, threads=threads)
    with OnnxRuntimeBackend(made.graph, bank, sampling.patch, threads=threads) as backend:
        cut = [sampling.cut(image) for image in golden.golden_images().values()]
        kept = [float(score) for score in scores(backend, cut)]
    # Kernels for fewer bits round differently from one CPU or GPU to the next.
    promised = golden.promise(kept, tolerance.allowed(tolerance.CONVERTED[precision], scale, kept).units)
    with model_folder.unfinished(output) as written:
        (written / "model.onnx").write_bytes(made.graph)
        (written / "bank.npz").write_bytes(stored)
        entry = dataclasses.replace(
            manifest, name=output.name, precision=precision, parity=made.parity(), golden=promised
        )
        model_folder.finish(entry, written, ["model.onnx", "bank.npz"], output)
    return made


def patches_of(paths: Sequence[str], sampling: Sampling, most: int = PARITY_IMAGES) -> list[Pixels]:
    """The patches of up to `most` images, evenly spaced among those that files, folders and patterns stand for.

    Without paths, those of the golden images: enough to prove that a graph runs, too few and too plain to calibrate on.

    Raises:
        PscrError: INVALID_ARGUMENT for a path that names no images; the errors of reading one.
    """
    if not paths:
        return [sampling.cut(image) for image in golden.golden_images().values()]
    items = expand(paths)
    broken = next((item for item in items if item.problem), None)
    if broken is not None or not items:
        found = f"{broken.path}: {broken.problem}" if broken else "no images there"
        raise PscrError(Status.INVALID_ARGUMENT, f"--calibrate {found}; expected images or folders of them")
    step = max(len(items) / most, 1)
    return [sampling.cut(load(items[int(i * step)].path)) for i in range(min(most, len(items)))]


def is_model(path: Path) -> bool:
    """Whether this is a model folder, or the name of an installed model, and not a training run."""
    return (path / FILE_NAME).is_file() or (str(path) in packaged() and not path.exists())


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a conversion."""
    add = parser.add_argument
    add("--precision", default="fp32", choices=PRECISIONS, help="of the trunk: from the first convolution to the pool")
    add(
        "--calibrate",
        nargs="+",
        default=[],
        metavar="PATH",
        help=f"images or folders: int8 is calibrated on {CALIBRATION_IMAGES} of them, and the precision compared with "
        f"fp32 on {PARITY_IMAGES} (default: a run's own training images)",
    )
    add(
        "--int8-for",
        default="tensorrt",
        choices=TARGETS,
        help="symmetric activations, which TensorRT needs, or unsigned ones, which are finer and quicker on CPUs",
    )


def run(
    model: str, output: Path, precision: str, paths: Sequence[str], *, target: str = "tensorrt", threads: int = 1
) -> int:
    """Convert a model folder and say what became of it; returns the exit code 0.

    Raises:
        PscrError: INVALID_ARGUMENT, MODEL_INVALID: see `convert_folder`.
    """
    folder = locate(model)
    if precision == "fp32":
        raise PscrError(
            Status.INVALID_ARGUMENT, f"{folder} is a model folder; expected a training run, or --precision fp16 or int8"
        )
    if precision == "int8" and not paths:
        raise PscrError(Status.INVALID_ARGUMENT, "int8 needs --calibrate IMAGES, such as those that will be scored")
    images = patches_of(paths, Manifest.read(folder).sampling)
    made = convert_folder(folder, output, precision, images, target=target, threads=threads)
    for line in report(made):
        sys.stderr.write(f"{line}\n")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Convert a model folder without torch. Returns 0, 1 for data that cannot be used, 3 for a model that cannot."""
    parser = argparse.ArgumentParser(
        prog="pscr export",
        description="Write a model folder in another precision, and measure what that changes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a model in fp32: its folder or its name")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="the model folder to write")
    add_options(parser)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    given = parser.parse_args(argv)
    try:
        return run(
            given.model,
            given.output.resolve(),
            given.precision,
            given.calibrate,
            target=given.int8_for,
            threads=given.threads,
        )
    except PscrError as error:
        sys.stderr.write(f"pscr export: error: {error}\n")
        return 3 if error.status is Status.MODEL_INVALID else 1


def report(made: Converted) -> Iterator[str]:
    """What was made, for people."""
    kept = f", {made.float_convolutions} leading convolutions in float" if made.precision == "int8" else ""
    yield f"{made.precision}: {len(made.graph) / 1e6:.1f} MB{kept}"
    yield f"parity of {made.precision} with fp32 on {made.difference} (allowed {_limits(made)})"


def _limits(made: Converted) -> str:
    return f"{made.largest}" + (f"; median {made.median}" if made.median else "")


def _too_far(result: Converted) -> PscrError:
    found = f"{result.precision} changes scores too far ({result.difference})"
    return PscrError(Status.MODEL_INVALID, f"{found}; allowed: {_limits(result)}; stay with fp32")


if __name__ == "__main__":
    sys.exit(main())
