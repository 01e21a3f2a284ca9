"""Mutated model folders, manifests, graphs and banks: python tests/stress/fuzz_models.py [--count 5000] [--seed 1]

Each is refused with MODEL_INVALID or OUT_OF_MEMORY, or opens and gives finite scores, in bounded time and memory.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_model as tiny
from harness import main

import pscr

ALLOWED = (pscr.Status.MODEL_INVALID, pscr.Status.OUT_OF_MEMORY)
VALUES = (None, True, 0, -1, 1e308, 10**30, "", "../x", "\0", [], {}, [[]], "x" * 5000, [0, 32], float("nan"))


@functools.cache
def good() -> dict[str, bytes]:
    """The tiny model's files."""
    with tempfile.TemporaryDirectory() as folder:
        tiny.write(Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bits, lengths or parts of a file changed."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        place, kind = int(rng.integers(0, max(len(changed), 1))), int(rng.integers(0, 5))
        if kind == 0 and changed:
            changed[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            changed[place : place + 4] = struct.pack("<I", int(rng.integers(0, 1 << 32)))
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            changed[place:place] = bytes(changed[place : place + 40]) * int(rng.integers(1, 50))
        else:
            changed[place : place + 16] = rng.bytes(16)
    return bytes(changed)


def other_manifest(data: bytes, rng: np.random.Generator) -> bytes:
    """The manifest with one of its values, anywhere in it, replaced."""
    entries = json.loads(data)
    inner = entries
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = keys[int(rng.integers(0, len(keys)))]
        if isinstance(inner[key], (dict, list)) and inner[key] and rng.random() < 0.7:
            inner = inner[key]
            continue
        inner[key] = VALUES[int(rng.integers(0, len(VALUES)))]
        return json.dumps(entries).encode()


def other_bank(data: bytes, rng: np.random.Generator) -> bytes:
    """The bank with one array damaged inside an archive that is whole."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        chosen = int(rng.integers(0, 3))
        for place, name in enumerate(whole.namelist()):
            archive.writestr(name, damaged(whole.read(name), rng) if place == chosen else whole.read(name))
    return stream.getvalue()


def write(folder: Path, seed: int, number: int) -> None:
    """A model folder with one thing wrong; the hashes fit in three cases of four."""
    rng = np.random.default_rng([seed, number])
    files = dict(good())
    kind = number % 5
    if kind == 0:
        files["manifest.json"] = damaged(files["manifest.json"], rng)
    elif kind == 1:
        files["manifest.json"] = other_manifest(files["manifest.json"], rng)
    elif kind == 2:
        files["model.onnx"] = damaged(files["model.onnx"], rng)
    elif kind == 3:
        files["bank.npz"] = damaged(files["bank.npz"], rng)
    else:
        files["bank.npz"] = other_bank(files["bank.npz"], rng)
    if kind >= 2 and rng.random() < 0.75:
        entries = json.loads(files["manifest.json"])
        for name in ("model.onnx", "bank.npz"):
            entries["files"][name] = {"sha256": hashlib.sha256(files[name]).hexdigest(), "size": len(files[name])}
        files["manifest.json"] = json.dumps(entries).encode()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def case(seed: int, number: int) -> str:
    """Open one and score; its outcome in a word."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), seed, number)
        try:
            with pscr.open(folder, device="cpu", threads=1) as scorer:
                result = scorer.score(np.full((64, 64), 128, np.uint8))
                return "OK" if math.isfinite(result.score) else f"BROKEN: score {result.score}"
        except pscr.PscrError as error:
            allowed = error.status in ALLOWED or (error.status is pscr.Status.INTERNAL and "finite" in error.message)
            if not allowed or "\n" in error.message or len(error.message) > 2000:
                return f"BROKEN: {error.status.name} {error.message[:300]!r}"
            return error.status.name
        except Exception as error:
            return f"BROKEN: {type(error).__name__} {error!r}".replace("\n", " ")[:300]


if __name__ == "__main__":
    sys.exit(main("fuzz_models.py", case, 5_000, gigabytes=2))
