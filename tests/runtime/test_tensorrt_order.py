"""The native TensorRT runner against a recording stand-in for the driver: order and ownership, and nothing else.

This is no GPU test: that an engine computes what it should is shown by tests/gpu, on a GPU.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_model as tiny
from cuda_stand_in import StandIn
from image_makers import assert_refused
from tensorrt_stand_in import install

from pscr.runtime import devices, gpus
from pscr.runtime.backends import cuda
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.backends.tensorrt_backend import TensorRTBackend
from pscr.runtime.bank import Bank
from pscr.runtime.engines import Engine, Sidecar
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.pscr import signature

GRAPH = tiny.graph().SerializeToString()
BANK = tiny.weights().bank
SIDE = tiny.SAMPLING.patch
TENSORS = 4  # patches, score, votes and terms of each slot


@pytest.fixture(params=["pycuda", "cuda-bindings"])
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> StandIn:
    """With either library behind the device layer."""
    result = StandIn()
    install(result, monkeypatch, pycuda=request.param == "pycuda")
    monkeypatch.setenv("PSCR_CACHE", str(tmp_path / "cache"))
    assert cuda.in_use() == request.param
    return result


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return written(tmp_path, GRAPH)


@pytest.fixture
def reference() -> Iterator[OnnxRuntimeBackend]:
    with OnnxRuntimeBackend(GRAPH, signature(BANK), SIDE) as backend:
        yield backend


def written(folder: Path, plan: bytes, library: str = "tensorrt") -> Engine:
    """An engine file and its sidecar in a model folder's place for engines."""
    sidecar = Sidecar(
        library=library,
        library_version="10.9.8",
        gpu="",
        compute_capabilities=["8.9"],
        precision="fp32",
        profile={"patches": [[1, 1, SIDE, SIDE, 3], [2, 9, SIDE, SIDE, 3], [8, 9, SIDE, SIDE, 3]]},
        bank_inside=False,
        onnx_sha256=hashlib.sha256(GRAPH).hexdigest(),
        graph_sha256="0" * 64,
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        plan_size=len(plan),
        build_seconds=1.0,
        built="2026-01-01T00:00:00+00:00",
    )
    place = folder / "engines"
    place.mkdir(parents=True, exist_ok=True)
    (place / sidecar.name).write_bytes(plan)
    sidecar.write(place)
    return Engine(place / sidecar.name, sidecar)


def patches(images: int, count: int = 9, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (images, count, SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize("images", [*range(1, 10), 17])
def test_every_batch_of_the_profile_comes_out_in_order_whatever_its_parts(machine, engine, reference, images):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        for seed in range(4):  # plain, captured, replayed, replayed
            batch = patches(images, seed=seed)
            found, expected = backend.infer(batch), reference.infer(batch)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
            np.testing.assert_allclose(found.votes, expected.votes, atol=1e-6)
            np.testing.assert_allclose(backend.terms(batch), reference.terms(batch), atol=1e-5)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_images_of_a_list_go_into_pinned_memory_without_being_stacked(machine, engine, reference, monkeypatch, images):
    batch = patches(images)
    expected, terms = reference.infer(list(batch)), reference.terms(batch)
    monkeypatch.setattr(np, "stack", None)
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        apart = [np.array(one) for one in batch]
        np.testing.assert_allclose(backend.infer(apart).scores, expected.scores, atol=1e-6)
        np.testing.assert_allclose(backend.terms(apart), terms, atol=1e-5)
        apart[-1] = apart[-1][:, :, :, :2]
        with pytest.raises(PscrError) as caught:
            backend.infer(apart)
        assert_refused(caught, Status.INVALID_ARGUMENT, "expected [N,P,32,32,3] uint8")


def test_everything_is_allocated_when_it_opens_and_nothing_when_it_scores(machine, engine):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        opened = len(machine.live), len(machine.pinned)
        assert opened == (2 + 1 + 2 * TENSORS, 2 * TENSORS)  # the bank, the activations, and the slots' buffers
        machine.events.clear()
        for images in (1, 3, 8, 3, 3, 3):
            backend.infer(patches(images))
            backend.terms(patches(images))
        assert not [event for event in machine.events if event.startswith(("allocate", "free", "retain"))]
        assert (len(machine.live), len(machine.pinned)) == opened


def test_the_bank_is_uploaded_once(machine, engine):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        for _ in range(5):
            backend.infer(patches(5))
    sizes = [
        event for event in machine.events if event in (f"upload {BANK.terms.nbytes}", f"upload {BANK.scores.nbytes}")
    ]
    assert len(sizes) == 2


def test_the_copy_of_the_next_part_is_queued_before_the_last_one_is_waited_for(machine, engine, monkeypatch):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        machine.events.clear()
        backend.infer(patches(6))  # three parts of two
        words = [event.split()[0] for event in machine.events]
        assert words[: words.index("wait")].count("upload") == 2
        assert words.count("upload") == words.count("wait") == 3


def test_close_frees_everything_once_and_a_second_close_nothing(machine, engine):
    backend = TensorRTBackend(engine, signature(BANK), SIDE)
    backend.infer(patches(3))
    backend.infer(patches(3))
    backend.close()
    assert (machine.live, machine.pinned, machine.graphs) == ({}, {}, 0)
    events = len(machine.events)
    backend.close()
    del backend
    assert len(machine.events) == events
    assert machine.depth == 0


@pytest.mark.parametrize("number", range(2 + 1 + 4 * TENSORS))
def test_an_allocation_that_fails_leaves_nothing_behind(machine, engine, number):
    machine.fail_allocation = number
    with pytest.raises(PscrError) as caught:
        TensorRTBackend(engine, signature(BANK), SIDE)
    assert_refused(caught, Status.OUT_OF_MEMORY, "GPU 0", "smaller batches")
    assert (machine.live, machine.pinned, machine.depth) == ({}, {}, 0)


def test_a_run_that_fails_is_an_error_and_the_next_one_is_right(machine, engine, reference):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        machine.fail_run = 1  # the second part, while the first one's work is queued
        with pytest.raises(PscrError) as caught:
            backend.infer(patches(8))
        assert_refused(caught, Status.INTERNAL, "failed", "open the model again")
        assert machine.depth == 0
        batch = patches(7, seed=9)
        np.testing.assert_allclose(backend.infer(batch).scores, reference.infer(batch).scores, atol=1e-6)
    assert (machine.live, machine.pinned) == ({}, {})


def test_a_repeated_shape_is_captured_once_and_replayed(machine, engine):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        for _ in range(5):
            backend.infer(patches(2))
        assert machine.events.count("capture") == 1
        assert machine.events.count("launch") == 4
        assert machine.events.count("run") == 2  # the plain one and the recorded one
        backend.infer(patches(1))
        assert machine.graphs == 0, "a graph of another shape must not outlive the shape"


def test_without_capture_it_runs_plainly(machine, engine, reference):
    machine.capture_works = False
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        for seed in range(3):
            batch = patches(2, seed=seed)
            np.testing.assert_allclose(backend.infer(batch).scores, reference.infer(batch).scores, atol=1e-6)
    assert "launch" not in machine.events


def test_rtx_is_told_to_capture_by_itself(machine, tmp_path):
    with TensorRTBackend(written(tmp_path, GRAPH, "tensorrt_rtx"), signature(BANK), SIDE) as backend:
        config = backend._library._config
        assert config.cuda_graph_strategy == "whole"
        assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
        for _ in range(3):
            backend.infer(patches(2))
    assert "capture" not in machine.events


def test_what_rtx_compiles_is_kept_and_read_again_and_lives_as_long_as_the_engine(machine, tmp_path):
    engine = written(tmp_path, GRAPH, "tensorrt_rtx")
    with TensorRTBackend(engine, signature(BANK), SIDE):
        assert machine.cache() is not None
    assert machine.cache() is None
    assert "cache compiled" not in machine.events
    (file,) = (tmp_path / "cache" / "tensorrt_rtx").iterdir()
    assert file.read_bytes() == b"compiled"
    with TensorRTBackend(engine, signature(BANK), SIDE):
        assert "cache compiled" in machine.events


def test_rtx_runs_where_nothing_can_be_kept(machine, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    with TensorRTBackend(written(tmp_path, GRAPH, "tensorrt_rtx"), signature(BANK), SIDE) as backend:
        assert len(backend.infer(patches(2)).scores) == 2


def test_another_thread_than_the_one_that_opened_may_score_and_close(machine, engine):
    backend = TensorRTBackend(engine, signature(BANK), SIDE)
    depths = []

    def work() -> None:
        backend.infer(patches(3))
        backend.close()
        depths.append(machine.depth)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert depths == [0]
    assert (machine.live, machine.pinned, machine.graphs, machine.depth) == ({}, {}, 0, 0)


def test_the_primary_context_is_taken_once_for_all_that_share_it(machine, engine):
    with TensorRTBackend(engine, signature(BANK), SIDE), TensorRTBackend(engine, signature(BANK), SIDE, index=1):
        pass
    with TensorRTBackend(engine, signature(BANK), SIDE):
        pass
    assert [event for event in machine.events if event.startswith("retain")] == ["retain 0", "retain 1"]


def test_more_patches_than_the_profile_has_are_refused_before_anything_is_copied(machine, engine):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        machine.events.clear()
        with pytest.raises(PscrError) as caught:
            backend.infer(patches(1, count=10))
        assert_refused(caught, Status.INVALID_ARGUMENT, "10 patches", "up to 9", "--windows")
        assert not machine.events


@pytest.mark.parametrize("images", [1, 2, 3, 5, 9, 12])
def test_an_engine_that_takes_no_small_batch_gives_it_filled_up(machine, engine, reference, images):
    machine.profile = (4, 8, 8)
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        batch = patches(images)
        found, expected = backend.infer(batch), reference.infer(batch)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        np.testing.assert_allclose(found.votes, expected.votes, atol=1e-6)
        np.testing.assert_allclose(backend.terms(batch), reference.terms(batch), atol=1e-5)


def test_a_plan_that_cannot_be_deserialised_is_incompatible_in_the_librarys_words(machine, engine):
    machine.deserialises = False
    with pytest.raises(PscrError) as caught:
        TensorRTBackend(engine, signature(BANK), SIDE)
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "the version tag does not match", "pscr export engine")
    assert machine.depth == 0


def test_a_bank_above_the_profile_and_one_of_another_model_are_refused(machine, engine):
    many = Bank(np.zeros((21, tiny.WIDTH), np.float32), np.zeros(21, np.float32), ("x",) * 21)
    with pytest.raises(PscrError) as caught:
        TensorRTBackend(engine, signature(many), SIDE)
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "1 to 20 rows", "found 21")
    wide = Bank(np.zeros((5, 9), np.float32), np.zeros(5, np.float32), ("x",) * 5)
    with pytest.raises(PscrError) as caught:
        TensorRTBackend(engine, signature(wide), SIDE)
    assert_refused(caught, Status.MODEL_INVALID, "[5, 9]", "8]")
    assert (machine.live, machine.pinned) == ({}, {})


def test_a_device_that_is_not_there_is_unavailable(machine, engine):
    with pytest.raises(PscrError) as caught:
        TensorRTBackend(engine, signature(BANK), SIDE, index=2)
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, "GPU 2", "has 2")


def test_the_device_setting_opens_the_folders_engine_and_auto_prefers_it(machine, tiny_model, tmp_path, monkeypatch):
    there = gpus.Gpus((gpus.Gpu(0, "Card", "8.9", 1 << 30),), "13.0")
    monkeypatch.setattr(gpus, "find", lambda: there)
    graph = (tiny_model / "model.onnx").read_bytes()
    engine = written(tmp_path, graph)
    for device in ("tensorrt", "tensorrt:0", "auto"):
        with devices.connect(device, devices.Model(graph, signature(BANK), SIDE, 1, tmp_path)) as backend:
            assert backend.device == "tensorrt:0"
            assert engine.path.name in backend.provider
            assert backend.library == "tensorrt 10.9.8"


def test_auto_falls_back_where_no_engine_fits(machine, tmp_path, monkeypatch):
    written(tmp_path, GRAPH)
    monkeypatch.setattr(gpus, "find", lambda: gpus.Gpus((gpus.Gpu(0, "Card", "7.5", 1 << 30),), "13.0"))
    with devices.connect("auto", devices.Model(GRAPH, signature(BANK), SIDE, 1, tmp_path)) as backend:
        assert backend.device == "cpu"
    with pytest.raises(PscrError) as caught:
        devices.connect("tensorrt", devices.Model(GRAPH, signature(BANK), SIDE, 1, tmp_path))
    assert_refused(caught, Status.ENGINE_INCOMPATIBLE, "8.9", "7.5 (Card)", "pscr export engine")


def test_streams_do_not_wait_for_the_default_stream(machine, engine):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        backend.infer(patches(5))
        assert {stream.flags for stream in machine.streams.values()} == {1}


def test_all_is_computed_in_one_stream_with_one_block_of_activations(machine, engine):
    machine.static = [(1, 9), (2, 9)]
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        for images in (1, 2, 7, 7, 7):
            backend.infer(patches(images))
            backend.infer(patches(images, count=4))
    assert len(set(machine.computed)) == 1


def test_buffers_are_those_of_the_best_batch(machine, engine):
    with TensorRTBackend(engine, signature(BANK), SIDE):
        sizes = sorted(len(memory.data) for memory in machine.live.values())
    assert sizes[-2:] == [2 * 9 * SIDE * SIDE * 3] * 2


@pytest.mark.parametrize(
    ("images", "count", "runs"),
    [
        (1, 9, [(1, 1)]),
        (2, 9, [(2, 2)]),
        (5, 9, [(2, 2), (2, 2), (1, 1)]),
        (1, 4, [(0, 1)]),
        (5, 4, [(0, 2), (0, 2), (0, 2)]),
    ],
)
def test_static_profiles_take_the_batches_that_they_are_for(machine, engine, reference, images, count, runs):
    machine.static = [(1, 9), (2, 9)]
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        for seed in range(3):
            machine.shapes.clear()
            batch = patches(images, count, seed)
            found, expected = backend.infer(batch), reference.infer(batch)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
            if not seed:
                assert machine.shapes == runs


def test_a_last_part_is_filled_up_so_that_a_graph_is_replayed(machine, engine):
    machine.profile = (1, 4, 8)
    machine.static = [(1, 9), (4, 9)]
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        for _ in range(4):
            backend.infer(patches(3))
    assert {images for _, images in machine.shapes} == {4}
    assert (machine.events.count("capture"), machine.events.count("launch")) == (1, 3)


def test_an_interrupt_ends_a_capture(machine, engine, monkeypatch):
    with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
        backend.infer(patches(2))
        context = backend._slots[0]._contexts[0]
        enqueue = context._enqueue

        def stopped() -> bool:
            enqueue()
            raise KeyboardInterrupt

        monkeypatch.setattr(context, "_enqueue", stopped)
        with pytest.raises(KeyboardInterrupt):
            backend.infer(patches(2))
        assert (machine.capturing, machine.graphs, machine.depth) == (0, 0, 0)
        monkeypatch.undo()


@pytest.mark.parametrize("library", ["tensorrt", "tensorrt_rtx"])
def test_a_context_that_cannot_be_had_is_told_in_all_of_the_librarys_words(machine, tmp_path, library):
    machine.makes_contexts = False
    with pytest.raises(PscrError) as caught:
        TensorRTBackend(written(tmp_path, GRAPH, library), signature(BANK), SIDE)
    assert_refused(caught, Status.OUT_OF_MEMORY, "Error Code 2: OutOfMemory; no context")
    assert (machine.live, machine.pinned, machine.depth) == ({}, {}, 0)


def test_without_either_library_the_extra_is_named(engine, monkeypatch):
    machine = StandIn()
    install(machine, monkeypatch, pycuda=False)
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(PscrError) as caught:
        TensorRTBackend(engine, signature(BANK), SIDE)
    assert_refused(caught, Status.DEVICE_UNAVAILABLE, "cuda.bindings.driver cannot be imported", "pscr[trt]")


def test_two_threads_score_with_engines_of_their_own_at_once(machine, engine, reference):
    batches = [patches(7, seed=seed) for seed in range(2)]
    expected = [reference.infer(batch).scores for batch in batches]
    wrong: list[float] = []

    def work(number: int) -> None:
        with TensorRTBackend(engine, signature(BANK), SIDE) as backend:
            found = [backend.infer(batches[number]).scores for _ in range(10)]
        wrong.append(max(float(np.abs(one - expected[number]).max()) for one in found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 2
    assert max(wrong) < 1e-6
    assert (machine.live, machine.pinned) == ({}, {})
