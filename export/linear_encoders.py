"""The encoders of CONTRIQUE, ARNIQA and Re-IQA: ResNet50 in each one's own checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..runtime.errors import PscrError, Status
from ..training.backbones import find
from ..training.backbones.base import Backbone
from ..training.model import load_encoder
from .checkpoint_file import read_checkpoint

BACKBONE = "resnet50"
_WRAPPERS = ("model", "model_state_dict", "state_dict")
_NUMBERED = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


@dataclass(frozen=True)
class Layout:
    """How a method's checkpoint names the tensors of its encoder.

    trunk: what stands before their names. numbered: whether the parts have numbers in place of torchvision's names.
    ignored: how the names of what serves training alone begin. around: what may stand before all of them.
    """

    method: str
    trunk: str
    numbered: bool
    ignored: str
    around: tuple[str, ...] = ("module.",)

    def split(self, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """The encoder's tensors by torchvision's names, and the names of those that are neither its nor ignored."""
        encoder, others = {}, []
        for key, value in state.items():
            name = key
            for prefix in self.around:
                name = name.removeprefix(prefix)
            first, dot, rest = name.removeprefix(self.trunk).partition(".")
            part = _NUMBERED.get(first, "") if self.numbered else first
            if name.startswith(self.trunk) and part:
                encoder[part + dot + rest] = value
            elif not name.startswith(self.ignored):
                others.append(key)
        return encoder, others


CONTRIQUE = Layout("contrique", "encoder.", True, "projector.")
ARNIQA = Layout("arniqa", "model.", True, "projector.", ("module.", "encoder."))  # its SimCLR has an `encoder`
REIQA = Layout("reiqa", "encoder.", False, "head.")
LAYOUTS = (CONTRIQUE, ARNIQA, REIQA)


def read_encoder(file: Path, layout: Layout) -> Backbone:
    """The encoder of a checkpoint, in evaluation mode; every tensor of the file is used once or is named as ignored.

    Raises:
        PscrError: FILE_NOT_FOUND; MODEL_INVALID: not such a checkpoint, another method's, or another network's, naming
            the first tensor that is missing, unexpected or of another shape.
    """
    held = read_checkpoint(file, f"the encoder of {layout.method}")
    state = _state(held)
    if state is None:
        keys = ", ".join(map(str, held)) if isinstance(held, dict) else type(held).__name__
        found = f"{file}: holds {keys[:200] or 'nothing'}"
        raise PscrError(Status.MODEL_INVALID, f"{found}; expected the state dict of {layout.method}")
    fitting = [one.method for one in LAYOUTS if "conv1.weight" in one.split(state)[0]]
    if fitting and layout.method not in fitting:
        found = f"{file}: names its tensors as {fitting[0]} does"
        raise PscrError(Status.MODEL_INVALID, f"{found}; use pscr import {fitting[0]}")
    tensors, others = layout.split(state)
    if others:
        found = f"{file}: unexpected key {others[0]!r}"
        raise PscrError(Status.MODEL_INVALID, f"{found}; is this another method's checkpoint than {layout.method}'s?")
    encoder = find(BACKBONE).build()
    load_encoder(encoder, tensors, f"{file}: {layout.method} encoder")
    return encoder.eval()


def _state(held: Any) -> dict[str, Tensor] | None:
    """The state dict that a checkpoint is, or that it has beside other things."""
    if not isinstance(held, dict):
        return None
    inner = next((held[key] for key in _WRAPPERS if isinstance(held.get(key), dict)), held)
    tensors = bool(inner) and all(isinstance(value, Tensor) for value in inner.values())
    return {str(key): value for key, value in inner.items()} if tensors else None
