"""Every call that the builder and the runner make exists in TensorRT 10 and 11, with parameters that take it.

`tensorrt_api.json` was read from the binding wheels of PyPI by `read_tensorrt_api.py`, which says how.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
API = json.loads((Path(__file__).parent / "tensorrt_api.json").read_text())
OBJECTS = {
    "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser", "config": "IBuilderConfig",
    "optimization": "IOptimizationProfile", "runtime": "Runtime", "engine": "ICudaEngine", "layer": "ILayer",
    "_runtime": "Runtime", "_engine": "ICudaEngine", "_context": "IExecutionContext", "context": "IExecutionContext",
}  # fmt: skip
LIBRARY = {"trt", "_trt"}
RTX_ONLY = {"ComputeCapability", "num_compute_capabilities", "set_compute_capability", "CudaGraphStrategy"}
RTX_ONLY |= {"cuda_graph_strategy", "create_runtime_config"}
OURS = {"__version__", "__name__", "__class__"}


class Use(NamedTuple):
    """A member of a class of TensorRT's that the source uses; arguments: how many it is called with, -1 for no call."""

    kind: str
    member: str
    arguments: int


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def uses(file: Path, skipped: tuple[str, ...] = ()) -> Iterator[Use]:
    """What a source file uses, by the names it gives the library's objects; `skipped` functions use other engines."""
    tree = ast.parse(file.read_text())
    outside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and f.name in skipped for n in ast.walk(f)
    }
    calls = {
        id(node.func): len(node.args) + len(node.keywords) for node in ast.walk(tree) if isinstance(node, ast.Call)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or id(node) in outside or node.attr in OURS:
            continue
        owner = name_of(node.value)
        if owner in OBJECTS:
            yield Use(OBJECTS[owner], node.attr, calls.get(id(node), -1))
        elif isinstance(node.value, ast.Attribute) and name_of(node.value.value) in LIBRARY:
            yield Use(owner, node.attr, calls.get(id(node), -1))
        elif owner in LIBRARY:
            yield Use(node.attr, "", -1)


USED = sorted(
    {
        *uses(ROOT / "export" / "trt_builder.py"),
        *uses(ROOT / "runtime" / "backends" / "tensorrt_backend.py", ("__init__", "release")),
        *uses(ROOT / "runtime" / "backends" / "tensorrt_context.py", ("__init__", "_configured", "close", "free")),
    }
)
CHECKED = [use for use in USED if not RTX_ONLY & {use.kind, use.member}]


def test_the_scan_finds_what_is_there() -> None:
    found = {(use.kind, use.member) for use in USED}
    assert {
        ("Builder", "build_serialized_network"),
        ("INetworkDefinition", "get_layer"),
        ("IBuilderConfig", "clear_flag"),
        ("BuilderFlag", "TF32"),
        ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_device_memory"),
        ("ICudaEngine", "get_device_memory_size_for_profile_v2"),
        ("ICudaEngine", "get_tensor_profile_shape"),
    } <= found
    assert len(CHECKED) > 40


@pytest.mark.parametrize("version", API)
@pytest.mark.parametrize("use", CHECKED, ids=lambda use: f"{use.kind}.{use.member}".rstrip("."))
def test_a_use_is_there_in_each_version(use: Use, version: str) -> None:
    assert use.kind in API[version], "not in the table: add it to read_tensorrt_api.py and read the wheels again"
    if not use.member:
        return
    members = API[version][use.kind] | (API[version]["IConvolutionLayer"] if use.kind == "ILayer" else {})
    if use.kind == "ILogger" and use.member == "__init__":
        return
    assert use.member in members, f"{use.kind} of TensorRT {version} has no {use.member}"
    overloads = members[use.member]
    if use.arguments < 0 or not overloads:
        return
    counts = [(len([p for p in ps if not p.endswith("=")]) - 1, len(ps) - 1) for ps in overloads]
    assert any(low <= use.arguments <= high for low, high in counts), f"{use.member} takes {overloads}"


def test_what_version_11_removed_is_not_used() -> None:
    removed = set(API["10.16.1.11"]["BuilderFlag"]) - set(API["11.4.0.106"]["BuilderFlag"])
    assert {"FP16", "INT8"} <= removed, "or this test shows nothing"
    assert not removed & {use.member for use in USED}
