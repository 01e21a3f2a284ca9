"""`python export/to_trt.py MODEL` and `pscr export engine MODEL`: a TensorRT engine that says what it is."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import importlib.util
import logging
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pscr.export import profiles, shell, tolerance, trt_builder
from pscr.export.drawing import draw
from pscr.export.model_folder import StoredModel, check_bakes
from pscr.export.model_options import CALIBRATION_IMAGES, JUDGING_IMAGES, TOLERANCE
from pscr.runtime import gpus
from pscr.runtime.backends.cuda import Device
from pscr.runtime.engines import FOLDER, LIBRARIES, PREFERRED, Engine, Sidecar
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.head import Signature
from pscr.training.options import option

if TYPE_CHECKING:
    from pscr.export.convert import Converted

_EXTRAS = {"tensorrt": "trt", "tensorrt_rtx": "rtx-build"}  # that build; those that run are the runtime's to name
_log = logging.getLogger("pscr.export.to_trt")


def _batch(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    numbers = [int(part) if part.isdecimal() else 0 for part in parts]
    if len(numbers) != 3 or not 1 <= numbers[0] <= numbers[1] <= numbers[2]:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected MIN,OPT,MAX such as 1,8,64")
    return numbers[0], numbers[1], numbers[2]


@dataclass(frozen=True, kw_only=True)
class EngineExport:
    """What `export_engine` is to build.

    model: a model folder, or an installed model's name. library: one of `LIBRARIES`, None for the one that builds here.
    precision: of the trunk, None for the model's own. batch: fewest, usual and most images of one; None for what fits.
    windows: of one image at most. compute_capability: of the GPUs it is for, as ("8.9",); empty for this machine's.
    device: which GPU of this machine. timing_cache: a file of measured kernel times. bake_bank: the bank inside.
    calibrate: images, folders and patterns for int8 and the comparison. tolerance: see `tolerance.converted`.
    output: None for the model's engines/.
    """

    model: str | Path = option(
        help="a model folder, or the name of an installed model", positional=True, metavar="MODEL"
    )
    library: str | None = option(
        None,
        choices=LIBRARIES,
        help="tensorrt for the GPU of this machine; tensorrt_rtx for RTX GPUs, which builds without one (default: "
        "tensorrt where it and a GPU are, else tensorrt_rtx)",
    )
    precision: str | None = option(None, choices=PREFERRED, help="of the trunk (default: the model's own)")
    batch: tuple[int, int, int] | None = option(
        None,
        type=_batch,
        nargs=None,
        metavar="MIN,OPT,MAX",
        help=f"images of a batch: fewest, usual, most (default: 1, {profiles.BEST}, and up to {profiles.MOST} that a "
        "GPU of 8 GB holds)",
    )
    windows: int = option(profiles.WINDOWS, metavar="N", help="of one image at most, its aspect rounded up")
    compute_capability: tuple[str, ...] = option(
        (),
        metavar="X.Y",
        help="tensorrt_rtx: the GPUs it is for, one engine for all "
        f"(default: this machine's GPU, without one {' '.join(trt_builder.PORTABLE)})",
    )
    device: int = option(0, metavar="N", help="which GPU of this machine")
    timing_cache: Path | None = option(
        None, metavar="FILE", help="measured kernel times, read and written: builds go faster"
    )
    bake_bank: bool = option(False, help="the bank inside the engine, for other programs such as Triton")
    calibrate: tuple[str, ...] = option(
        (),
        metavar="PATH",
        help=f"images or folders: int8 is calibrated on {CALIBRATION_IMAGES} of them, and scores are compared on "
        f"{JUDGING_IMAGES} others",
    )
    tolerance: float | None = option(None, metavar="SHARE", help=TOLERANCE)
    output: Path | None = option(
        None, short="-o", metavar="DIR", help="where to write (default: MODEL/engines, where pscr looks)"
    )
    threads: int = option(1, help="CPU threads of the comparison")


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that was written, what is known of its build, and a line for each check that it passed."""

    engine: Engine
    built: trt_builder.Built
    checks: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        car = self.engine.sidecar
        batch, largest = " ".join(str(shape[0]) for shape in car.profile["patches"]), car.profile["patches"][2][1]
        tuned = "; tuned for the usual view of " + " and ".join(str(shape[0]) for shape in car.static)
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.built.types.items())
        return [
            f"engine     {self.engine.path}",
            f"library    {car.library} {car.library_version}, for {car.gpu or 'any GPU'} of compute capability "
            f"{', '.join(car.compute_capabilities)}",
            f"precision  {car.precision}: convolutions of the network {kinds}; {self.built.inspected}",
            *([f"converted  {car.parity['drawn']}"] if car.parity else []),
            f"size       {car.plan_size / 1e6:.1f} MB; weights in their types {self.built.weights / 1e6:.1f} MB",
            f"build      {car.build_seconds:.1f} s",
            f"profile    batches of {batch} (fewest, usual, most), up to {largest} patches an image"
            f"{tuned if car.static else ''}",
            *self.checks,
        ]


def main(words: Sequence[str] | None = None) -> int:
    """Run it. Returns the exit code: 0, 2 for a wrong argument, 3 where no engine could be built or it is no good."""

    def work(options: EngineExport) -> None:
        sys.stdout.writelines(f"{line}\n" for line in export_engine(options).lines())

    return shell.command(
        "pscr export engine",
        "Build a TensorRT engine from a model folder, read back what it is, and write it with its sidecar.",
        EngineExport,
        work,
        words,
    )


def export_engine(options: EngineExport) -> BuiltEngine:
    """Build an engine, write it with its sidecar, and where there is a GPU that it is for prove it on real images.

    Raises:
        PscrError: INVALID_ARGUMENT: a compute capability that is none, int8 without images. DEVICE_UNAVAILABLE: no
            library or GPU that could build it. MODEL_INVALID: the model, or scores that its precision moves too far.
            ENGINE_INCOMPATIBLE: the build failed, or the engine does not score like the graph; it is then removed.
        OSError: the engine cannot be written.
    """
    model = StoredModel.read(options.model)
    there = gpus.find()
    library = choose_library(options.library, there)
    gpu = choose_gpu(options.device, there)
    capabilities, here = choose_target(options.compute_capability, gpu), gpu.compute_capability if gpu else ""
    precision = options.precision or model.manifest.precision
    made = converted(model, precision, options)
    graph = made.graph if made else model.graph
    if options.bake_bank:
        check_bakes(model.head)
        graph = _baked(graph, model.signature)
    chosen = profiles.choose(
        graph,
        model,
        options.batch,
        windows=options.windows,
        # tensorrt_rtx writes constants as large as activations into a plan in int8, for each image of a static batch.
        static=library != "tensorrt_rtx" or precision != "int8",
    )
    device, unrun = None, "there is no GPU here that it is for"
    if gpu is not None and here in capabilities:
        try:
            device = Device(gpu.index)
        except PscrError as error:  # tensorrt_rtx needs no GPU to build
            if library == "tensorrt":
                raise
            unrun = error.message
    with device.current() if device else nullcontext():  # the GPU that TensorRT takes for its own
        built = trt_builder.build(graph, library, precision, chosen, capabilities, options.timing_cache, here)
        if device:
            built = trt_builder.inspected(built, library)
    sidecar = Sidecar(
        library=library,
        library_version=built.version,
        gpu=gpu.name if gpu is not None and library == "tensorrt" else "",
        compute_capabilities=list(capabilities),
        precision=precision,
        profile={name: [list(shape) for shape in shapes] for name, shapes in chosen[0].items()},
        static=profiles.static_shapes(chosen),
        parity=made.parity() if made else {},
        bank_inside=options.bake_bank,
        onnx_sha256=hashlib.sha256(model.graph).hexdigest(),
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        plan_sha256=hashlib.sha256(built.plan).hexdigest(),
        plan_size=len(built.plan),
        build_seconds=round(built.seconds, 2),
        built=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    engine = write(sidecar, built.plan, options.output or model.folder / FOLDER)
    if device is None or options.bake_bank:
        return BuiltEngine(engine, built, (f"not run here: {unrun if device is None else 'it takes no bank'}",))
    from pscr.export.engine_check import check  # scipy, and the runtime's CUDA

    images = made.images if made else draw(options.calibrate, model.manifest.sampling, precision)
    share = tolerance.ENGINE[precision] if options.tolerance is None else options.tolerance
    good, lines = check(engine, model, device.index, images.judging, share, options.threads)
    if not good:
        engine.path.unlink()
        engine.path.with_name(engine.path.name + ".json").unlink()
        found = "; ".join(lines)
        raise PscrError(
            Status.ENGINE_INCOMPATIBLE, f"the engine does not score like the graph; it was removed ({found})"
        )
    return BuiltEngine(engine, built, tuple(lines))


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
                f"found no TensorRT library that builds here; pip install 'pscr[{_EXTRAS['tensorrt']}]' with a GPU "
                f"of any kind, or 'pscr[{_EXTRAS['tensorrt_rtx']}]', which builds for RTX GPUs on any machine",
            )
        return usable[0]
    if asked not in installed:
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"{asked} is not installed; pip install 'pscr[{_EXTRAS[asked]}]'")
    if asked == "tensorrt" and not there.found:
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"tensorrt builds on the GPU that it builds for, and found {there.problem}; "
            "tensorrt_rtx needs none: --library tensorrt_rtx",
        )
    return asked


def choose_gpu(index: int, there: gpus.Gpus) -> gpus.Gpu | None:
    """The GPU of this machine that is meant; None where there is none.

    Raises:
        PscrError: DEVICE_UNAVAILABLE for one that is not there.
    """
    if index < len(there.found):
        return there.found[index]
    if index or there.found:
        found = there.problem or f"{len(there.found)}, from 0"
        raise PscrError(Status.DEVICE_UNAVAILABLE, f"--device {index} is not there; the driver lists {found}")
    return None


def choose_target(asked: Sequence[str], gpu: gpus.Gpu | None) -> Sequence[str]:
    """The compute capabilities that the engine is for: those named, else this machine's GPU's, else the portable ones.

    Raises:
        PscrError: INVALID_ARGUMENT for words that are no compute capability.
    """
    wrong = [word for word in asked if not all(part.isdecimal() for part in word.split(".")) or word.count(".") != 1]
    if wrong:
        raise PscrError(Status.INVALID_ARGUMENT, f"--compute-capability {wrong[0]!r}; expected numbers such as 8.9")
    return asked or ((gpu.compute_capability,) if gpu is not None else trt_builder.PORTABLE)


def converted(model: StoredModel, precision: str, options: EngineExport) -> Converted | None:
    """The model's graph in another precision; None where it is in that one.

    Raises:
        PscrError: INVALID_ARGUMENT where int8 has no images; MODEL_INVALID where it cannot be converted.
    """
    own = model.manifest.precision
    if precision == own:
        return None
    if own != "fp32":
        raise PscrError(
            Status.MODEL_INVALID,
            f"{model.folder}: found a model in {own}; expected {precision} or fp32; convert from the one in fp32",
        )
    if precision == "int8" and not options.calibrate:
        raise PscrError(Status.INVALID_ARGUMENT, "int8 needs --calibrate IMAGES, such as those that will be scored")
    from pscr.export.convert import convert, report  # scipy and the converters, which a ready graph needs not

    sampling = model.manifest.sampling
    made = convert(
        model.graph,
        precision,
        sampling,
        model.signature,
        draw(options.calibrate, sampling, precision),
        score_range=model.manifest.score.range,
        tolerated=options.tolerance,
        threads=options.threads,
    )
    for line in report(made):
        _log.info("%s", line)
    return made


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


def _baked(graph: bytes, signature: Signature) -> bytes:
    import onnx

    from pscr.export.baking import bake

    data: bytes = bake(onnx.load_from_string(graph), signature).SerializeToString(deterministic=True)
    return data


if __name__ == "__main__":
    sys.exit(main())
