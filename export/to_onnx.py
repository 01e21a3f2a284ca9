"""`pscr export` and `python export/to_onnx.py`: a training run, or a published checkpoint, to a model folder."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from pscr import PscrError, Status
from pscr.export import convert, model_folder, parity, tolerance, twin
from pscr.export.command import OTHERS
from pscr.export.reduction import reduce
from pscr.export.score_graph import bake_bank, save, to_onnx
from pscr.export.shipment import UNSTATED, Measured, mean_bank, members, of_published, of_run
from pscr.runtime import golden
from pscr.runtime.backends.base import Backend
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest
from pscr.runtime.pipeline import results
from pscr.runtime.sampling import Pixels, Sampling
from pscr.training.backbones import BACKBONES
from pscr.training.config import Config
from pscr.training.databases import Item, read_csv
from pscr.training.memory import keep_freed
from pscr.training.metrics import agreement, agreement_fitted, intervals
from pscr.training.model import PSCR
from pscr.training.progress import progress

PARITY_IMAGES = 32
REDUCTION_IMAGES = 500


def parser() -> argparse.ArgumentParser:
    """The command line of `pscr export`."""
    result = argparse.ArgumentParser(
        prog="pscr export",
        description="Write a model folder (graph, exemplar bank, manifest) from a training run, and prove that it "
        "scores like the network that was trained.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add(
        "run",
        type=Path,
        metavar="RUN",
        nargs="?",
        help="the folder that pscr train wrote; with --precision also a model folder",
    )
    add(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="the model folder to write; its name by default"
    )
    add("--name", default=None, help="the model's name (default: the folder's)")
    add("--version", default="1.0.0", help="the model's version")
    add("--bank", default="all", help="exemplars, of the training images: all, spread:K or random:K")
    add(
        "--bank-of",
        default=None,
        metavar="SPEC",
        help="one of the databases that trained along (pscr train --also), to export the network for: its training "
        "images are the exemplars, its scale is the score's",
    )
    add(
        "--weights",
        default="float",
        choices=("half", "float"),
        help="how large weights lie on disk, computed in fp32 either way; half makes a smaller file, whose scores may "
        "differ by more than the parity gate allows",
    )
    add(
        "--rank",
        type=int,
        default=0,
        metavar="R",
        help="reduce the regressor's first layer to the R directions in which its output varies most over "
        f"{REDUCTION_IMAGES} of the bank's images: fewer parameters, nearly the same scores (default: 0, not)",
    )
    add("--bake-bank", action="store_true", help="also write model-baked.onnx, with the bank inside: one input")
    add(
        "--twin",
        type=Path,
        default=None,
        metavar="MODEL",
        help="for a model of all images, which leaves none to measure it on: the model folder of the same recipe on a "
        "part of them, whose figures and calibration go into the manifest as the twin's",
    )
    add("--licence", default="Apache-2.0", help="the licence of the weights, for the manifest")
    add("--threads", type=int, default=0, help="CPU threads, 0 for all")
    group = result.add_argument_group("a published checkpoint in place of RUN")
    add = group.add_argument
    add("--published", type=Path, default=None, metavar="FILE", help="best_model.pt of the published training code")
    add("--backbone", default=None, choices=sorted(BACKBONES), help="what it was trained with")
    add("--bank-csv", type=Path, default=None, metavar="FILE", help="its exemplars: columns path and score")
    add("--bank-root", type=Path, default=None, metavar="DIR", help="where the paths begin (default: the CSV's folder)")
    add("--database", default=UNSTATED, help="what it was trained on, for the manifest")
    add("--range", type=float, nargs=2, default=None, metavar=("LOW", "HIGH"), help="of the opinion scores")
    convert.add_options(result)
    for option, module in OTHERS.items():
        add(option, metavar="MODEL", help=f"another command: see python -m pscr.export.{module} --help")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run `pscr export`. Returns the exit code: 0, 1 for data that cannot be used, 3 for a model that cannot."""
    command = parser()
    arguments = command.parse_args(argv)
    if (arguments.run is None) == (arguments.published is None):
        command.error("expected RUN or --published FILE, and not both")
    if arguments.published and (arguments.backbone is None or arguments.bank_csv is None):
        command.error("--published needs --backbone and --bank-csv")
    if arguments.published and arguments.rank:
        command.error("--rank changes scores; a published checkpoint is exported as it is")
    keep_freed()
    try:
        return in_precision(arguments)
    except PscrError as error:
        sys.stderr.write(f"pscr export: error: {error}\n")
        return 3 if error.status is Status.MODEL_INVALID else 1
    except KeyboardInterrupt:
        sys.stderr.write("pscr export: stopped; nothing was written\n")
        return 130


def in_precision(arguments: argparse.Namespace) -> int:
    """Export in fp32, and convert where another precision is asked for; a model folder is only converted."""
    precision, run, output = arguments.precision, arguments.run, arguments.output.resolve()
    given = arguments.calibrate
    options = {"target": arguments.int8_for, "threads": arguments.threads or len(os.sched_getaffinity(0))}
    if run is not None and convert.is_model(run):
        return convert.run(str(run), output, precision, given, **options)
    if precision == "fp32":
        return export(arguments)
    with tempfile.TemporaryDirectory(prefix="pscr-export-") as temporary:
        folder = Path(temporary) / output.name
        code = export(argparse.Namespace(**{**vars(arguments), "output": folder}))
        return code or convert.run(str(folder), output, precision, given or labelled(arguments), **options)


def labelled(arguments: argparse.Namespace) -> list[str]:
    """The images that int8 is calibrated on where none are given: those that trained, or the exemplars' file."""
    if arguments.published:
        items: Sequence[Item] = read_csv(arguments.bank_csv, arguments.bank_root or arguments.bank_csv.parent)
    else:
        items = members(arguments.run, "train", Config.read(arguments.run).load_database())
    return [str(item.path) for item in items]


def export(arguments: argparse.Namespace) -> int:
    """Build everything in a temporary folder beside the output; it takes the output's place only when all is well."""
    output = arguments.output.resolve()
    threads = arguments.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    shipment = of_published(arguments) if arguments.published else of_run(arguments)
    model, sampling = shipment.model, shipment.model.sampling
    with model_folder.unfinished(output) as folder:
        if arguments.rank:
            model = reduced(model, shipment.exemplars, arguments.rank)
        graph = to_onnx(model, arguments.weights == "half", arguments.rank)
        save(graph, folder / "model.onnx")
        if model.direct:
            bank = mean_bank(model, shipment.mean)
        else:
            bank = build_bank(graph, sampling, shipment.exemplars, threads)
        bank.write(folder / "bank.npz")
        files = ["model.onnx", "bank.npz"]
        if arguments.bake_bank:
            baked = bake_bank(graph, torch.from_numpy(bank.terms), torch.from_numpy(bank.scores))
            save(baked, folder / "model-baked.onnx")
            files.append("model-baked.onnx")
        checked = [sampling.cut(load(item.path)) for item in shipment.checked[:PARITY_IMAGES]]
        scale = shipment.score.range
        with _backend(graph, bank, sampling, threads) as backend:
            if shipment.published:
                exemplars = (sampling.cut(load(item.path)) for item in shipment.exemplars)
                found = parity.check_published(model, backend, checked, exemplars, scale)
            else:
                found = parity.check(model, backend, checked, scale)
            sys.stderr.write(f"{found}\n")
            if not found.ok:
                return 3
            kept = [score_of(backend, sampling, image) for image in golden.golden_images().values()]
            promised = golden.promise(kept, tolerance.allowed(tolerance.GOLDEN, scale, kept).units)
            measured = evaluate(backend, sampling, shipment.unseen)
        manifest = Manifest(
            name=arguments.name or output.name,
            version=arguments.version,
            backbone=model.spec.name,
            precision="fp32",
            sampling=sampling,
            score=shipment.score,
            bank={"size": len(bank), "selection": shipment.selection},
            training=shipment.training(measured),
            parity=found.to_dict(),
            licence=arguments.licence,
            files={},
            golden=promised,
        )
        if arguments.twin:
            manifest = twin.adopt(manifest, arguments.twin, folder, files)
        sys.stderr.write(f"{model_folder.finish(manifest, folder, files, output)}\n")
    return 0


def reduced(model: PSCR, exemplars: Sequence[Item], rank: int) -> PSCR:
    """The network with a regressor of fewer parameters; see `reduction.reduce`."""
    items = exemplars[:: max(len(exemplars) // REDUCTION_IMAGES, 1)][:REDUCTION_IMAGES]
    patches = results(lambda item: model.sampling.cut(load(item.path)), items)
    with torch.inference_mode():
        found = [model.features(torch.from_numpy(one[None])) for one in progress(patches, len(items), "reduction")]
        return reduce(model, torch.cat(found), rank)


def build_bank(graph: onnx.ModelProto, sampling: Sampling, exemplars: Sequence[Item], threads: int) -> Bank:
    """Exemplar terms through the graph's own `terms` output: what `pscr.runtime` computes, to the bit."""
    width = graph.graph.output[2].type.tensor_type.shape.dim[1].dim_value

    with _backend(graph, Bank.placeholder(width), sampling, threads) as backend:
        patches = results(lambda item: sampling.cut(load(item.path)), exemplars)
        terms = [backend.terms(found[None])[0] for found in progress(patches, len(exemplars), "bank")]
    scores = np.array([item.score for item in exemplars], np.float32)
    return Bank(np.stack(terms), scores, tuple(item.name for item in exemplars))


def score_of(backend: Backend, sampling: Sampling, image: Pixels) -> float:
    """The score of one image [H,W,3] uint8 RGB."""
    return float(backend.infer(sampling.cut(image)[None]).scores[0])


def evaluate(backend: Backend, sampling: Sampling, items: Sequence[Item]) -> Measured:
    """Agreement of the shipped graph's scores with people, on images that did not train; empty for fewer than two.

    srcc, krcc, plcc, plcc_fitted, rmse, and srcc_95 and plcc_95: [lowest, highest] of the 95 % bootstrap interval.
    Figures that are not defined (constant scores, a curve that cannot be fitted) are left out.
    """
    if len(items) < 2:
        return {}
    patches = results(lambda item: sampling.cut(load(item.path)), items)
    scores = [float(backend.infer(found[None]).scores[0]) for found in progress(patches, len(items), "held out")]
    opinion = [item.score for item in items]
    plain, fitted = agreement(scores, opinion), agreement_fitted(scores, opinion)
    bounds = intervals(scores, opinion, measures=("srcc", "plcc"))
    figures: Measured = {key: plain[key] for key in ("srcc", "krcc", "plcc")}
    figures |= {"plcc_fitted": fitted["plcc_fitted"], "rmse": plain["rmse"]}
    figures |= {f"{key}_95": list(bound) for key, bound in bounds.items()}
    measured = {key: value for key, value in figures.items() if np.isfinite(value).all()}
    if "plcc_fitted" not in measured:
        sys.stderr.write("the four-parameter logistic could not be fitted; there is no PLCC after it\n")
    sys.stderr.write(f"on {len(items)} held-out images, through onnxruntime: {_figures(measured)}\n")
    return measured


def _figures(measured: Measured) -> str:
    """The figures on one line, each with its interval where there is one."""
    parts = []
    for key, value in measured.items():
        if isinstance(value, float):
            low_high = measured.get(f"{key}_95")
            interval = f" ({low_high[0]:.4f} to {low_high[1]:.4f})" if isinstance(low_high, list) else ""
            parts.append(f"{key.upper()} {value:.4f}{interval}")
    return ", ".join(parts)


def _backend(graph: onnx.ModelProto, bank: Bank, sampling: Sampling, threads: int) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(graph.SerializeToString(), bank, sampling.patch, threads=threads)


if __name__ == "__main__":
    sys.exit(main())
