"""The GPU's measurements as far as they need no GPU: limits, the profiler's events, rows, the dense network."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import onnx
import pytest

from pscr.export.graph_costs import Costs, costs
from pscr.runtime.manifest import Manifest
from pscr.runtime.model_folder import ModelFolder

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "gpu"))
import folders
import limits
import measure
import stages

IMAGES = Path(__file__).parents[2] / "examples" / "images"
RATES = limits.Rates({"fp16": 500e12, "fp32": 50e12}, 4e12)


def test_what_is_bound_by_memory_is_measured_by_memory() -> None:
    """10 GFLOP and 400 MB: 20 us of products, 100 us of memory; done in 200 us."""
    found = limits.limit(Costs(10 * 10**9, 400 * 10**6, 0, 0, 0), 0.2, "fp16", RATES)
    assert found == pytest.approx(
        {"matrix_share": 0.1, "memory_share": 0.5, "bound": "memory", "least_ms": 0.1, "of_limit": 0.5}
    )


def test_the_same_network_in_another_precision_has_another_bound() -> None:
    found = limits.limit(Costs(10 * 10**9, 400 * 10**6, 0, 0, 0), 0.4, "fp32", RATES)
    assert found == pytest.approx(
        {"matrix_share": 0.5, "memory_share": 0.25, "bound": "matrix", "least_ms": 0.2, "of_limit": 0.5}
    )
    assert tuple(found) == limits.COLUMNS


def test_launches_are_counted_and_copies_are_not_kernels() -> None:
    events = [
        ("Memcpy HtoD (Pinned -> Device)", 30.0),
        ("sm90_xmma_fprop_implicit_gemm", 50.0),
        ("void cask::convolve<int>", 25.0),
        ("Memset (Device)", 1.0),
        ("Memcpy DtoD (Device -> Device)", 4.0),
        ("Memcpy DtoH (Device -> Pinned)", 2.0),
    ]
    found = stages.summed(events)
    assert found == pytest.approx({"copy_in_ms": 0.03, "kernels_ms": 0.08, "copy_out_ms": 0.002, "launches": 4})
    slower = {**found, "kernels_ms": 9.0, "launches": 7}
    assert stages.median([found, slower, found])["kernels_ms"] == pytest.approx(0.08)
    assert stages.median([found, slower, found])["launches"] == 4
    assert tuple(found) == stages.COLUMNS


@pytest.mark.slow
def test_a_row_says_what_was_measured_and_how_much_of_the_card_that_is(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, with a profiler that has seen something."""
    seen = {"copy_in_ms": 0.1, "kernels_ms": 2.0, "copy_out_ms": 0.1, "launches": 12}
    monkeypatch.setattr(measure.stages, "profiled", lambda work: seen)
    monkeypatch.setattr(measure, "BATCHES", (1, 4))
    found = measure.Measurement(time.monotonic() + 600, RATES)
    found.scorer("a path", tiny_model, "cpu", "", [str(IMAGES)])
    one, many = found.rows
    assert (one["model"], one["path"], one["precision"], many["batch"]) == ("tiny", "a path", "fp32", 4)
    assert {*limits.COLUMNS, *stages.COLUMNS, *measure.HOST} <= set(one)
    assert many["memory_share"] == pytest.approx(4 * one["memory_share"], rel=0.01)
    assert many["least_ms"] / 2.0 == pytest.approx(many["of_limit"], rel=0.01)
    late = measure.Measurement(time.monotonic() - 1, None)
    late.scorer("a path", tiny_model, "cpu", "", [str(IMAGES)])
    assert (late.rows, late.skipped) == ([], ["a path : no time left"])


@pytest.mark.slow
def test_the_dense_network_is_a_model_folder_that_needs_more_products_for_a_byte(tmp_path: Path) -> None:
    folder = folders.dense_network(tmp_path / "dense")
    assert ModelFolder.read(folder).manifest.name == "resnet18-dense"
    patch = Manifest.read(folder).sampling.patch

    def products_a_byte(model: Path) -> float:
        proto = onnx.load(model / "model.onnx")
        width = proto.graph.input[1].type.tensor_type.shape.dim[1].dim_value
        shapes = {"patches": (8, 1, patch, patch, 3), "bank_terms": (9, width), "bank_scores": (9,)}
        found = costs(proto, shapes)
        return found.operations / found.moved

    lite0 = Path(folders.__file__).parents[2] / "runtime" / "models" / "agiqa3k-lite0"
    assert products_a_byte(folder) > 5 * products_a_byte(lite0)
