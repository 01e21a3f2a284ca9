"""What an open model, its scores and this machine's GPUs are, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .runtime.gpus import Gpus

if TYPE_CHECKING:
    from .runtime.scorer import Scorer


def title(scorer: Scorer, votes: str | None = None) -> str:
    """The table's first line: the model, how to read its scores, and what runs it.

    votes: the file of what votes where that is not the model's own.
    """
    manifest = scorer.manifest
    own = f"by {votes}; " if votes else ""
    return f"model {manifest.name} {manifest.version} ({own}{scorer.scale}); {runs_on(scorer.info)}"


def described(scorer: Scorer) -> dict[str, str]:
    """What an open model is, how it was trained and what runs it, in words."""
    facts, manifest = scorer.info, scorer.manifest
    lines = {
        "model": f"{manifest.name} {manifest.version}",
        "folder": facts["folder"],
        "backbone": f"{manifest.backbone}, {manifest.precision}",
        "score": f"{scorer.scale.meaning}; {scorer.scale}",
        "patches": str(manifest.sampling),
        **scorer.head.lines(),
        "interval": facts["interval"] or f"not calibrated{': the spread is no error bar' * scorer.head.has_spread}",
        **({"diagnosis": ", ".join(facts["diagnosis"])} if facts["diagnosis"] else {}),
        "runs on": runs_on(facts),
        **{f"and not {name}": reason for name, _, reason in (one.partition(": ") for one in facts["passed_over"])},
        "licence": manifest.licence,
    }
    lines |= {f"training {key}": _worded(value) for key, value in manifest.training.items()}
    return lines | {f"parity {key}": _worded(value) for key, value in manifest.parity.items()}


def runs_on(facts: dict[str, Any]) -> str:
    """What a Scorer's `info` says of library, device and provider, such as `onnxruntime 1.31.0 on cpu`."""
    return f"{facts['library']} on {facts['device']} ({facts['provider']}, {facts['threads']} CPU threads)"


def gpu_names(gpus: Gpus) -> list[str]:
    """Each GPU such as `0: NVIDIA H200, compute capability 9.0, 139.8 GiB, driver for CUDA 13.0`."""
    return [
        f"{gpu.index}: {gpu.name}, compute capability {gpu.compute_capability}, {gpu.memory / 2**30:.1f} GiB, "
        f"driver for CUDA {gpus.cuda}"
        for gpu in gpus.found
    ]


def _worded(value: Any) -> str:
    """A manifest's value on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_worded(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "; ".join(map(_worded, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
