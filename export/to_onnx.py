"""`pscr export` and `python export/to_onnx.py`: a training run to a model folder that scores without torch."""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pscr import PscrError, Status
from pscr.export import parity
from pscr.export.bank import choose
from pscr.export.score_graph import bake_bank, save, to_onnx
from pscr.runtime import golden
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.image import load
from pscr.runtime.manifest import FORMAT_VERSION, Manifest
from pscr.runtime.sampling import Pixels
from pscr.training import checkpoint
from pscr.training.databases import Database, Item
from pscr.training.model import PSCR, build, load_state
from pscr.training.trainer import Config

PARITY_IMAGES = 32


def parser() -> argparse.ArgumentParser:
    """The command line of `pscr export`."""
    result = argparse.ArgumentParser(
        prog="pscr export",
        description="Write a model folder (graph, exemplar bank, manifest) from a training run, and prove that it "
        "scores like the network that was trained.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add("run", type=Path, metavar="RUN", help="the folder that pscr train wrote")
    add(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="the model folder to write; its name by default"
    )
    add("--name", default=None, help="the model's name (default: the folder's)")
    add("--version", default="1.0.0", help="the model's version")
    add("--bank", default="all", help="exemplars, of the training images: all, spread:K or random:K")
    add("--weights", default="half", choices=("half", "float"), help="how large weights lie on disk; computed in fp32")
    add("--bake-bank", action="store_true", help="also write model-baked.onnx, with the bank inside: one input")
    add("--licence", default="Apache-2.0", help="the licence of the weights, for the manifest")
    add("--threads", type=int, default=0, help="CPU threads, 0 for all")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pscr export`. Returns the exit code: 0, 1 for data that cannot be used, 3 for a model that cannot."""
    arguments = parser().parse_args(argv)
    try:
        return export(arguments)
    except PscrError as error:
        sys.stderr.write(f"pscr export: error: {error}\n")
        return 3 if error.status is Status.MODEL_INVALID else 1
    except KeyboardInterrupt:
        sys.stderr.write("pscr export: stopped; nothing was written\n")
        return 130


def export(arguments: argparse.Namespace) -> int:
    """Build everything in a temporary folder beside the output; it takes the output's place only when all is well."""
    config = Config.read(arguments.run)
    model, trained = read_run(arguments.run, config)
    database = config.load_database()
    members = exemplars(arguments.run, database, arguments.bank, config.seed)
    output: Path = arguments.output
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as temporary:
        folder = Path(temporary)
        graph = to_onnx(model, half_weights=arguments.weights == "half")
        save(graph, folder / "model.onnx")
        bank = build_bank(model, folder / "model.onnx", members, arguments.threads)
        bank.write(folder / "bank.npz")
        files = ["model.onnx", "bank.npz"]
        if arguments.bake_bank:
            save(
                bake_bank(graph, torch.from_numpy(bank.terms), torch.from_numpy(bank.scores)),
                folder / "model-baked.onnx",
            )
            files.append("model-baked.onnx")
        with OnnxRuntimeBackend((folder / "model.onnx").read_bytes(), bank, threads=arguments.threads) as backend:
            checked = held_out(arguments.run, database)[:PARITY_IMAGES]
            found = parity.check(model, backend, list(cut(model, checked)), bank.terms, bank.scores)
            reference = golden.expected(backend, model.sampling)
        sys.stderr.write(f"{found}\n")
        if not found.ok:
            return 3
        manifest = describe(arguments, config, model, database, trained, found, bank)
        manifest.write(folder, files)
        output.mkdir(exist_ok=True)
        for name in (*files, "manifest.json"):
            shutil.move(folder / name, output / name)
    return 0


def read_run(run: Path, config: Config) -> tuple[PSCR, dict[str, Any]]:
    """The network with the run's selected weights, and what the checkpoint notes of its epoch."""
    tensors, meta = checkpoint.read(run / "best.safetensors")
    model = build(config.backbone)
    load_state(model, checkpoint.part("model", tensors), str(run / "best.safetensors"))
    return model.eval(), meta


def members(run: Path, part: str, database: Database) -> list[Item]:
    """The images of a part ("train" or "val") of the run's split, in the database's order."""
    names = set(json.loads((run / "split.json").read_text())[part])
    return [item for item in database.items if item.name in names]


def cut(model: PSCR, items: Sequence[Item]) -> Iterator[Pixels]:
    """The patches of each image, [P,S,S,3] uint8."""
    return (model.sampling.cut(load(item.path)) for item in items)
