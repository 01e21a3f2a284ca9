"""`pscr export triton MODEL -o DIR`: a Triton Inference Server model repository, with the bank inside the models.

Triton batches requests along the first axis of every input. The bank's inputs have no such axis, so what is served is
the variant with the bank inside: `patches` in, `score`, `votes` and `terms` out. The client cuts the patches.
Format: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html
"""

from __future__ import annotations

import reprlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from ..runtime.backends.base import SIDES
from ..runtime.engines import Engine, files
from ..runtime.errors import PscrError, Status
from ..runtime.manifest import Manifest, is_portable
from ..training.options import option
from . import shell
from .baking import bake
from .model_folder import StoredModel, check_bakes

KINDS = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"}
BACKENDS = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}


@dataclass(frozen=True, kw_only=True)
class TritonExport:
    """What `export_triton` is to write.

    model: a model folder, or an installed model's name. plan: an engine of tensorrt with the bank inside; None for the
    newest of the model's own, if it has one. batch: images of a batch at most. instances: copies of each model on each
    device. kind: where onnxruntime's model runs: auto, cpu or gpu.
    """

    model: str | Path = option(
        help="a model folder, or the name of an installed model", positional=True, metavar="MODEL"
    )
    output: Path = option(short="-o", metavar="DIR", help="the model repository")
    plan: Path | None = option(
        None,
        metavar="FILE",
        help="an engine of tensorrt with the bank inside (default: the model folder's own, if it has one: "
        "pscr export engine MODEL --bake-bank)",
    )
    batch: int = option(32, help="images of a batch at most; an engine's own profile says its own")
    instances: int = option(1, help="copies of each model on each device")
    kind: str = option("auto", choices=tuple(KINDS), help="where onnxruntime's model runs")


@dataclass(frozen=True)
class TritonRepository:
    """The folders of the models that were written, and the engine among them, if there is one."""

    models: tuple[Path, ...]
    plan: Engine | None


def config(
    name: str, backend: str, model: StoredModel, *, most: int, instances: int = 1, kind: str = "auto", delay: int = 500
) -> str:
    """A model's config.pbtxt.

    backend: onnxruntime or tensorrt. most: images of a batch at most. instances: copies of the model on each device.
    kind: auto, cpu or gpu. delay: microseconds that a request may wait for others to share its batch.
    """
    sampling, outputs = model.manifest.sampling, ",\n".join(_outputs(model))
    side, usual = (f"{length}, {length}, 3" for length in (sampling.patch or -1, sampling.patch or SIDES[1]))
    dims = f"[ {sampling.count if sampling.most == sampling.count else -1}, {side} ]"
    preferred = sorted({size for size in (4, 8, 16, 32) if size < most} | {most})
    warm = "".join(_warm_up(size, f"[ {sampling.count}, {usual} ]") for size in sorted({1, most}))
    return f"""\
# {_comment(model.manifest)}
name: "{name}"
backend: "{backend}"
default_model_filename: "{BACKENDS[backend]}"
max_batch_size: {most}
input [
  # the patches of an image, [P,S,S,3] RGB, cut as manifest.json's sampling says: {sampling}
  {{ name: "patches" data_type: TYPE_UINT8 dims: {dims} }}
]
output [
{outputs}
]
dynamic_batching {{ preferred_batch_size: [ {", ".join(map(str, preferred))} ] max_queue_delay_microseconds: {delay} }}
instance_group [ {{ count: {instances} kind: {KINDS[kind]} }} ]
{warm}"""


def _comment(manifest: Manifest) -> str:
    """What the model is, on one line: a manifest's text may hold line ends, which would end the comment."""
    words = f"{manifest.name} {manifest.version}, {manifest.precision}: {manifest.score.meaning}"
    return " ".join(words.split())


def _outputs(model: StoredModel) -> Iterator[str]:
    """A line for each output of the graph."""
    for output in onnx.load_from_string(model.graph).graph.output:
        sides = output.type.tensor_type.shape.dim[1:]  # behind the images
        last = [model.signature.votes if output.name == "votes" else side.dim_value for side in sides]
        dims = f"[ {last[0]} ]" if last else "[ 1 ] reshape: { shape: [ ] }"
        yield f'  {{ name: "{output.name}" data_type: TYPE_FP32 dims: {dims} }}'


def write(model: StoredModel, output: Path, plan: Engine | None, *, instances: int, kind: str, most: int) -> list[Path]:
    """Write the repository; gives the models' folders. Nothing is written where that fails.

    plan: an engine of `tensorrt` with the bank inside, or None for the onnxruntime model alone: Triton does not start
    with a model whose file is missing.

    Raises:
        PscrError: ENGINE_INCOMPATIBLE: the engine is damaged, of another model, of tensorrt_rtx, or takes a bank.
            MODEL_INVALID: the model's name cannot be a folder's.
    """
    name = model.manifest.name
    if not is_portable(name):
        raise PscrError(
            Status.MODEL_INVALID,
            f"{model.folder}: the model's name is {reprlib.repr(name)}; Triton's folders are named by it: expected "
            "letters, digits, '.', '_' and '-', no '.' first; export the model again with another --name",
        )
    graph = bake(onnx.load_from_string(model.graph), model.signature).SerializeToString(deterministic=True)
    models = {
        f"{name}_onnx": (
            config(f"{name}_onnx", "onnxruntime", model, most=most, instances=instances, kind=kind),
            graph,
        )
    }
    if plan is not None:
        data, largest = _plan(plan, model), plan.sidecar.profile["patches"][2][0]
        text = config(f"{name}_tensorrt", "tensorrt", model, most=largest, instances=instances, kind="gpu")
        models[f"{name}_tensorrt"] = (text, data)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".triton-") as temporary:
        for served, (text, data) in models.items():
            version = Path(temporary) / served / "1"
            version.mkdir(parents=True)
            (version.parent / "config.pbtxt").write_text(text, "utf-8")
            (version / BACKENDS["tensorrt" if served.endswith("_tensorrt") else "onnxruntime"]).write_bytes(data)
        for served in models:
            target = output / served
            if target.exists():
                raise PscrError(Status.INVALID_ARGUMENT, f"{target} is there already; remove it, or name another -o")
        for served in models:
            (Path(temporary) / served).rename(output / served)
    return [output / served for served in models]


def export_triton(options: TritonExport) -> TritonRepository:
    """Write a model repository; nothing is written where that fails.

    Raises:
        PscrError: INVALID_ARGUMENT: a number below 1, or a model that is there already; MODEL_INVALID; as `write`.
        OSError: the folder cannot be written.
    """
    if min(options.batch, options.instances) < 1:
        raise PscrError(Status.INVALID_ARGUMENT, "--batch and --instances take whole numbers from 1")
    model = StoredModel.read(options.model)
    check_bakes(model.head)
    plan = Engine.read(options.plan) if options.plan else _own_plan(model.folder)
    made = write(model, options.output, plan, instances=options.instances, kind=options.kind, most=options.batch)
    return TritonRepository(tuple(made), plan)


def main(words: Sequence[str] | None = None) -> int:
    """Run it. Returns the exit code: 0, 2 for a wrong argument, 3 for a model or an engine that cannot be used."""

    def work(options: TritonExport) -> None:
        made = export_triton(options)
        for model in made.models:
            sys.stdout.write(f"{model}\n")
        if made.plan is None:
            sys.stdout.write(
                f"without a TensorRT model: build one on the serving GPU with pscr export engine {options.model} "
                "--bake-bank --library tensorrt, of the very TensorRT version of the server, then run this again\n"
            )
        sys.stdout.write(f"serve with: tritonserver --model-repository={options.output}\n")

    return shell.command(
        "pscr export triton",
        "Write a Triton Inference Server model repository from a model folder.",
        TritonExport,
        work,
        words,
    )


def _own_plan(folder: Path) -> Engine | None:
    """The newest engine of the model folder that Triton can serve."""
    engines = []
    for path in files(folder):
        try:
            engines.append(Engine.read(path))
        except PscrError:
            continue  # `pscr engines` says what is wrong with it
    fit = [engine for engine in engines if engine.sidecar.bank_inside and engine.sidecar.library == "tensorrt"]
    return max(fit, key=lambda engine: engine.sidecar.built, default=None)


def _plan(engine: Engine, model: StoredModel) -> bytes:
    car = engine.sidecar
    if car.library != "tensorrt" or not car.bank_inside:
        kind = f"{car.library} {'with' if car.bank_inside else 'without'} the bank inside"
        raise PscrError(
            Status.ENGINE_INCOMPATIBLE,
            f"{engine.path.name}: found an engine of {kind}; Triton needed one of tensorrt with it; "
            "build it: pscr export engine MODEL --library tensorrt --bake-bank",
        )
    entry = model.manifest.files["model.onnx"]
    if car.onnx_sha256 != entry.sha256:
        raise PscrError(
            Status.ENGINE_INCOMPATIBLE,
            f"{engine.path.name}: found an engine of a model.onnx {car.onnx_sha256[:12]}...; needed one of "
            f"{entry.sha256[:12]}...; {engine.rebuild()} --bake-bank",
        )
    return engine.plan()


def _warm_up(size: int, dims: str) -> str:
    """A request that Triton runs before it says that the model is ready, so that no user pays for the first."""
    shape = f"data_type: TYPE_UINT8 dims: {dims} random_data: true"
    return f'model_warmup [ {{ name: "{size}" batch_size: {size} inputs {{ key: "patches" value {{ {shape} }} }} }} ]\n'


if __name__ == "__main__":
    sys.exit(main())
