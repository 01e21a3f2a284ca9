"""A real but tiny model folder: the score graph of DESIGN 3 with a one-layer backbone, made without torch.

normalise -> Conv 3x3 stride 2 (8 channels) -> ReLU -> global average -> mean over patches -> folded regressor, H = 8.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pscr.runtime import golden
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.families.direct import OUTPUTS
from pscr.runtime.families.head import Signature
from pscr.runtime.families.pscr import signature
from pscr.runtime.manifest import FORMAT_VERSION, Manifest
from pscr.runtime.samplings import Ops, Sampling
from pscr.runtime.score_scale import ScoreScale

SAMPLING = Ops(32, (0, 4, 9), 64)
WIDTH = 8
EXEMPLARS = 5


@dataclass(frozen=True)
class Weights:
    """Everything the tiny network computes with."""

    conv: np.ndarray
    query: np.ndarray
    exemplar: np.ndarray
    bias: np.ndarray
    out: np.ndarray
    bank: Bank


def weights(seed: int = 7) -> Weights:
    """The same weights every time; exemplars' names and scores are those of every seed."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    bank = Bank(normal(EXEMPLARS, WIDTH), np.linspace(0.5, 4.5, EXEMPLARS, dtype=np.float32), tuple("abcde"))
    return Weights(
        normal(WIDTH, 3, 3, 3), normal(WIDTH, WIDTH), normal(WIDTH, WIDTH), normal(WIDTH), normal(WIDTH), bank
    )


def graph(parts: Weights | None = None, side: int = SAMPLING.patch) -> onnx.ModelProto:
    """The score graph with those weights, for patches of `side` pixels."""
    parts = parts or weights()
    constants = {
        "flat": np.array([-1, side, side, 3], np.int64),
        "scale": np.array(1 / 255, np.float32),
        "conv": parts.conv,
        "query": parts.query,
        "exemplar": parts.exemplar,
        "bias": parts.bias,
        "out": parts.out,
        "width": np.array([WIDTH], np.int64),
        "one": np.array([1], np.int64),
        "zero": np.array([0], np.int64),
        "space": np.array([2, 3], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["patches"], ["pixels"], to=TensorProto.FLOAT),
        node("Shape", ["patches"], ["np"], start=0, end=2),
        node("Reshape", ["pixels", "flat"], ["images"]),
        node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        node("Mul", ["planes", "scale"], ["scaled"]),
        node("Conv", ["scaled", "conv"], ["edges"], strides=[2, 2]),
        node("Relu", ["edges"], ["active"]),
        node("ReduceMean", ["active", "space"], ["pooled"], keepdims=0),
        node("Concat", ["np", "width"], ["npc"], axis=0),
        node("Reshape", ["pooled", "npc"], ["by_image"]),
        node("ReduceMean", ["by_image", "one"], ["features"], keepdims=0),
        node("MatMul", ["features", "query"], ["q"]),
        node("Unsqueeze", ["q", "one"], ["q1"]),
        node("Unsqueeze", ["bank_terms", "zero"], ["t1"]),
        node("Add", ["q1", "t1"], ["sum"]),
        node("Relu", ["sum"], ["hidden"]),
        node("MatMul", ["hidden", "out"], ["delta"]),
        node("Add", ["delta", "bank_scores"], ["votes"]),
        node("ReduceMean", ["votes", "one"], ["score"], keepdims=0),
        node("MatMul", ["features", "exemplar"], ["e"]),
        node("Add", ["e", "bias"], ["terms"]),
    ]
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes,
        "tiny",
        [
            value("patches", TensorProto.UINT8, ["N", "P", side, side, 3]),
            value("bank_terms", TensorProto.FLOAT, ["K", WIDTH]),
            value("bank_scores", TensorProto.FLOAT, ["K"]),
        ],
        [
            value("score", TensorProto.FLOAT, ["N"]),
            value("votes", TensorProto.FLOAT, ["N", "K"]),
            value("terms", TensorProto.FLOAT, ["N", WIDTH]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def manifest(golden_entry: dict | None = None) -> Manifest:
    """The manifest of the tiny model, before its files are known."""
    return Manifest(
        name="tiny",
        version="0.0.1",
        backbone="one convolution",
        precision="fp32",
        sampling=SAMPLING,
        score=ScoreScale("mean opinion score of quality", "made up", (0.0, 5.0), higher_is_better=True),
        bank={"size": EXEMPLARS, "selection": "all"},
        training={
            "database": "made up",
            "split": "none",
            "seed": 7,
            "epochs": 0,
            "metrics": {"srcc": 0.5, "plcc": 0.6},
        },
        parity={"compared": "nothing", "largest_difference": 0.0},
        licence="Apache-2.0",
        files={},
        golden=golden_entry,
    )


def write(folder: Path, seed: int = 7, sampling: Sampling = SAMPLING, format_version: int = FORMAT_VERSION) -> Path:
    """Write the whole model folder, golden scores included."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = weights(seed)
    data = graph(parts, sampling.patch).SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    parts.bank.write(folder / "bank.npz")
    with OnnxRuntimeBackend(data, signature(parts.bank), sampling.patch) as backend:
        scores = [backend.infer(sampling.cut(image)[None]).scores[0] for image in golden.golden_images().values()]
    promised = manifest(golden.promise([float(score) for score in scores], 1e-3))
    replace(promised, sampling=sampling, format_version=format_version).write(folder, ["model.onnx", "bank.npz"])
    return folder


def expected_votes(patches: np.ndarray) -> np.ndarray:
    """The votes [N,K] of patches [N,P,32,32,3] uint8, computed with numpy in float64."""
    parts = weights()
    pixels = patches.astype(np.float64) / 255
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    active = np.maximum(np.einsum("npyxcij,ocij->npoyx", windows, parts.conv.astype(np.float64)), 0)
    features = active.mean((3, 4)).mean(1)
    hidden = np.maximum((features @ parts.query)[:, None] + parts.bank.terms[None], 0)
    return hidden @ parts.out + parts.bank.scores


def direct_graph(parts: Weights | None = None) -> onnx.ModelProto:
    """The same network as one of the direct family: the score from the image's own half of the regressor."""
    model = graph(parts)
    body, kept = model.graph, 12  # the nodes up to `q`
    del body.node[kept:]
    node = helper.make_node
    body.node.extend(
        [
            node("Add", ["q", "bias"], ["sum"]),
            node("Relu", ["sum"], ["terms"]),
            node("MatMul", ["terms", "out"], ["raw"]),
            node("Add", ["raw", "mean"], ["score"]),
        ]
    )
    body.initializer.append(numpy_helper.from_array(np.array(2.5, np.float32), "mean"))
    del body.input[1:]
    del body.output[1]
    onnx.checker.check_model(model, full_check=True)
    return model


def write_direct(folder: Path) -> Path:
    """A model folder of the direct family: no bank."""
    folder.mkdir(parents=True, exist_ok=True)
    data = direct_graph().SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    with OnnxRuntimeBackend(data, Signature(OUTPUTS), SAMPLING.patch) as backend:
        scores = [backend.infer(SAMPLING.cut(image)[None]).scores[0] for image in golden.golden_images().values()]
    promised = manifest(golden.promise([float(score) for score in scores], 1e-3))
    replace(promised, name="tiny-direct", family="direct", bank={}).write(folder, ["model.onnx"])
    return folder
