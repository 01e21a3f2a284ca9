"""Checkpoints: safetensors for the tensors, JSON for the rest. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from ..runtime import output_file
from ..runtime.errors import PscrError, Status

Tensors = dict[str, Tensor]


def write(path: Path, tensors: Tensors, meta: dict[str, Any]) -> None:
    """Write tensors and their JSON in one file; the JSON is the safetensors header's metadata entry `json`."""
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    output_file.write(path, save(contiguous, metadata={"json": json.dumps(meta)}))


def read(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write` wrote.

    Raises:
        PscrError: FILE_NOT_FOUND, or MODEL_INVALID for a file that is damaged or not such a checkpoint.
    """
    if not path.is_file():
        raise PscrError(Status.FILE_NOT_FOUND, f"{path}: no such checkpoint; expected one written by pscr train")
    try:
        with safe_open(path, framework="pt") as stream:
            meta = json.loads((stream.metadata() or {})["json"])
            return {key: stream.get_tensor(key) for key in stream.keys()}, meta  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, ValueError) as error:
        raise PscrError(Status.MODEL_INVALID, f"{path}: not a checkpoint of pscr train ({error})") from error


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    """The same tensors with `prefix.` before every key."""
    return {f"{prefix}.{key}": value for key, value in tensors.items()}


def part(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose key starts with `prefix.`, without it."""
    return {key[len(prefix) + 1 :]: value for key, value in tensors.items() if key.startswith(prefix + ".")}


def optimizer_tensors(optimizer: Optimizer) -> Tensors:
    """The optimizer's state as flat tensors: `<parameter index>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value) for index, entry in state.items() for name, value in entry.items()
    }


def restore_optimizer(optimizer: Optimizer, tensors: Tensors) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, Tensors] = {}
    for key, value in tensors.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def average(into: nn.Module, source: nn.Module, decay: float) -> None:
    """Move the averaged weights `into` towards `source`: into = decay * into + (1 - decay) * source.

    Statistics of batch normalisations, which are averages already, are copied.
    """
    with torch.no_grad():
        for mean, value in zip(into.parameters(), source.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for statistic, current in zip(into.buffers(), source.buffers(), strict=True):
            statistic.copy_(current)
