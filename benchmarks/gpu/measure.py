"""How fast is it on this GPU, and how near to what it can do? Native engines against onnxruntime's CUDA provider.

    python benchmarks/gpu/measure.py [MODEL] [--images PATH ...] [-o measure.json]

Each row is a path, a precision and a batch. infer_ms is copy in, compute and copy out as the caller waits for it, the
median of the repeats; with a torch that has CUDA also what the profiler sees of it (stages.py: copies, kernels,
launches), and the limit (limits.py): how much of the card's own matrix rate and memory rate, both measured first, the
kernels got, and which of them bounds this network. decode (a JPEG to pixels) and sample (cut the patches) stand for one
image on one thread of the CPU. Rows "on the device" are of `score_pixels` on a tensor of halves that lies in the GPU's
memory, [batch,3,512,512], with the view and the windows made there. A network of dense convolutions, ResNet18, is
measured too: the others are depthwise.
Ends in ten minutes: what --minutes leaves no time for is left out of the table, and said to be.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import stages
from card import machine, save, table
from folders import dense_network, in_precision
from limits import COLUMNS, Rates, limit, measured

import pscr
from pscr.export.graph_costs import Costs, costs
from pscr.export.to_trt import EngineExport, export_engine
from pscr.runtime.engines import LIBRARIES
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest
from pscr.runtime.models import locate
from pscr.runtime.scorer import DEFAULT_MODEL
from pscr.tables.inputs import expand

BATCHES = (1, 2, 4, 8, 16, 32, 64)
DENSE = "resnet18-dense"
HOST = ("decode_ms", "sample_ms")


def median(work: Callable[[], object], seconds: float = 1.0, least: int = 10) -> float:
    """Milliseconds of one call, median, after two that do not count."""
    work(), work()
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < ends and len(times) < 500):
        started = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def host_stages(scorer: pscr.Scorer, files: Sequence[bytes]) -> dict[str, float]:
    """Decode and sample, on one thread, milliseconds per image."""
    sampling = scorer.manifest.sampling
    turn = iter(range(1 << 30))
    decode = median(lambda: load(files[next(turn) % len(files)]))
    pixels = load(files[0])
    return dict(zip(HOST, (decode, median(lambda: sampling.cut(pixels))), strict=True))


def torch_graph(backbone: str, batch: int, count: int, side: int) -> Callable[[], None]:
    """One run of the backbone alone in torch, half precision, channels last, as a CUDA graph that is replayed.

    backbone: as a manifest has it; those of an ensemble, joined by " + ", run one after the other.
    """
    import torch

    from pscr.training.model import build as network

    trunks = []
    for name in backbone.split(" + "):
        model = network(name).eval().cuda().half().to(memory_format=torch.channels_last)
        model.backbone.fuse()
        trunks.append(model.backbone)
    pixels = torch.zeros(batch * count, 3, side, side, device="cuda", dtype=torch.half)
    pixels = pixels.contiguous(memory_format=torch.channels_last)

    def run_all() -> None:
        for trunk in trunks:
            trunk(pixels)

    with torch.inference_mode():
        warm = torch.cuda.Stream()
        with torch.cuda.stream(warm):
            for _ in range(3):
                run_all()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run_all()

    def once() -> None:
        graph.replay()
        torch.cuda.synchronize()

    return once


def on_device(batch: int) -> Any:
    """Images as a generator leaves them, [batch,3,512,512] halves of 0 to 1 in the GPU's memory; None without torch."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    return torch.rand(batch, 3, 512, 512, device="cuda", dtype=torch.half)


def computes_in(scorer: pscr.Scorer) -> str:
    """The precision of a scorer's products: fp32 is tf32 where onnxruntime's session says that it may round to that."""
    session = getattr(scorer._backend, "_session", None)
    options = session.get_provider_options().get("CUDAExecutionProvider", {}) if session is not None else {}
    precision = str(scorer.manifest.precision)
    return "tf32" if precision == "fp32" and options.get("use_tf32") == "1" else precision


@dataclass
class Measurement:
    """Rows, and what was left out, until the time is over."""

    ends: float
    rates: Rates | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def over(self, what: str) -> bool:
        """Whether nothing new is begun; says what was left out."""
        if time.monotonic() > self.ends:
            self.skipped.append(f"{what}: no time left")
        return time.monotonic() > self.ends

    def row(self, keys: dict[str, Any], work: Callable[[], object], needed: Costs, host: dict[str, float]) -> None:
        """Measure one piece of work. keys: what it is, with its precision and batch; host: what the CPU does before."""
        taken = median(work)
        found = {"infer_ms": taken, "images_per_s": 1000 * keys["batch"] / taken}
        seen = stages.profiled(work) or dict.fromkeys(stages.COLUMNS, "")
        found |= seen
        found |= dict.fromkeys(COLUMNS, "")
        if self.rates is not None and seen["kernels_ms"]:
            found |= limit(needed, seen["kernels_ms"], keys["precision"], self.rates)
        self.rows.append({key: _rounded(value) for key, value in {**keys, **found, **host}.items()})

    def scorer(self, name: str, folder: Path, device: str, precision: str, images: Sequence[str]) -> None:
        """Every batch of one model folder on one device. precision: of what runs, empty for what the session says."""
        if self.over(f"{name} {precision}"):
            return
        with pscr.open(folder, device=device) as scorer:
            files = [Path(item.path).read_bytes() for item in expand(images)]
            cut = [scorer.patches(data) for data in files]
            cut = [patches for patches in cut if len(patches) == len(cut[0])]  # a batch has one shape
            host, kind = host_stages(scorer, files), precision or computes_in(scorer)
            proto = onnx.load(folder / "model.onnx")
            constants = {key: value.shape for key, value in scorer._backend.signature.constants.items()}
            for batch in BATCHES:
                if batch > (scorer._backend.takes.most or batch) or self.over(f"{name} {kind} batch {batch}"):
                    break
                patches = np.stack([cut[i % len(cut)] for i in range(batch)])
                keys = {"model": scorer.manifest.name, "path": name, "precision": kind, "batch": batch}
                needed = costs(proto, {"patches": patches.shape, **constants})
                try:
                    self.row(keys, lambda p=patches: scorer.infer(p), needed, host)
                    if device == "tensorrt" and (tensor := on_device(batch)) is not None:
                        keys |= {"path": f"{name}, on the device"}
                        work = partial(scorer.score_pixels, tensor, "NCHW", (0, 1))
                        self.row(keys, work, needed, dict.fromkeys(HOST, ""))
                except pscr.PscrError as error:
                    self.skipped.append(f"{name} {kind} batch {batch}: {error}")
                    break

    def torch(self, folder: Path) -> None:
        """The backbone alone in torch, in fp16, for three batches; what lies around it is little."""
        manifest = Manifest.read(folder)
        count, side = manifest.sampling.count, manifest.sampling.patch
        proto = onnx.load(folder / "model.onnx")
        taken = {
            value.name: [d.dim_value or 1 for d in value.type.tensor_type.shape.dim] for value in proto.graph.input
        }
        for batch in (1, 8, 64):
            if self.over(f"torch {manifest.name} batch {batch}"):
                break
            keys = {"model": manifest.name, "path": "torch, backbone only", "precision": "fp16", "batch": batch}
            needed = costs(proto, {**taken, "patches": (batch, count, side, side, 3)})
            self.row(keys, torch_graph(manifest.backbone, batch, count, side), needed, dict.fromkeys(HOST, ""))


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def folders(models: Sequence[Path], given: argparse.Namespace, place: Path, found: Measurement) -> Iterator[Path]:
    """Each model in each precision, converted once."""
    for model in models:
        for precision in given.precisions:
            if found.over(f"{model.name} {precision}"):
                continue
            tolerated = 1.0 if model.name == DENSE else None  # of random weights nobody believes a score
            try:
                yield in_precision(model, precision, given.images, place / f"{model.name}-{precision}", tolerated)
            except pscr.PscrError as error:
                found.skipped.append(f"{model.name} {precision}: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="MODEL", help="a model in fp32")
    parser.add_argument("--images", nargs="+", default=["examples/images"])
    parser.add_argument("--precisions", nargs="+", default=["fp16", "fp32", "int8"])
    parser.add_argument("--minutes", type=float, default=9.0, help="nothing new is begun after this long")
    parser.add_argument("-o", "--output", type=Path, default=Path("measure.json"))
    given = parser.parse_args()
    where = machine()
    found = Measurement(time.monotonic() + 60 * given.minutes, measured())
    where["rates"] = found.rates.to_dict() if found.rates else "not measured: no torch with CUDA is installed"
    libraries = [name for name in LIBRARIES if importlib.util.find_spec(name)]
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        models = [locate(given.model)]
        if importlib.util.find_spec("torch"):
            models.append(dense_network(place / DENSE))
        for folder in folders(models, given, place, found):
            name, random = Manifest.read(folder).precision, folder.name.startswith(DENSE)
            if found.rates is not None and name == "fp16":
                found.torch(folder)
            if name != "int8":  # the form for TensorRT, which that provider computes in fp32
                found.scorer("onnxruntime CUDA", folder, "cuda", "" if name == "fp32" else name, given.images)
            for library in libraries:
                if found.over(f"{library} {name}"):
                    continue
                copy = place / "engines-of"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("engines"))
                wish = EngineExport(model=copy, library=library, batch=(1, 8, BATCHES[-1]), windows=1, threads=8)
                try:
                    export_engine(replace(wish, tolerance=1.0) if random else wish)
                    found.scorer(library, copy, "tensorrt", name, given.images)
                except pscr.PscrError as error:
                    found.skipped.append(f"{library} {name}: {error}")
    save(given.output, where, found.rows)
    print(where)
    for line in found.skipped:
        print("left out:", line)
    print(table(found.rows) if found.rows else "nothing could be measured")


if __name__ == "__main__":
    main()
