"""The score graph: normalisation, backbone, pooling and the folded regressor as one module (DESIGN 3)."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ..runtime.families import direct, pscr
from ..runtime.graph_check import check_graph
from ..training.model import PSCR
from .class_tokens import pad_class_tokens
from .reduction import factors

OPSET = 18
LARGE = 50_000  # smaller weights stay in full precision: the early layers decide how far rounding carries


class ScoreGraph(nn.Module):
    """Patches and a bank to scores; what `model.onnx` computes. Built from a copy: the model stays as it was.

    rank: what the regressor was reduced to (see reduction.py), 0 for not.

    patches [N,P,S,S,3] uint8 RGB, bank_terms [K,H] float32, bank_scores [K] float32 in opinion-score units.
    Returns score [N], votes [N,K], terms [N,H], all float32. A score depends on its own image only.
    """

    def __init__(self, model: PSCR, rank: int = 0) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.model.backbone.fuse()
        regressor = self.model.regressor
        weight = regressor.fc1.weight.detach()
        self.basis: nn.Parameter | None = None
        if rank:
            basis, query, exemplar = factors(model, rank)
            self.basis = nn.Parameter(basis)
        else:
            query, exemplar = weight[:, : regressor.channels].T, weight[:, regressor.channels :].T
        self.query_weight = nn.Parameter(query.contiguous())
        self.exemplar_weight = nn.Parameter(exemplar.contiguous())

    def forward(self, patches: Tensor, bank_terms: Tensor, bank_scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.model.features(patches)
        if self.basis is not None:
            features = features @ self.basis
        regressor = self.model.regressor
        votes = regressor.differences(features @ self.query_weight, bank_terms) + bank_scores
        return votes.mean(1), votes, features @ self.exemplar_weight + regressor.fc1.bias


class DirectGraph(nn.Module):
    """Patches to scores by direct regression (NR); the regressor's hidden layer stands in `terms`.

    mean: the opinion that the regressor's 0 stands for. patches [N,P,S,S,3] uint8 RGB to score [N], terms [N,H].
    """

    def __init__(self, model: PSCR, mean: float) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.model.backbone.fuse()
        self.mean = mean

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        regressor = self.model.regressor
        hidden = torch.relu(regressor.fc1(self.model.features(patches)))
        return regressor.fc2(hidden).squeeze(1) + self.mean, hidden


def to_onnx(model: PSCR, half_weights: bool = True, rank: int = 0, mean: float = 0.0) -> onnx.ModelProto:
    """Export the fused graph with dynamic N, P and K, in one file, without training-mode nodes.

    half_weights: keep large weights in half precision and cast them back inside the graph: half the file, and the
        arithmetic stays fp32 (every inference library folds the casts when it loads).
    rank: see `ScoreGraph`. mean: see `DirectGraph`.
    """
    side, width = model.sampling.patch, model.regressor.hidden
    n, p, k = (torch.export.Dim(name, min=1) for name in "NPK")
    patches = torch.zeros(2, 3, side, side, 3, dtype=torch.uint8)
    graph: nn.Module = DirectGraph(model, mean) if model.direct else ScoreGraph(model, rank)
    inputs: list[str] = ["patches"]
    outputs: list[str] = list(direct.OUTPUTS if model.direct else pscr.OUTPUTS)
    example: tuple[Tensor, ...] = (patches,)
    dynamic: tuple[dict[int, torch.export.Dim], ...] = ({0: n, 1: p},)
    if not model.direct:
        inputs += pscr.CONSTANTS
        example, dynamic = (patches, torch.zeros(5, width), torch.zeros(5)), ({0: n, 1: p}, {0: k}, {0: k})
    return exported(graph, example, inputs, outputs, dynamic, half_weights)


def exported(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: tuple[dict[int, torch.export.Dim], ...],
    half_weights: bool,
) -> onnx.ModelProto:
    """A module in evaluation mode as a score graph, checked, without the exporter's notes.

    example, dynamic: of each input, a value and which of its sides are dynamic. half_weights: see `to_onnx`.

    Raises:
        PscrError: MODEL_INVALID for a network with operators that the runtime refuses; see `graph_check`.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision's operators are not there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes about the exporter's own insides and about K being named twice
        program = torch.onnx.export(
            graph.eval(),
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    _drop_traces(proto)
    pad_class_tokens(proto)
    if half_weights:
        _halve(proto)
    onnx.checker.check_model(proto, full_check=True)
    check_graph(proto.SerializeToString())
    return proto


def save(proto: onnx.ModelProto, file: Path) -> None:
    """Write one self-contained file."""
    file.write_bytes(proto.SerializeToString(deterministic=True))


def _drop_traces(proto: onnx.ModelProto) -> None:
    """Remove what the exporter notes about its own source lines; it names paths of the exporting machine."""
    graph = proto.graph
    for entry in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del entry.metadata_props[:]
        entry.ClearField("doc_string")


def _halve(proto: onnx.ModelProto) -> None:
    """Store float32 initializers of more than LARGE elements as float16 behind a Cast."""
    graph = proto.graph
    casts = []
    for initializer in graph.initializer:
        if initializer.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(initializer)
        if value.size <= LARGE:
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(value.astype("float16"), name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], name=name + ".cast", to=TensorProto.FLOAT))
    for index, cast_node in enumerate(casts):
        graph.node.insert(index, cast_node)
