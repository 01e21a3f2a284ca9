"""Checkpoints as the published training code writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pscr.training.model import PSCR


def as_published(model: PSCR, file: Path, **changes: object) -> Path:
    """Write a best_model.pt: both state dicts, an optimizer that has run, and the best SRCC as scipy gives it."""
    optimizer = torch.optim.Adam(model.regressor.parameters(), lr=1e-4, weight_decay=1e-5)
    for parameter in model.regressor.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state = {"backbone": model.backbone.state_dict(), "regressor": model.regressor.state_dict()}
    rest = {"epoch": 41, "optimizer": optimizer.state_dict(), "rho_best": np.float64(0.868)}
    torch.save({**state, **rest, **changes}, file)
    return file
