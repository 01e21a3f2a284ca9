"""A backend runs the score graph: the numbers of the formula, for any number of images, patches and exemplars."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_model as tiny
from image_makers import assert_refused
from onnx import TensorProto

from pscr.runtime.backends import openvino_backend
from pscr.runtime.backends.base import Backend
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend, describe
from pscr.runtime.backends.openvino_backend import OpenVINOBackend
from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.families.pscr import signature

BANK = tiny.weights().bank
SIDE = tiny.SAMPLING.patch
Kind = type[OnnxRuntimeBackend] | type[OpenVINOBackend]


def patches(images: int = 1, count: int = 9) -> np.ndarray:
    """Noise [N,P,S,S,3]."""
    return np.random.default_rng(images * 100 + count).integers(0, 256, (images, count, SIDE, SIDE, 3), np.uint8)


@pytest.fixture(params=["onnxruntime", "openvino"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each library that runs on a CPU."""
    pytest.importorskip(request.param)
    return {"onnxruntime": OnnxRuntimeBackend, "openvino": OpenVINOBackend}[request.param]


def refusal(
    kind: Kind, graph: onnx.ModelProto | bytes, bank: Bank = BANK, patch: int = SIDE
) -> pytest.ExceptionInfo[PscrError]:
    """The error that loading gives."""
    data = graph if isinstance(graph, bytes) else graph.SerializeToString()
    with pytest.raises(PscrError) as caught:
        kind(data, signature(bank), patch)
    return caught


@pytest.fixture
def backend(kind: Kind) -> Iterator[Backend]:
    """The tiny graph on the CPU."""
    with kind(tiny.graph().SerializeToString(), signature(BANK), SIDE) as loaded:
        yield loaded


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("images", [1, 3])
def test_votes_and_scores_are_those_of_the_formula(backend: Backend, images: int, count: int) -> None:
    given = patches(images, count)
    outputs = backend.infer(given)
    expected = tiny.expected_votes(given)
    np.testing.assert_allclose(outputs.votes, expected, atol=1e-5)
    np.testing.assert_allclose(outputs.scores, expected.mean(1), atol=1e-5)
    assert outputs.votes.dtype == outputs.scores.dtype == np.float32


def test_patches_may_be_read_only(backend: Backend) -> None:
    given = patches()
    expected = backend.infer(given).scores
    given.flags.writeable = False
    np.testing.assert_array_equal(backend.infer(given).scores, expected)


def test_the_last_inference_is_timed(backend: Backend) -> None:
    assert math.isnan(backend.last_seconds)
    backend.infer(patches())
    assert backend.last_seconds > 0


def test_terms_of_images_make_a_bank_that_votes_by_the_formula(backend: Backend) -> None:
    terms = backend.terms(patches(4))
    assert terms.shape == (4, tiny.WIDTH)
    built = signature(Bank(terms, BANK.scores[:4], tuple("wxyz")))
    with type(backend)(tiny.graph().SerializeToString(), built, SIDE) as new:
        assert new.infer(patches(2)).votes.shape == (2, 4)


def test_what_runs_is_said(backend: Backend) -> None:
    if isinstance(backend, OpenVINOBackend):
        library = f"openvino {openvino_backend.version()}"
        assert (backend.device, backend.provider, backend.library) == ("openvino", "CPU, fp32", library)
    else:
        version, providers = describe()
        library = f"onnxruntime {version}"
        assert (backend.device, backend.provider, backend.library) == ("cpu", "CPUExecutionProvider", library)
        assert backend.provider in providers


@pytest.mark.parametrize(
    "wrong",
    [
        [[1]],
        patches()[0],
        patches()[:, :, 1:],
        patches()[:0],
        patches()[:, :0],
        patches().astype(np.float32),
        patches()[:, ::2],
        patches()[..., ::-1],
    ],
)
def test_patches_of_another_form_are_an_invalid_argument(backend: Backend, wrong: Any) -> None:
    for call in (backend.infer, backend.terms):
        with pytest.raises(PscrError) as caught:
            call(wrong)
        assert_refused(caught, Status.INVALID_ARGUMENT, "patches are", f"expected [N,P,{SIDE},{SIDE},3] uint8")


def test_a_closed_backend_says_closed_and_closes_twice(backend: Backend) -> None:
    backend.close()
    backend.close()
    for call in (backend.infer, backend.terms):
        with pytest.raises(PscrError) as caught:
            call(patches())
        assert_refused(caught, Status.CLOSED, "open the model again")


def test_a_bank_of_another_width_is_refused(kind: Kind) -> None:
    caught = refusal(kind, tiny.graph(), Bank.placeholder(tiny.WIDTH + 1))
    assert_refused(caught, Status.MODEL_INVALID, "bank_terms is [1, 9]", "8]", "built with this model")


def test_another_patch_side_is_refused(kind: Kind) -> None:
    assert_refused(
        refusal(kind, tiny.graph(), patch=SIDE + 1), Status.MODEL_INVALID, "model.onnx", "33 pixels", "again"
    )


def rename_input(model: onnx.ModelProto) -> None:
    """patches -> picture."""
    model.graph.input[0].name = model.graph.node[0].input[0] = model.graph.node[1].input[0] = "picture"


def float_patches(model: onnx.ModelProto) -> None:
    """Patches of another type."""
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def drop_terms(model: onnx.ModelProto) -> None:
    """One output less."""
    del model.graph.output[2]


def double_terms(model: onnx.ModelProto) -> None:
    """An output of another type."""
    model.graph.node[-1].output[0] = "single"
    model.graph.node.append(onnx.helper.make_node("Cast", ["single"], ["terms"], to=TensorProto.DOUBLE))
    model.graph.output[2].type.tensor_type.elem_type = TensorProto.DOUBLE


def shapeless_patches(model: onnx.ModelProto) -> None:
    """Patches without a shape."""
    model.graph.input[0].type.tensor_type.ClearField("shape")


def shapeless_bank(model: onnx.ModelProto) -> None:
    """Bank terms without a shape."""
    model.graph.input[1].type.tensor_type.ClearField("shape")


def flat_bank(model: onnx.ModelProto) -> None:
    """Bank terms of one axis."""
    del model.graph.input[1].type.tensor_type.shape.dim[1]


def open_width(model: onnx.ModelProto) -> None:
    """A width that is only a word."""
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "H"


@pytest.mark.parametrize(
    "change",
    [
        rename_input,
        float_patches,
        drop_terms,
        double_terms,
        shapeless_patches,
        shapeless_bank,
        flat_bank,
        open_width,
    ],
)
def test_a_graph_of_another_form_is_refused(kind: Kind, change: Callable[[onnx.ModelProto], None]) -> None:
    model = tiny.graph()
    change(model)
    assert_refused(refusal(kind, model), Status.MODEL_INVALID, "model.onnx")


def test_scores_of_another_shape_are_refused(kind: Kind) -> None:
    model = tiny.graph()
    mean = next(node for node in model.graph.node if node.output[0] == "score")
    mean.attribute[0].i = 1  # keepdims
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with (
        kind(model.SerializeToString(), signature(BANK), SIDE) as backend,
        pytest.raises(PscrError) as caught,
    ):
        backend.infer(patches())
    assert_refused(caught, Status.MODEL_INVALID, "model.onnx", "score [1, 1]", "expected [1]")
