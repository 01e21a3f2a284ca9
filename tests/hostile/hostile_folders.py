"""How the tests make damaged and hostile model folders, and what every one of them must lead to."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_model as tiny
from onnx import TensorProto

import pscr
from pscr.runtime.manifest import FILE_NAME, Manifest

ADVICE = ("again", "expected", "upgrade", "do not use", "another program", "built with this model")
INF = "1e999"
CALIBRATION: dict[str, Any] = {
    "levels": [0.5, 0.9], "factors": [1.0, 2.0], "coverage": [0.5, 0.9], "pair_deviation": 0.4,
    "spread_correlation": 0.1, "images": 100, "protocol": "made up",
}  # fmt: skip
DEEP = functools.reduce(lambda inner, _: [inner], range(400), [])


def short(value: Any) -> str:
    """A name for a test's case."""
    return ascii(value)[:30]


def assert_invalid(folder: Path, *words: str, device: str = "cpu") -> None:
    """Opening gives MODEL_INVALID and one line with these words and some advice."""
    with pytest.raises(pscr.PscrError) as caught:
        pscr.open(folder, device=device, threads=1)
    message = str(caught.value)
    assert caught.value.status is pscr.Status.MODEL_INVALID, message
    assert "\n" not in message
    assert len(message) < 1000
    assert all(word in message for word in words), message
    assert any(advice in message for advice in ADVICE), message


def seal(folder: Path) -> None:
    """Give the manifest the sizes and hashes of the files as they are now."""
    Manifest.read(folder).write(folder, ["model.onnx", "bank.npz"])


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest's JSON; the text 1e999 becomes the number."""
    entries = json.loads((folder / FILE_NAME).read_text("utf-8"))
    change(entries)
    (folder / FILE_NAME).write_text(json.dumps(entries).replace(f'"{INF}"', INF), "utf-8")


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change that sets one entry."""

    def change(entries: dict[str, Any]) -> None:
        for key in keys[:-1]:
            entries = entries[key]
        entries[keys[-1]] = value

    return change


def with_graph(folder: Path, data: bytes) -> Path:
    """The folder with another graph, sealed."""
    (folder / "model.onnx").write_bytes(data)
    seal(folder)
    return folder


def with_bank(folder: Path, data: bytes) -> Path:
    """The folder with another bank, sealed."""
    (folder / "bank.npz").write_bytes(data)
    seal(folder)
    return folder


def npz(**arrays: Any) -> bytes:
    """The tiny model's bank with other arrays."""
    bank = tiny.weights().bank
    stream = io.BytesIO()
    np.savez(stream, **{"terms": bank.terms, "scores": bank.scores, "names": np.array(bank.names), **arrays})
    return stream.getvalue()


def initializer(model: onnx.ModelProto, name: str) -> TensorProto:
    """A constant of the graph."""
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)
