"""`python export/to_trt.py MODEL` and `pscr export --engine MODEL`: a TensorRT engine that says what it is."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pscr import PscrError, Status
from pscr.export import trt_builder
from pscr.runtime import gpus
from pscr.runtime.bank import Bank
from pscr.runtime.engines import EXTRAS, FOLDER, LIBRARIES, PREFERRED, Engine, Sidecar
from pscr.runtime.manifest import Manifest
from pscr.runtime.models import locate

BATCH = (1, 8, 64)
WINDOWS = 4  # of an image; longer ones than 4:1 are rare, and each costs every batch its memory
LARGEST_BANK = 4096  # exemplars: more than any public database has training images


@dataclass(frozen=True)
class Source:
    """A model folder, read: its manifest, the bytes of model.onnx, its bank."""

    folder: Path
    manifest: Manifest
    graph: bytes
    bank: Bank

    @classmethod
    def read(cls, model: str) -> Source:
        """Read a model by name or folder.

        Raises:
            PscrError: MODEL_INVALID.
        """
        folder = locate(model)
        manifest = Manifest.read(folder)
        bank = Bank.from_bytes(manifest.read_verified(folder, "bank.npz"), str(folder / "bank.npz"))
        return cls(folder, manifest, manifest.read_verified(folder, "model.onnx"), bank)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="pscr export --engine",
        description="Build a TensorRT engine from a model folder, read back what it is, and write it with its sidecar.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add("model", metavar="MODEL", help="a model folder, or the name of an installed model")
    add("--library", choices=LIBRARIES, help="tensorrt for the GPU of this machine; tensorrt_rtx for RTX GPUs, which "
        "builds without one (default: tensorrt where it and a GPU are, else tensorrt_rtx)")  # fmt: skip
    add("--precision", choices=PREFERRED, help="of the trunk (default: the model's own)")
    add("--batch", type=_batch, default=BATCH, metavar="MIN,OPT,MAX", help="images of a batch: fewest, usual, most")
    add("--windows", type=int, default=WINDOWS, metavar="N", help="of one image at most, its aspect rounded up")
    add(
        "--compute-capability",
        nargs="+",
        default=[],
        metavar="X.Y",
        help="tensorrt_rtx: the GPUs it is for, one engine for all "
        f"(default: this machine's GPU, without one {' '.join(trt_builder.PORTABLE)})",
    )
    add("--device", type=int, default=0, metavar="N", help="which GPU of this machine")
    add("--timing-cache", type=Path, metavar="FILE", help="measured kernel times, read and written: builds go faster")
    add("--bake-bank", action="store_true", help="the bank inside the engine, for other programs such as Triton")
    add("--calibrate", nargs="+", default=[], metavar="PATH", help="images for int8, and for the parity table")
    add("-o", "--output", type=Path, metavar="DIR", help="where to write (default: MODEL/engines, where pscr looks)")
    add("--threads", type=int, default=1, help="CPU threads of the comparison")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run it. Returns the exit code: 0, 2 for a wrong argument, 3 where no engine could be built or it is no good."""
    try:
        return run(parser().parse_args(argv))
    except PscrError as error:
        sys.stderr.write(f"pscr export: error: {error}\n")
        return 2 if error.status is Status.INVALID_ARGUMENT else 3
    except OSError as error:
        sys.stderr.write(
            f"pscr export: error: {error.filename}: cannot be written ({error.strerror}); name another -o\n"
        )
        return 3
    except KeyboardInterrupt:
        sys.stderr.write("pscr export: stopped; nothing was written\n")
        return 130


def run(arguments: argparse.Namespace) -> int:
    """Build, check, write, prove."""
    source = Source.read(arguments.model)
    there = gpus.find()
    library = choose_library(arguments.library, there)
    gpu = there.found[arguments.device] if arguments.device < len(there.found) else None
    if gpu is not None:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(gpu.index))  # TensorRT builds for the first that it sees
    capabilities, target = choose_target(library, arguments.compute_capability, gpu)
    precision = arguments.precision or source.manifest.precision
    graph = in_precision(source, precision, arguments.calibrate, arguments.threads)
    if arguments.bake_bank:
        graph = _baked(graph, source.bank)
    profile = make_profile(source, arguments.batch, arguments.bake_bank, arguments.windows)
    built = trt_builder.build(graph, library, precision, profile, target, arguments.timing_cache)
    if gpu is not None and gpu.compute_capability in capabilities:
        built = trt_builder.inspected(built, library, precision)
    sidecar = Sidecar(
        library=library,
        library_version=built.version,
        gpu="" if target else gpu.name if gpu else "",
        compute_capabilities=list(capabilities),
        precision=precision,
        profile={name: [list(shape) for shape in shapes] for name, shapes in profile.items()},
        bank_inside=arguments.bake_bank,
        onnx_sha256=hashlib.sha256(source.graph).hexdigest(),
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        plan_size=len(built.plan),
        build_seconds=round(built.seconds, 2),
        built=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    engine = write(sidecar, built.plan, arguments.output or source.folder / FOLDER)
    for line in describe(engine, built):
        sys.stdout.write(line + "\n")
    if gpu is None or gpu.compute_capability not in capabilities or arguments.bake_bank:
        sys.stdout.write("not run here: there is no GPU that it is for, or it takes no bank\n")
        return 0
    from pscr.export.engine_check import check  # scipy, and the runtime's CUDA

    good, lines = check(engine, source, gpu.index, arguments.batch, arguments.calibrate, arguments.threads)
    for line in lines:
        sys.stdout.write(line + "\n")
    if not good:
        engine.path.unlink()
        engine.path.with_name(engine.path.name + ".json").unlink()
        sys.stderr.write("pscr export: error: the engine does not score like the graph; it was removed\n")
    return 0 if good else 3


def choose_library(asked: str | None, there: gpus.Gpus) -> str:
    """The library to build with.

    Raises:
        PscrError: DEVICE_UNAVAILABLE where it is not installed, or is tensorrt and there is no GPU.
    """
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    if asked is None:
        usable = [name for name in installed if name == "tensorrt_rtx" or there.found]
        if not usable:
            raise PscrError(
                Status.DEVICE_UNAVAILABLE,
                "no TensorRT library that builds here is installed; pip install 'pscr[trt]' with a GPU of any kind, or "
                "'pscr[rtx]', which builds for RTX GPUs on any machine",
            )
        return usable[0]
    if asked not in installed:
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{asked} is not installed; pip install 'pscr[{EXTRAS[asked]}]'")
    if asked == "tensorrt" and not there.found:
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"tensorrt builds on the GPU that it builds for, and found {there.problem}; "
            "tensorrt_rtx needs none: --library tensorrt_rtx",
        )
    return asked


def choose_target(library: str, asked: Sequence[str], gpu: gpus.Gpu | None) -> tuple[Sequence[str], Sequence[str]]:
    """The compute capabilities that the engine is for, and those that the builder is told (none: this machine's GPU).

    Raises:
        PscrError: INVALID_ARGUMENT for words that are no compute capability.
    """
    wrong = [word for word in asked if not all(part.isdecimal() for part in word.split(".")) or word.count(".") != 1]
    if wrong:
        raise PscrError(Status.INVALID_ARGUMENT, f"--compute-capability {wrong[0]!r}; expected numbers such as 8.9")
    if asked:
        return asked, asked
    if gpu is not None:
        return [gpu.compute_capability], []
    return trt_builder.PORTABLE, trt_builder.PORTABLE


def in_precision(source: Source, precision: str, calibrate: Sequence[str], threads: int) -> bytes:
    """The model's graph in a precision, converted where it is in another.

    Raises:
        PscrError: INVALID_ARGUMENT where int8 has no images; MODEL_INVALID where it cannot be converted.
    """
    own = source.manifest.precision
    if precision == own:
        return source.graph
    if own != "fp32":
        raise PscrError(
            Status.MODEL_INVALID,
            f"{source.folder}: found a model in {own}; expected {precision} or fp32; convert from the one in fp32",
        )
    if precision == "int8" and not calibrate:
        raise PscrError(Status.INVALID_ARGUMENT, "int8 needs --calibrate IMAGES, such as those that will be scored")
    from pscr.export.convert import convert, patches_of, report  # onnx and scipy, which a ready graph needs not

    sampling, scale = source.manifest.sampling, source.manifest.score.range
    images = patches_of(calibrate, sampling)
    made = convert(source.graph, precision, sampling, source.bank, images, score_range=scale, threads=threads)
    for line in report(made):
        sys.stderr.write(f"{line}\n")
    return made.graph


def make_profile(
    source: Source, batch: tuple[int, int, int], bank_inside: bool, windows: int = WINDOWS
) -> dict[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]:
    """Smallest, usual and largest shape of each input.

    Patches: from one (quality maps score each patch as an image of its own) to those of `windows` windows of a view;
    usual is one window. Memory goes with the largest batch times the largest number of patches.
    """
    sampling, (exemplars, width) = source.manifest.sampling, source.bank.terms.shape
    side, (low, best, high) = (sampling.patch, sampling.patch, 3), batch
    count = sampling.count
    profile: dict[str, tuple[Sequence[int], Sequence[int], Sequence[int]]] = {
        "patches": ((low, 1, *side), (best, count, *side), (high, min(sampling.most, windows * count), *side))
    }
    if not bank_inside:
        most = max(LARGEST_BANK, exemplars)
        profile |= {"bank_terms": ((1, width), (exemplars, width), (most, width))}
        profile |= {"bank_scores": ((1,), (exemplars,), (most,))}
    return profile


def write(sidecar: Sidecar, plan: bytes, folder: Path) -> Engine:
    """Write plan and sidecar; both or neither.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as temporary:
        whole = Path(temporary)
        beside = sidecar.write(whole)
        (whole / sidecar.name).write_bytes(plan)
        beside.replace(folder / beside.name)
        (whole / sidecar.name).replace(folder / sidecar.name)
    return Engine(folder / sidecar.name, sidecar)


def describe(engine: Engine, built: trt_builder.Built) -> list[str]:
    """What was built, for people."""
    car = engine.sidecar
    batch = " ".join(str(shape[0]) for shape in car.profile["patches"])
    kinds = ", ".join(f"{number} {kind}" for kind, number in built.types.items())
    return [
        f"engine     {engine.path}",
        f"library    {car.library} {car.library_version}, for {car.gpu or 'any GPU'} of compute capability "
        f"{', '.join(car.compute_capabilities)}",
        f"precision  {car.precision}: convolutions of the network {kinds}; {built.inspected}",
        f"size       {car.plan_size / 1e6:.1f} MB; weights in their types {built.weights / 1e6:.1f} MB",
        f"build      {car.build_seconds:.1f} s",
        f"profile    batches of {batch} (fewest, usual, most), up to {car.profile['patches'][2][1]} patches an image",
    ]


def _baked(graph: bytes, bank: Bank) -> bytes:
    import onnx

    from pscr.export.baking import bake

    data: bytes = bake(onnx.load_from_string(graph), bank).SerializeToString(deterministic=True)
    return data


def _batch(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    numbers = [int(part) if part.isdecimal() else 0 for part in parts]
    if len(numbers) != 3 or not 1 <= numbers[0] <= numbers[1] <= numbers[2]:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected MIN,OPT,MAX such as 1,8,64")
    return numbers[0], numbers[1], numbers[2]


if __name__ == "__main__":
    sys.exit(main())
