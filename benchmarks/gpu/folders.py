"""The model folders that are measured: each precision converted once, and a network of dense convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pscr.export.convert import convert_folder
from pscr.export.drawing import draw
from pscr.runtime.bank import Bank
from pscr.runtime.manifest import Manifest
from pscr.runtime.score_scale import ScoreScale

_EXEMPLARS = 64


def in_precision(folder: Path, precision: str, images: Sequence[str], output: Path, tolerated: float | None) -> Path:
    """The folder of a model in a precision: its own, or one converted from it, which every library then builds from."""
    manifest = Manifest.read(folder)
    if precision == manifest.precision:
        return folder
    drawn = draw(images, manifest.sampling, precision)
    convert_folder(folder, output, precision, drawn, tolerated=tolerated, threads=8)
    return output


def dense_network(output: Path) -> Path:
    """ResNet18 over the whole view in one pass, with random weights: convolutions that use every channel.

    The packaged models are made of depthwise convolutions, whose few products for every byte keep matrix units idle on
    any card; this one shows what is left of that where a network is dense. Needs torch.
    """
    import torch
    from torch import nn

    from pscr.export.score_graph import save, to_onnx
    from pscr.training.model import build

    torch.manual_seed(0)
    model = build("resnet18", sampling="dense")
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # the statistics of the one batch that follows, so that activations keep their scale
    with torch.no_grad():
        model.train().backbone(torch.randn(4, 3, 128, 128))
    graph = to_onnx(model.eval(), half_weights=False)
    output.mkdir(parents=True)
    save(graph, output / "model.onnx")
    rng = np.random.default_rng(0)
    terms = rng.normal(0, 0.5, (_EXEMPLARS, model.regressor.fc1.out_features)).astype(np.float32)
    bank = Bank(terms, np.linspace(0, 5, _EXEMPLARS, dtype=np.float32), tuple(map(str, range(_EXEMPLARS))))
    bank.write(output / "bank.npz")
    Manifest(
        name="resnet18-dense",
        version="0",
        backbone=model.spec.name,
        precision="fp32",
        sampling=model.sampling,
        score=ScoreScale("nothing: random weights", "none", (0.0, 5.0), higher_is_better=True),
        bank={"size": _EXEMPLARS, "selection": "random"},
        training={"database": "none", "split": "none", "seed": 0, "epochs": 0, "metrics": {}},
        parity={},
        licence="Apache-2.0",
        files={},
    ).write(output, ["model.onnx", "bank.npz"])
    return output
