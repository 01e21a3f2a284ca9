"""From published encoders and a linear regressor to a model folder: the graph, the parity gate, the manifest."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..runtime import cores, golden
from ..runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from ..runtime.errors import PscrError, Status
from ..runtime.families.full_reference import FullReferenceHead
from ..runtime.families.head import Signature
from ..runtime.families.linear import REGRESSOR, LinearHead, signature
from ..runtime.manifest import Manifest
from ..runtime.regressor import Regressor
from ..runtime.samplings import Pixels, Whole
from ..runtime.score_scale import ScoreScale
from ..training.backbones import find
from . import model_folder, parity, tolerance
from .baking import bake
from .convert import convert_model
from .difference import scores
from .linear_graph import Expert, LinearGraph, Views, linear_to_onnx
from .model_options import ModelOptions
from .score_graph import save

PUBLISHED = {"split": "not known: a published checkpoint", "seed": None, "epochs": None}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LinearSource:
    """What a model of the family linear is made of.

    method: contrique, arniqa or reiqa. regressor: None where there is none yet. score: the scale of its scores, and the
    database that the regressor was fitted on. source: where the method is published. files: those it was read from, by
    what they are. backbone: of the encoders. trained: how they were trained, as far as it is known. full_reference:
    whether the regressor takes an image's distance from its original.
    """

    method: str
    experts: tuple[Expert, ...]
    views: Views
    regressor: Regressor | None
    score: ScoreScale
    source: str
    files: dict[str, Path]
    backbone: str = "resnet50"
    trained: dict[str, Any] = field(default_factory=lambda: dict(PUBLISHED))
    full_reference: bool = False

    @property
    def head(self) -> LinearHead:
        """What votes on the features."""
        kind = FullReferenceHead if self.full_reference else LinearHead
        return kind(self.regressor, self.score, features=self.features)

    @property
    def features(self) -> int:
        """C: of each expert those of the full and of the half scale."""
        return 2 * find(self.backbone).channels * len(self.experts)

    def training(self) -> dict[str, Any]:
        """The manifest's `training` entry."""
        return {
            "database": self.score.database,
            **self.trained,
            "method": self.method,
            "views": str(self.views),
            "source": self.source,
            "files": {
                what: {"name": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
                for what, file in self.files.items()
            },
        }


def write_linear(source: LinearSource, options: ModelOptions) -> Manifest:
    """Write the model folder in the precision that is asked for, and prove that it scores as torch does.

    Raises:
        PscrError: MODEL_INVALID: a regressor of another width, scores too far apart, which leaves nothing written;
            INVALID_ARGUMENT for what needs scores, and there is no regressor. Those of `convert_model`.
        OSError: the folder cannot be written.
    """
    if source.regressor is None and (options.precision != "fp32" or options.bake_bank):
        found = "without a regressor there are no scores to compare"
        raise PscrError(Status.INVALID_ARGUMENT, f"{found}; give --regressor, or leave --precision and --bake-bank out")
    if options.bake_bank:
        model_folder.check_bakes(source.head)
    width = source.features if source.regressor is None else source.regressor.weights.shape[1]
    if width != source.features:
        found = f"{source.files['regressor']}: has {width} weights, and {source.method} finds {source.features}"
        raise PscrError(Status.MODEL_INVALID, f"{found} features; expected a regressor that was fitted on those")
    if options.precision == "fp32":
        return _write_fp32(source, options)
    with tempfile.TemporaryDirectory(prefix="pscr-export-") as temporary:
        folder = Path(temporary) / options.output.resolve().name
        _write_fp32(source, replace(options, output=folder))
        return convert_model(folder, options)


def parity_images() -> list[Pixels]:
    """Images [1,H,W,3] that the graph is compared on: small ones of one size, then others, with odd sides too."""
    whole = list(golden.golden_images().values())
    small = [image[:96, -96:] for image in whole]
    return [np.ascontiguousarray(image)[None] for image in (*small, *whole, whole[0][:333, :218], whole[1][:, :207])]


def _write_fp32(source: LinearSource, options: ModelOptions) -> Manifest:
    output, threads = options.output.resolve(), options.threads or cores.usable()
    torch.set_num_threads(threads)
    sampling, scale, images = Whole(), source.score.range, parity_images()
    head = source.head
    compared = head.signature if source.regressor is not None else _signs(source.features)
    with model_folder.unfinished(output) as folder:
        graph = LinearGraph(source.experts, source.views).eval()
        constants = [torch.tensor(value) for value in compared.constants.values()]
        with torch.inference_mode():
            expected = np.concatenate([graph(torch.from_numpy(image[None]), *constants)[0] for image in images])
        for expert in source.experts:
            expert.encoder.fuse()
        proto = linear_to_onnx(graph, source.features, options.weights == "half")
        save(proto, folder / "model.onnx")
        files, entry = ["model.onnx"], {"features": source.features}
        if source.regressor is not None:
            source.regressor.write(folder / REGRESSOR)
            files.append(REGRESSOR)
        if options.bake_bank:
            save(bake(proto, head.signature), folder / "model-baked.onnx")
            files.append("model-baked.onnx")
        with OnnxRuntimeBackend(proto.SerializeToString(), compared, sampling.patch, threads=threads) as backend:
            share = tolerance.PUBLISHED if options.weights == "float" else tolerance.PARITY
            found = parity.compare(expected, backend, images, "torch", share, scale)
            kept = [float(score) for score in scores(backend, [*map(sampling.cut, golden.golden_images().values())])]
        if not found.ok:
            raise PscrError(Status.MODEL_INVALID, str(found))
        _log.info("%s", found)
        promised = golden.promise(kept, tolerance.allowed(tolerance.GOLDEN, scale, kept).units)
        manifest = Manifest(
            name=options.name or output.name,
            version=options.version,
            backbone=source.backbone,
            precision="fp32",
            sampling=sampling,
            score=source.score,
            bank=entry,
            training=source.training(),
            parity=found.to_dict(),
            licence=options.licence,
            files={},
            golden=None if source.regressor is None else promised,
            family=head.family,
        )
        return model_folder.finish(manifest, folder, files, output)


def _signs(features: int) -> Signature:
    """A regressor to compare graphs with where there is none: random signs, so that no feature hides another."""
    weights = np.random.default_rng(0).choice([-1.0, 1.0], (1, features)) / np.sqrt(features)
    return signature(weights.astype(np.float32), np.zeros(1, np.float32))
