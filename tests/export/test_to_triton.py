"""A Triton model repository whose configuration is what Triton's own definition and the served graph say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
import tiny_model as tiny
from engine_makers import PLAN, sidecar
from google.protobuf import text_format

import pscr
from pscr.commands.main import main
from pscr.export.model_folder import StoredModel
from pscr.export.to_triton import config, write
from pscr.runtime.engines import Engine
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.golden import golden_images

definition = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient[grpc] is not installed")
TYPES = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}


def read(text: str):
    """Parse as Triton does: an unknown field or a wrong type is an error."""
    return text_format.Parse(text, definition.ModelConfig())


@pytest.fixture
def source(tiny_model: Path) -> StoredModel:
    return StoredModel.read(tiny_model)


@pytest.fixture
def repository(tiny_model: Path, tmp_path: Path) -> Path:
    assert main(["export", "triton", str(tiny_model), "-o", str(tmp_path / "models"), "--batch", "16"]) == 0
    return tmp_path / "models"


def test_the_repository_has_triton_s_layout(repository: Path) -> None:
    files = sorted(str(path.relative_to(repository)) for path in repository.rglob("*") if path.is_file())
    assert files == ["tiny_onnx/1/model.onnx", "tiny_onnx/config.pbtxt"]


def test_the_configuration_is_the_served_graphs_signature(repository: Path) -> None:
    found = read((repository / "tiny_onnx" / "config.pbtxt").read_text())
    graph = onnx.load(repository / "tiny_onnx" / "1" / "model.onnx").graph
    assert (found.name, found.backend, found.max_batch_size) == ("tiny_onnx", "onnxruntime", 16)
    assert [entry.name for entry in found.input] == [value.name for value in graph.input] == ["patches"]
    assert [entry.name for entry in found.output] == [value.name for value in graph.output]
    for entry, value in zip((*found.input, *found.output), (*graph.input, *graph.output), strict=True):
        kind = definition.DataType.Name(entry.data_type)
        assert kind == TYPES[value.type.tensor_type.elem_type]
        own = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]  # Triton adds the batch
        shape = list(entry.reshape.shape) if entry.HasField("reshape") else list(entry.dims)
        assert len(shape) == len(own)
        assert all(size in (0, given) for size, given in zip(own, shape, strict=True)), value.name
        assert list(entry.dims), "Triton refuses an empty shape without a reshape"


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_batching_instances_and_warm_up_are_configured(source: StoredModel, backend: str) -> None:
    found = read(config("name", backend, source, most=32, instances=2, kind="gpu", delay=250))
    assert found.default_model_filename == {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}[backend]
    assert list(found.dynamic_batching.preferred_batch_size) == [4, 8, 16, 32]
    assert found.dynamic_batching.max_queue_delay_microseconds == 250
    (group,) = found.instance_group
    assert (group.count, definition.ModelInstanceGroup.Kind.Name(group.kind)) == (2, "KIND_GPU")
    assert [warm.batch_size for warm in found.model_warmup] == [1, 32]
    assert all(list(warm.inputs["patches"].dims) == [9, 32, 32, 3] for warm in found.model_warmup)


def test_the_served_graph_gives_the_scorers_number(repository: Path, tiny_model: Path) -> None:
    session = ort.InferenceSession(repository / "tiny_onnx" / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        for image in golden_images().values():
            patches = tiny.SAMPLING.cut(image)[None]
            (score,) = session.run(["score"], {"patches": patches})
            assert score[0] == pytest.approx(float(scorer.infer(patches).scores[0]), abs=1e-5)


def engine(folder: Path, source: StoredModel, **changes: object) -> Engine:
    """An engine file as tensorrt would have written it; only its sidecar matters here."""
    entry = source.manifest.files["model.onnx"].sha256
    made = dataclasses.replace(sidecar(bank_inside=True, onnx_sha256=entry), **changes)
    (folder / made.name).write_bytes(PLAN)
    return Engine(folder / made.name, made)


def test_an_engine_with_the_bank_inside_is_served_with_its_own_largest_batch(
    source: StoredModel, tmp_path: Path
) -> None:
    plan = engine(tmp_path, source)
    made = write(source, tmp_path / "models", plan, instances=1, kind="auto", most=16)
    assert [path.name for path in made] == ["tiny_onnx", "tiny_tensorrt"]
    assert (made[1] / "1" / "model.plan").read_bytes() == plan.path.read_bytes()
    assert read((made[1] / "config.pbtxt").read_text()).max_batch_size == 64


@pytest.mark.parametrize(
    "changes", [{"library": "tensorrt_rtx"}, {"bank_inside": False}, {"onnx_sha256": "0" * 64}, {"plan_size": 1}]
)
def test_an_engine_that_triton_cannot_serve_is_refused_and_nothing_written(
    source: StoredModel, tmp_path: Path, changes: dict[str, object]
) -> None:
    plan = engine(tmp_path, source, **changes)
    with pytest.raises(PscrError) as caught:
        write(source, tmp_path / "models", plan, instances=1, kind="auto", most=16)
    assert caught.value.status is Status.ENGINE_INCOMPATIBLE
    assert not (tmp_path / "models").exists()


def test_a_model_that_is_served_already_is_not_overwritten(repository: Path, tiny_model: Path) -> None:
    assert main(["export", "triton", str(tiny_model), "-o", str(repository)]) == 2


@pytest.mark.parametrize("name", ["../outside", "/outside", ".hidden", "a b", 'a"\nb', "", "a/b", "a\n", "é"])
def test_a_name_that_is_no_folder_s_is_refused_and_nothing_written(
    source: StoredModel, tmp_path: Path, name: str
) -> None:
    named = dataclasses.replace(source, manifest=dataclasses.replace(source.manifest, name=name))
    with pytest.raises(PscrError, match="--name") as caught:
        write(named, tmp_path / "models", None, instances=1, kind="auto", most=16)
    assert caught.value.status is Status.MODEL_INVALID
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["\n", "\r", "\v", "\u2028"])
@pytest.mark.parametrize("field", ["version", "precision", "meaning"])
def test_a_manifest_s_text_adds_nothing_to_the_configuration(source: StoredModel, field: str, end: str) -> None:
    text = f"x{end}instance_group [ {{ count: 99 }} ]"
    changes = (
        {"score": dataclasses.replace(source.manifest.score, meaning=text)} if field == "meaning" else {field: text}
    )
    hostile = dataclasses.replace(source, manifest=dataclasses.replace(source.manifest, **changes))
    plain, found = (read(config("name", "onnxruntime", model, most=8)) for model in (source, hostile))
    assert found == plain


def test_a_model_whose_name_has_a_space_still_scores(own_model: Path) -> None:
    manifest = own_model / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "tiny"', '"name": "my model"'))
    with pscr.open(own_model, device="cpu", threads=1) as scorer:
        assert scorer.manifest.name == "my model"
        assert scorer.score(next(iter(golden_images().values())), pixel_format="rgb").score is not None
