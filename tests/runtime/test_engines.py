"""An engine is compared with this machine before its plan is loaded; what does not fit is refused with the way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from engine_makers import CARD, HERE, ONNX, PLAN, place
from image_makers import assert_refused

import pscr
from pscr.runtime import devices, gpus
from pscr.runtime.bank import Bank
from pscr.runtime.engines import Engine, choose, files
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.pscr import signature


def test_the_file_name_says_what_it_is(tmp_path: Path) -> None:
    assert place(tmp_path).path.name == "nvidia-geforce-rtx-4090-sm89-tensorrt10.16.1.11-fp16.engine"
    portable = place(tmp_path, gpu="", library="tensorrt_rtx", compute_capabilities=["8.6", "8.9"])
    assert portable.path.name == "any-sm86+sm89-tensorrt_rtx10.16.1.11-fp16.engine"
    assert [path.name for path in files(tmp_path)] == sorted(
        path.name for path in (tmp_path / "engines").glob("*.engine")
    )


def test_an_engine_that_fits_has_no_obstacle_and_gives_its_plan(tmp_path: Path) -> None:
    engine = place(tmp_path)
    assert engine.obstacle(ONNX, HERE, CARD) == ""
    assert engine.plan() == PLAN
    assert choose(tmp_path, ONNX, HERE, CARD) == engine


@pytest.mark.parametrize(
    ("changes", "found", "needed"),
    [
        ({"onnx_sha256": "c" * 64}, "cccccccccccc", "aaaaaaaaaaaa"),
        ({"library_version": "10.15.0.1"}, "tensorrt 10.15.0.1", "10.16.1.11"),
        ({"library_version": "11.0.0.114"}, "tensorrt 11.0.0.114", "10.16.1.11"),
        ({"library": "tensorrt_rtx", "library_version": "1.2.0.54"}, "tensorrt_rtx 1.2.0.54", "1.7.1.116"),
        ({"compute_capabilities": ["8.6", "12.0"]}, "8.6, 12.0", "8.9"),
        ({"gpu": "NVIDIA L40S"}, "NVIDIA L40S", "RTX 4090"),
        ({"bank_inside": True}, "the bank inside", "takes a bank"),
    ],
)
def test_what_does_not_fit_says_found_needed_and_how_to_rebuild(
    tmp_path: Path, changes: dict[str, Any], found: str, needed: str
) -> None:
    place(tmp_path, **changes)
    with pytest.raises(PscrError) as caught:
        choose(tmp_path, ONNX, HERE, CARD)
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, f"found an engine {'with' if 'bank' in found else ''}", found)
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "needed", needed, f"pscr export engine {tmp_path}")


def test_an_engine_of_a_library_that_is_not_installed_names_the_extra(tmp_path: Path) -> None:
    place(tmp_path)
    with pytest.raises(PscrError) as caught:
        choose(tmp_path, ONNX, {}, CARD)
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "tensorrt 10.16.1.11", "pip install 'pscr[trt]'")


@pytest.mark.parametrize(
    ("plan", "words"),
    [(PLAN[:-1], ("599 bytes", "needed 600")), (PLAN[:-1] + b"!", ("sha256", "damaged")), (b"", ("0 bytes",))],
)
def test_a_damaged_plan_is_refused_unread(tmp_path: Path, plan: bytes, words: tuple[str, ...]) -> None:
    engine = place(tmp_path, plan)
    with pytest.raises(PscrError) as caught:
        engine.plan()
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "found", "needed", "pscr export engine", *words)


def test_the_sidecar_of_another_engine_does_not_pass(tmp_path: Path) -> None:
    one, other = place(tmp_path), place(tmp_path, b"another plan", precision="fp32", plan_size=12, plan_sha256="d" * 64)
    other.path.with_name(other.path.name + ".json").write_bytes(
        one.path.with_name(one.path.name + ".json").read_bytes()
    )
    with pytest.raises(PscrError) as caught:
        Engine.read(other.path).plan()
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "12 bytes", "needed 600")


@pytest.mark.parametrize(
    "damage",
    [
        lambda entries: entries.pop("library"),
        lambda entries: entries.update(plan_size="600"),
        lambda entries: entries.update(plan_size=True),
        lambda entries: entries.update(profile=[]),
        lambda entries: entries.update(compute_capabilities=[]),
        lambda entries: entries.update(precision="fp8"),
        lambda entries: entries.update(library="tensorflow"),
        lambda entries: entries.update(format_version=99),
        lambda entries: entries.update(format_version=None),
    ],
)
def test_a_sidecar_that_cannot_be_used_is_refused(tmp_path: Path, damage: Any) -> None:
    path = place(tmp_path).path
    beside = path.with_name(path.name + ".json")
    entries = json.loads(beside.read_text())
    damage(entries)
    beside.write_text(json.dumps(entries))
    with pytest.raises(PscrError) as caught:
        Engine.read(path)
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, path.name, "sidecar")


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_a_sidecar_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    path = place(tmp_path).path
    path.with_name(path.name + ".json").write_text(text)
    with pytest.raises(PscrError) as caught:
        Engine.read(path)
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "sidecar")


def test_an_engine_without_a_sidecar_is_refused(tmp_path: Path) -> None:
    path = place(tmp_path).path
    path.with_name(path.name + ".json").unlink()
    with pytest.raises(PscrError) as caught:
        choose(tmp_path, ONNX, HERE, CARD)
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "no usable sidecar")


def test_half_precision_is_chosen_before_full_and_int8_only_where_nothing_else_fits(tmp_path: Path) -> None:
    place(tmp_path, precision="int8")
    assert choose(tmp_path, ONNX, HERE, CARD).sidecar.precision == "int8"
    place(tmp_path, precision="fp32")
    assert choose(tmp_path, ONNX, HERE, CARD).sidecar.precision == "fp32"
    place(tmp_path, precision="fp16")
    assert choose(tmp_path, ONNX, HERE, CARD).sidecar.precision == "fp16"


@pytest.mark.skipif(bool(gpus.find().found), reason="a GPU is here")
def test_without_a_gpu_no_library_is_loaded_and_the_reason_is_the_drivers(own_model: Path) -> None:
    place(own_model)
    with pytest.raises(PscrError) as caught:
        pscr.open(own_model, device="tensorrt")
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, "'tensorrt'", "NVIDIA driver", "use cpu")


def test_a_model_without_engines_says_how_to_build_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "find", lambda: gpus.Gpus((CARD,), "13.0"))
    with pytest.raises(PscrError) as caught:
        devices.connect("tensorrt", devices.Model(b"", signature(Bank.placeholder(8)), 32, 1, tmp_path))
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, "has none", "pscr export engine")
    with pytest.raises(PscrError) as caught:
        devices.connect("tensorrt:3", devices.Model(b"", signature(Bank.placeholder(8)), 32, 1, tmp_path))
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, "GPU 3", "lists 1")


def test_an_engine_of_before_has_no_static_profiles(tmp_path: Path) -> None:
    """Those were written before engines had any; what a later version adds is passed over."""
    engine = place(tmp_path)
    file = engine.path.with_name(f"{engine.path.name}.json")
    entries = json.loads(file.read_text())
    del entries["static"]
    file.write_text(json.dumps(entries | {"later": 1}))
    assert Engine.read(engine.path).sidecar.static == []
    file.write_text(json.dumps(entries | {"static": [1, 2]}))
    with pytest.raises(PscrError, match="whose static cannot be used"):
        Engine.read(engine.path)
