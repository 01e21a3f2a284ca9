"""Engines of a model folder: what their sidecars say, and which of them may be loaded here (DESIGN 4 and 7).

An engine file is a plain plan, as TensorRT wrote it. What it is stands in the sidecar beside it, `NAME.engine.json`,
and is compared with this machine before a byte of the plan reaches the library.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from .errors import PscrError, Status, one_line
from .gpus import Gpu

FORMAT_VERSION = 1
FOLDER = "engines"
LIBRARIES = ("tensorrt", "tensorrt_rtx")
PREFERRED = ("fp16", "fp32", "int8")  # int8 comes last because it changes scores
EXTRAS = {"tensorrt": "trt", "tensorrt_rtx": "rtx"}


@dataclass(frozen=True)
class Sidecar:
    """What an engine is.

    library, library_version: which of `LIBRARIES` built it, and alone can load it.
    gpu: the GPU's name that it was built on and for; empty where it was built without one.
    compute_capabilities: of the GPUs it runs on, such as ["8.9"].
    precision: of the trunk, as the network's types had it: fp32, fp16 or int8.
    profile: each input's smallest, best and largest shape.
    bank_inside: whether the exemplars are constants of the engine, for other programs than this one.
    onnx_sha256: of the model folder's model.onnx; graph_sha256: of the graph that was built, in its precision.
    plan_sha256, plan_size: of the engine file itself. build_seconds: wall clock. built: ISO date and time, UTC.
    static: the shapes of `patches` that the engine's further profiles are for, each alone and with the model's own
        constants, in their order; engines of before have none.
    parity: what converting the graph from fp32 changed, on which images, as a manifest says it; empty where it was not
        converted, and in engines of before.
    """

    library: str
    library_version: str
    gpu: str
    compute_capabilities: list[str]
    precision: str
    profile: dict[str, list[list[int]]]
    bank_inside: bool
    onnx_sha256: str
    graph_sha256: str
    plan_sha256: str
    plan_size: int
    build_seconds: float
    built: str
    format_version: int = FORMAT_VERSION
    static: list[list[int]] = field(default_factory=list)
    parity: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The engine's file name: <gpu>-<sm>-<library><version>-<precision>.engine."""
        gpu = re.sub(r"[^a-z0-9]+", "-", self.gpu.lower()).strip("-") or "any"
        sm = "+".join("sm" + capability.replace(".", "") for capability in self.compute_capabilities)
        baked = "-bank" if self.bank_inside else ""
        return f"{gpu}-{sm}-{self.library}{self.library_version}-{self.precision}{baked}.engine"

    def write(self, folder: Path) -> Path:
        """Write the sidecar of the engine `name` in `folder`; gives its path."""
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n", "utf-8")
        return path


@dataclass(frozen=True)
class Engine:
    """An engine file and its sidecar."""

    path: Path
    sidecar: Sidecar

    @classmethod
    def read(cls, path: Path) -> Engine:
        """Read the sidecar of an engine file.

        Raises:
            PscrError: ENGINE_INCOMPATIBLE where it is missing, no sidecar, or of a newer format.
        """
        file = path.with_name(path.name + ".json")
        try:
            entries = json.loads(file.read_bytes())
            newer = entries["format_version"] > FORMAT_VERSION
            hints = get_type_hints(Sidecar)
            values = {one.name: entries[one.name] for one in fields(Sidecar) if one.name in entries or _needed(one)}
            wrong = [name for name, value in values.items() if not _is(value, hints[name])]
            wrong += [
                key for key, known in (("library", LIBRARIES), ("precision", PREFERRED)) if values[key] not in known
            ]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _incompatible(
                path, f"has no usable sidecar {file.name} ({one_line(error)})", "build it again"
            ) from error
        if newer:
            found = f"has a sidecar of format {entries['format_version']}"
            raise _incompatible(path, f"{found}; this pscr reads up to {FORMAT_VERSION}", "upgrade pscr")
        if wrong:
            raise _incompatible(path, f"has a sidecar whose {', '.join(wrong)} cannot be used", "build it again")
        return cls(path, Sidecar(**values))

    def obstacle(self, onnx_sha256: str, libraries: Mapping[str, str], gpu: Gpu | None) -> str:
        """Why this engine may not be loaded here, as "found ...; needed ..."; empty where it may.

        onnx_sha256: of the model folder's model.onnx now. libraries: versions of the installed `LIBRARIES`.
        gpu: what it would run on; None where there is none.
        """
        car = self.sidecar
        if car.bank_inside:
            return "found an engine with the bank inside, for other programs; needed one that takes a bank"
        if car.onnx_sha256 != onnx_sha256:
            return f"found an engine of a model.onnx {car.onnx_sha256[:12]}...; needed one of {onnx_sha256[:12]}..."
        version = libraries.get(car.library)
        if version is None:
            return (
                f"found an engine of {car.library} {car.library_version}; needed {car.library}, not installed here: "
                f"pip install 'pscr[{EXTRAS.get(car.library, 'trt')}]'"
            )
        if version != car.library_version:
            return f"found an engine of {car.library} {car.library_version}; needed one of {version}, installed here"
        if gpu is None:
            return "found no NVIDIA GPU; needed one to run an engine on"
        if gpu.compute_capability not in car.compute_capabilities:
            return (
                f"found an engine for compute capability {', '.join(car.compute_capabilities)}; "
                f"needed {gpu.compute_capability} ({gpu.name})"
            )
        if car.gpu and car.gpu != gpu.name:
            return f"found an engine that was built on {car.gpu}; needed one of {gpu.name}"
        return ""

    def plan(self) -> bytes:
        """The plan's bytes, checked against the sidecar.

        Raises:
            PscrError: ENGINE_INCOMPATIBLE where the file is missing, cut short or changed.
        """
        car = self.sidecar
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise _incompatible(self.path, f"cannot be read ({error.strerror})", self.rebuild()) from error
        if len(data) != car.plan_size:
            raise _incompatible(
                self.path, f"found {len(data)} bytes; needed {car.plan_size}: the plan is damaged", self.rebuild()
            )
        digest = hashlib.sha256(data).hexdigest()
        if digest != car.plan_sha256:
            found = (
                f"found sha256 {digest[:12]}...; needed {car.plan_sha256[:12]}...: the plan is damaged, or another's"
            )
            raise _incompatible(self.path, found, self.rebuild())
        return data

    def rebuild(self) -> str:
        """The command that builds this engine again."""
        folder = self.path.parent.parent if self.path.parent.name == FOLDER else Path("MODEL")
        return rebuild(folder, self.sidecar.precision, self.sidecar.library)


def rebuild(folder: Path, precision: str = "fp16", library: str = "tensorrt") -> str:
    """The command that builds an engine of a model folder."""
    return f"build it again: pscr export engine {shlex.quote(str(folder))} --library {library} --precision {precision}"


def files(folder: Path) -> list[Path]:
    """The engine files of a model folder."""
    return sorted((folder / FOLDER).glob("*.engine"))


def choose(folder: Path, onnx_sha256: str, libraries: Mapping[str, str], gpu: Gpu) -> Engine:
    """The engine of a model folder to run on a GPU: of those that may, in the order of `PREFERRED`, then the newest.

    Raises:
        PscrError: ENGINE_INCOMPATIBLE where none may; the message says why, and how to build one that does.
    """
    usable, obstacles = [], []
    for path in files(folder):
        try:
            engine = Engine.read(path)
        except PscrError as error:
            obstacles.append(error.message)
            continue
        obstacle = engine.obstacle(onnx_sha256, libraries, gpu)
        if obstacle:
            obstacles.append(f"{path.name}: {obstacle}; {engine.rebuild()}")
        else:
            usable.append(engine)
    if not usable:
        first, more = obstacles[0], len(obstacles) - 1
        others = f" (and {more} more that do not fit; see pscr engines)" if more else ""
        raise PscrError(Status.ENGINE_INCOMPATIBLE, first + others)
    newest = sorted(usable, key=lambda engine: engine.sidecar.built, reverse=True)
    return min(newest, key=lambda engine: PREFERRED.index(engine.sidecar.precision))


def _needed(one: Field[Any]) -> bool:
    """Whether a sidecar must have a field."""
    return one.default is MISSING and one.default_factory is MISSING


def _is(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a field's type."""
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in (str, bool, int):
        return type(value) is kind
    if kind == list[str]:
        return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    if kind == dict[str, Any]:
        return isinstance(value, dict)
    if kind == list[list[int]]:
        return isinstance(value, list) and all(isinstance(shape, list) for shape in value)
    return isinstance(value, dict) and all(
        isinstance(shapes, list) and len(shapes) == 3 and all(isinstance(shape, list) for shape in shapes)
        for shapes in value.values()
    )


def _incompatible(path: Path, found: str, advice: str) -> PscrError:
    return PscrError(Status.ENGINE_INCOMPATIBLE, f"{path.name}: {found}; {advice}")
