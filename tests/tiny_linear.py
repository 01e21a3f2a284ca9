"""A tiny model folder of the family linear, made without torch: images of any size, eight features.

/255 -> Conv 3x3 stride 2 (8 channels) -> ReLU -> global average: the features, on which regressors vote.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import tiny_model as tiny
from onnx import TensorProto, helper, numpy_helper

from pscr.runtime.families.linear import CONSTANTS, OUTPUTS, REGRESSOR
from pscr.runtime.manifest import Manifest
from pscr.runtime.regressor import Regressor
from pscr.runtime.samplings import Whole
from pscr.runtime.score_scale import ScoreScale

SAMPLING = Whole(longest=600)
LOSS = ScoreScale("quality lost", "made up", (0.0, 100.0), higher_is_better=False)


def regressor(count: int = 1, width: int = tiny.WIDTH) -> Regressor:
    """Regressors of random weights; their scores say how much quality is lost."""
    rng = np.random.default_rng(count)
    return Regressor(
        rng.normal(0, 30, (count, width)).astype(np.float32), rng.normal(50, 3, count).astype(np.float32), LOSS
    )


def graph(height: str | int = "H", width: str | int = "W") -> onnx.ModelProto:
    """The score graph."""
    node, value = helper.make_node, helper.make_tensor_value_info
    constants = {
        "scale": np.array(1 / 255, np.float32),
        "conv": tiny.weights().conv,
        "one": np.array([1], np.int64),
        "space": np.array([2, 3], np.int64),
    }
    nodes = [
        node("Cast", ["patches"], ["pixels"], to=TensorProto.FLOAT),
        node("Squeeze", ["pixels", "one"], ["images"]),
        node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
        node("Mul", ["planes", "scale"], ["scaled"]),
        node("Conv", ["scaled", "conv"], ["edges"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["edges"], ["active"]),
        node("ReduceMean", ["active", "space"], ["terms"], keepdims=0),
        node("Transpose", ["weights"], ["columns"], perm=[1, 0]),
        node("MatMul", ["terms", "columns"], ["products"]),
        node("Add", ["products", "intercepts"], ["votes"]),
        node("ReduceMean", ["votes", "one"], ["score"], keepdims=0),
    ]
    shapes = (["N"], ["N", "K"], ["N", tiny.WIDTH])
    body = helper.make_graph(
        nodes,
        "tiny",
        [
            value("patches", TensorProto.UINT8, ["N", 1, height, width, 3]),
            value(CONSTANTS[0], TensorProto.FLOAT, ["K", tiny.WIDTH]),
            value(CONSTANTS[1], TensorProto.FLOAT, ["K"]),
        ],
        [value(name, TensorProto.FLOAT, shape) for name, shape in zip(OUTPUTS, shapes, strict=True)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def manifest() -> Manifest:
    """The manifest, before its files are known."""
    entry = {"name": "tiny-linear", "family": "linear", "bank": {"features": tiny.WIDTH}}
    return replace(tiny.manifest(), sampling=SAMPLING, score=LOSS, **entry)


def write(folder: Path, count: int = 1, model: onnx.ModelProto | None = None) -> Path:
    """A model folder with `count` regressors; 0 for none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes((model or graph()).SerializeToString())
    files = ["model.onnx"]
    if count:
        regressor(count).write(folder / REGRESSOR)
        files.append(REGRESSOR)
    manifest().write(folder, files)
    return folder


def features(image: np.ndarray) -> np.ndarray:
    """The features [8] of an image [H,W,3] uint8, computed with numpy in float64."""
    pixels = np.pad(image.astype(np.float64) / 255, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(0, 1))[::2, ::2]
    return np.maximum(np.einsum("yxcij,ocij->oyx", windows, tiny.weights().conv.astype(np.float64)), 0).mean((1, 2))


def expected(image: np.ndarray, count: int = 1) -> np.ndarray:
    """The votes [K] for an image [H,W,3] uint8, computed with numpy in float64."""
    voters = regressor(count)
    return voters.weights @ features(image) + voters.intercepts
