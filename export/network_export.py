"""From a trained network to a model folder: the graph, the bank, the parity gate, the figures, the manifest."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch

from ..runtime import cores, golden
from ..runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from ..runtime.bank import Bank
from ..runtime.errors import PscrError, Status
from ..runtime.families.direct import DirectHead
from ..runtime.families.head import Head, Signature
from ..runtime.families.pscr import BANK, PscrHead, signature
from ..runtime.image import load
from ..runtime.manifest import Manifest
from ..runtime.ordered import results
from ..runtime.samplings import Sampling
from ..training.databases import Item
from ..training.model import PSCR
from ..training.progress_bar import progress_bar
from . import agreement, held_out_results, model_folder, parity, tolerance
from .baking import bake
from .convert import convert_model
from .difference import scores
from .export_source import ExportSource
from .model_options import REDUCTION_IMAGES, ModelOptions
from .reduction import reduce
from .score_graph import save, to_onnx

PARITY_IMAGES = 32
_log = logging.getLogger(__name__)


def write_model(source: ExportSource, options: ModelOptions, *, rank: int = 0, twin: Path | None = None) -> Manifest:
    """Write the model folder of a network in the precision that is asked for; see `to_onnx.export_onnx`.

    rank: of the reduced regressor, 0 for the whole. twin: see `held_out_results.adopt`.
    """
    if options.precision == "fp32":
        return _write_fp32(source, options, rank, twin)
    with tempfile.TemporaryDirectory(prefix="pscr-export-") as temporary:
        folder = Path(temporary) / options.output.resolve().name
        _write_fp32(source, replace(options, output=folder), rank, twin)
        images = options.calibrate or tuple(str(item.path) for item in source.trained)
        return convert_model(folder, replace(options, calibrate=images))


def build_bank(graph: onnx.ModelProto, sampling: Sampling, exemplars: Sequence[Item], threads: int) -> Bank:
    """Exemplar terms through the graph's own `terms` output: what `pscr.runtime` computes, to the bit."""
    width = graph.graph.output[2].type.tensor_type.shape.dim[1].dim_value
    with _backend(graph, signature(Bank.placeholder(width)), sampling, threads) as backend:
        patches = results(lambda item: sampling.cut(load(item.path)), exemplars)
        terms = [backend.terms(found[None])[0] for found in progress_bar(patches, len(exemplars), "bank")]
    opinions = np.array([item.score for item in exemplars], np.float32)
    return Bank(np.stack(terms), opinions, tuple(item.name for item in exemplars))


def _write_fp32(source: ExportSource, options: ModelOptions, rank: int, twin: Path | None) -> Manifest:
    """Build everything in a folder beside the output; it takes the output's place only when all is well."""
    output, threads = options.output.resolve(), options.threads or cores.usable()
    torch.set_num_threads(threads)
    model, sampling, scale = source.model, source.model.sampling, source.score.range
    with model_folder.unfinished(output) as folder:
        if rank:
            model = _reduced(model, source.exemplars, rank)
        graph = to_onnx(model, options.weights == "half", rank, source.mean)
        save(graph, folder / "model.onnx")
        head: Head = DirectHead(source.score)
        files, entry = ["model.onnx"], {}
        if not model.direct:
            head = PscrHead(build_bank(graph, sampling, source.exemplars, threads), source.score)
            head.bank.write(folder / BANK)
            files.append(BANK)
            entry = {"size": len(head.bank), "selection": source.selection}
        if options.bake_bank:
            save(bake(graph, head.signature), folder / "model-baked.onnx")
            files.append("model-baked.onnx")
        with _backend(graph, head.signature, sampling, threads) as backend:
            found = _parity(source, model, backend)
            cut = [sampling.cut(image) for image in golden.golden_images().values()]
            kept = [float(score) for score in scores(backend, cut)]
            measured = agreement.measure(backend, sampling, source.unseen)
        manifest = Manifest(
            name=options.name or output.name,
            version=options.version,
            backbone=model.spec.name,
            precision="fp32",
            sampling=sampling,
            score=source.score,
            bank=entry,
            training=source.training(measured),
            parity=found.to_dict(),
            licence=options.licence,
            files={},
            golden=golden.promise(kept, tolerance.allowed(tolerance.GOLDEN, scale, kept).units),
            family=head.family,
        )
        if twin:
            manifest = held_out_results.adopt(manifest, twin, folder, files)
        return model_folder.finish(manifest, folder, files, output)


def _parity(source: ExportSource, model: PSCR, backend: OnnxRuntimeBackend) -> parity.Parity:
    """What the parity gate found.

    Raises:
        PscrError: MODEL_INVALID where the graph may not be shipped.
    """
    sampling, scale = model.sampling, source.score.range
    checked = [sampling.cut(load(item.path)) for item in source.checked[:PARITY_IMAGES]]
    if source.published:
        exemplars = (sampling.cut(load(item.path)) for item in source.exemplars)
        found = parity.check_published(model, backend, checked, exemplars, scale)
    else:
        found = parity.check(model, backend, checked, scale, source.mean)
    if not found.ok:
        raise PscrError(Status.MODEL_INVALID, str(found))
    _log.info("%s", found)
    return found


def _reduced(model: PSCR, exemplars: Sequence[Item], rank: int) -> PSCR:
    """The network with a regressor of fewer parameters; see `reduction.reduce`."""
    items = exemplars[:: max(len(exemplars) // REDUCTION_IMAGES, 1)][:REDUCTION_IMAGES]
    patches = results(lambda item: model.sampling.cut(load(item.path)), items)
    with torch.inference_mode():
        found = [model.features(torch.from_numpy(one[None])) for one in progress_bar(patches, len(items), "reduction")]
        return reduce(model, torch.cat(found), rank)


def _backend(graph: onnx.ModelProto, head: Signature, sampling: Sampling, threads: int) -> OnnxRuntimeBackend:
    return OnnxRuntimeBackend(graph.SerializeToString(), head, sampling.patch, threads=threads)
