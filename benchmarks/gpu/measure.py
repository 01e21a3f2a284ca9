"""How fast is it on this GPU? The native engines against onnxruntime's CUDA provider, by stage and by batch size.

    python benchmarks/gpu/measure.py [MODEL] [--images PATH ...] [-o measure.json]

Stages, each in milliseconds per batch, median of the repeats: decode (a JPEG to pixels) and sample (cut the patches) on
the CPU; infer, which is copy in, compute and copy out as the caller waits for it; and for native engines the same three
apart, between CUDA events, plus a torch CUDA graph of the same network where a torch with CUDA is installed. Ends in
ten minutes: what --minutes leaves no time for is left out of the table, and said to be.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import copy_of, machine, save, table

import pscr
from pscr.export.to_trt import main as build
from pscr.runtime.backends.tensorrt_backend import TensorRTBackend
from pscr.runtime.engines import LIBRARIES
from pscr.runtime.image import load
from pscr.runtime.scorer import DEFAULT_MODEL
from pscr.tables.inputs import expand

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


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


def host_stages(scorer: pscr.Scorer, files: list[bytes]) -> dict[str, float]:
    """Decode and sample, on one thread, milliseconds per image."""
    sampling = scorer.manifest.sampling
    turn = iter(range(1 << 30))
    decode = median(lambda: load(files[next(turn) % len(files)]))
    pixels = load(files[0])
    return {"decode_ms": decode, "sample_ms": median(lambda: sampling.cut(pixels))}


def gpu_stages(backend: TensorRTBackend, patches: np.ndarray) -> dict[str, float]:
    """Copy in, compute and copy out of one part of a batch, between CUDA events, milliseconds; no graph, no overlap."""
    import pycuda.driver as cuda

    slot, stages = backend._slots[0], {"copy_in_ms": [], "compute_ms": [], "copy_out_ms": []}
    part = patches[: backend._best[0]]
    backend.infer(part)
    with backend._device.current():
        events = [cuda.Event() for _ in range(4)]
        staged = slot.host["patches"][: part.size]
        for _ in range(30):
            events[0].record(slot.stream)
            backend._device.upload(slot._memory["patches"], staged, slot.stream)
            events[1].record(slot.stream)
            slot._context.execute_async_v3(slot.stream.handle)
            events[2].record(slot.stream)
            for name in ("score", "votes"):
                backend._device.download(slot.host[name], slot._memory[name], slot.stream)
            events[3].record(slot.stream)
            events[3].synchronize()
            for number, key in enumerate(stages):
                stages[key].append(events[number].time_till(events[number + 1]))
        del events
    return {key: statistics.median(values) for key, values in stages.items()} | {"part": len(part)}


def torch_graph(backbone: str, batch: int, count: int, side: int) -> float:
    """Milliseconds of the backbone alone in torch, half precision, channels last, replayed as a CUDA graph.

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

        return median(once)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, metavar="MODEL", help="a model in fp32")
    parser.add_argument("--images", nargs="+", default=["examples/images"])
    parser.add_argument("--precisions", nargs="+", default=["fp16", "fp32", "int8"])
    parser.add_argument("--minutes", type=float, default=9.0, help="nothing new is begun after this long")
    parser.add_argument("-o", "--output", type=Path, default=Path("measure.json"))
    given = parser.parse_args()
    ends, where, rows, skipped = time.monotonic() + 60 * given.minutes, machine(), [], []
    files = [Path(item.path).read_bytes() for item in expand(given.images)]
    with pscr.open(given.model, device="cpu") as cpu:
        host = host_stages(cpu, files)
        cut = [cpu.patches(data) for data in files]
        cut = [patches for patches in cut if len(patches) == len(cut[0])]  # a batch has one shape
        backbone = cpu.manifest.backbone

    def run(name: str, precision: str, open_it: Callable[[], pscr.Scorer]) -> None:
        if time.monotonic() > ends:
            skipped.append(f"{name} {precision}")
            return
        try:
            scorer = open_it()
        except pscr.PscrError as error:
            skipped.append(f"{name} {precision}: {error}")
            return
        with scorer:
            for batch in BATCHES:
                patches = np.stack([cut[i % len(cut)] for i in range(batch)])
                row: dict[str, Any] = {"path": name, "precision": precision, "batch": batch}
                try:
                    taken = median(lambda p=patches: scorer.infer(p))
                except pscr.PscrError as error:
                    skipped.append(f"{name} {precision} batch {batch}: {error}")
                    break
                row |= {"infer_ms": taken, "images_per_s": 1000 * batch / taken}
                stages = dict.fromkeys(("copy_in_ms", "compute_ms", "copy_out_ms", "part"), "")
                if isinstance(scorer._backend, TensorRTBackend):
                    stages = gpu_stages(scorer._backend, patches)
                row |= stages | host
                rows.append({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})

    with copy_of(given.model) as folder:
        run("onnxruntime CUDA", "fp32", lambda: pscr.open(folder, device="cuda"))
    for library in (name for name in LIBRARIES if importlib.util.find_spec(name)):
        for precision in given.precisions:
            if time.monotonic() > ends:
                skipped.append(f"{library} {precision}")
                continue
            with copy_of(given.model) as folder, contextlib.redirect_stdout(io.StringIO()):
                words = ["--library", library, "--precision", precision, "--batch", f"1,16,{BATCHES[-1]}"]
                errors = io.StringIO()
                with contextlib.redirect_stderr(errors):
                    code = build([str(folder), *words, "--threads", "8", "--calibrate", *given.images])
                if code:
                    skipped.append(f"{library} {precision}: {errors.getvalue().strip()}")
                    continue
                run(library, precision, lambda folder=folder: pscr.open(folder, device="tensorrt"))
    torch = importlib.util.find_spec("torch") and __import__("torch")
    if torch and torch.cuda.is_available():
        for batch in (1, 8, 64):
            taken = torch_graph(backbone, batch, *cut[0].shape[:2])
            row = dict.fromkeys(rows[0], "") if rows else {}
            row |= {"path": "torch CUDA graph, backbone only", "precision": "fp16", "batch": batch}
            rows.append(row | {"infer_ms": round(taken, 3), "images_per_s": round(1000 * batch / taken, 1)})
    save(given.output, where, rows)
    print(where)
    for line in skipped:
        print("left out:", line)
    print(table(rows) if rows else "nothing could be measured")


if __name__ == "__main__":
    main()
