"""`pscr models`, `pscr info` and `pscr verify`: what a model is, and whether it is still what it was."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..console import columns, error, one_line, out
from ..describe import described, runs_on
from ..runtime import verification
from ..runtime.errors import PscrError
from ..runtime.manifest import Manifest
from ..runtime.models import PACKAGED, locate, packaged
from ..runtime.scorer import open as open_scorer
from ..voting import votes
from . import options as shared

FAILED = 3
LISTED = ("name", "version", "backbone", "precision", "database", "bank", "SRCC", "PLCC", "path")


def add(verbs: shared.Verbs) -> None:
    shared.add_verb(verbs, "models", "list the models that come with this installation", models)
    about = shared.add_verb(verbs, "info", "say what a model is, how it was trained and how its scores read", info)
    check = shared.add_verb(
        verbs, "verify", "check a model's files against their hashes, then its scores against recorded ones", verify
    )
    for command in (about, check):
        shared.model_name(command)
        shared.device(command, precision=False)
    shared.bank(about)
    shared.json(about)


def models(options: argparse.Namespace) -> int:
    """List the installed models; returns 3 where there are none or one of them cannot be read."""
    rows: list[tuple[str, ...]] = []
    broken: list[str] = []
    for name in packaged():
        try:
            rows.append(_listed(Manifest.read(PACKAGED / name), PACKAGED / name))
        except PscrError as problem:
            broken.append(problem.message)
    if rows:
        for line in columns([LISTED, *rows], right=frozenset({5})):
            out(line)
    for message in broken:
        error(message)
    if not rows and not broken:
        error(f"no models in {PACKAGED}; expected the package's own; install pscr again, or name a model's folder")
    return 0 if rows and not broken else FAILED


def info(options: argparse.Namespace) -> int:
    """Describe a model and what would run it here.

    Raises:
        PscrError: the model or the device cannot be used.
    """
    with open_scorer(options.model, options.device, **votes(options)) as scorer:
        facts, manifest, calibration = scorer.info, scorer.manifest, scorer.calibration
        lines = described(scorer)
    if options.json:
        facts["calibration"] = calibration.to_dict() if calibration else None
        facts = {**facts, "bank_selection": manifest.bank.get("selection"), "parity": manifest.parity}
        facts["files"] = {name: asdict(entry) for name, entry in manifest.files.items()}
        out(json.dumps(facts, indent=2, ensure_ascii=True))
        return 0
    for name, entry in manifest.files.items():
        lines[f"file {name}"] = f"{entry.size / 1e6:.1f} MB, sha256 {entry.sha256}"
    for line in columns(lines.items()):
        out(one_line(line))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check every file's size and hash, then the scores that the manifest promises; returns 0 or 3.

    Raises:
        PscrError: the manifest cannot be read, the device cannot be used, or no scores are promised.
    """
    folder = locate(options.model)
    manifest = Manifest.read(folder)
    failures = [message for name in manifest.files if (message := _check_file(manifest, folder, name))]
    if not failures:
        failures = _check_scores(options)
    for message in failures:
        error(message)
    return FAILED if failures else 0


def _listed(manifest: Manifest, folder: Path) -> tuple[str, ...]:
    srcc, plcc = (_metric(manifest.training.get("metrics"), key) for key in ("srcc", "plcc"))
    size = str(manifest.bank.get("size", "-"))
    named = (manifest.name, manifest.version, manifest.backbone, manifest.precision, manifest.score.database)
    return (*named, size, srcc, plcc, str(folder))


def _metric(metrics: Any, key: str) -> str:
    """A figure of the training record: one protocol's, or the first of several that has it; `-` where none has."""
    if isinstance(metrics, dict):
        for name, value in metrics.items():
            if str(name).lower() == key and isinstance(value, (int, float)):
                return f"{value:.3f}"
        metrics = list(metrics.values())
    inner = (_metric(entry, key) for entry in metrics or () if isinstance(entry, (dict, list)))
    return next((figure for figure in inner if figure != "-"), "-")


def _check_file(manifest: Manifest, folder: Path, name: str) -> str:
    """Report on one file; returns the failure in words, or nothing."""
    try:
        data = manifest.read_verified(folder, name)
    except PscrError as problem:
        out(f"file   FAILED  {one_line(name)}")
        return problem.message
    out(f"file   ok      {one_line(name)}, {len(data)} bytes, sha256 {manifest.files[name].sha256}")
    return ""


def _check_scores(options: argparse.Namespace) -> list[str]:
    """Report on each promised score; returns the failures in words."""
    failures = []
    with open_scorer(options.model, options.device) as scorer:
        checked, tolerance = verification.check(scorer), verification.tolerance(scorer.manifest)
        where = runs_on(scorer.info)
        for name, promised, found in checked:
            difference = abs(found - promised)
            good = math.isfinite(difference) and difference <= tolerance
            numbers = f"expected {promised:.6f}, found {found:.6f}, difference {difference:.1e}"
            out(f"score  {'ok    ' if good else 'FAILED'}  {name}: {numbers} (tolerance {tolerance:g})")
            if not good:
                advice = (
                    f"{where} does not compute this model as its export did; try another --device or library version"
                )
                failures.append(f"{name}: {numbers}, tolerance {tolerance:g}; {advice}")
    out(f"ran    {where}")
    return failures
