"""`pscr export ensemble MODEL MODEL ... -o DIR`: several networks in one model folder, their votes averaged.

Networks of different backbones err differently, and the mean of their votes agrees better with people than each does
(deep ensembles, arXiv 1612.01474). The joined graph is a score graph like any other: its exemplar terms are the
members' side by side, and what the members compute alike, such as the normalised pixels, is computed once.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from ..runtime import cores, golden
from ..runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from ..runtime.bank import Bank
from ..runtime.errors import PscrError, Status
from ..runtime.families.pscr import signature
from ..runtime.image import load
from ..runtime.manifest import Manifest
from ..training import databases
from ..training.label_files import Item
from ..training.options import option
from ..training.unseen import chosen, without
from . import agreement, held_out_results, model_folder, shell, tolerance
from .difference import BATCHES, in_batches, scores
from .model_folder import StoredModel

PARITY_IMAGES = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EnsembleExport:
    """What `export_ensemble` is to join.

    models: two or more model folders in fp32, or names, which take the same patches and have the same exemplars.
    output, name, version: of the model that is written. data: a database that it is measured on, empty for none; label,
    split: as of `pscr evaluate`. twin: the ensemble of their twins; see `held_out_results.adopt`. threads: 0 for all.
    """

    models: tuple[str, ...] = option(help="model folders in fp32, two or more", positional=True, metavar="MODEL")
    output: Path = option(short="-o", metavar="DIR", help="the model folder to write")
    name: str = option("", help="the model's name (default: the folder's)")
    version: str = option("1.0.0", help="the model's version")
    data: str = option("", help=f"measure it on this database: {databases.EXPECTED}")
    label: str = option("quality", help="what the scores judge; see 'pscr train --help'")
    split: str = option("all", help="of --data, as of 'pscr evaluate': images that trained no member")
    twin: Path | None = option(None, metavar="MODEL", help="as of 'pscr export onnx': the ensemble of their twins")
    threads: int = option(0, help="CPU threads, 0 for all")


@dataclass(frozen=True)
class Member:
    """A model in fp32 that takes part."""

    manifest: Manifest
    graph: onnx.ModelProto
    bank: Bank

    @classmethod
    def read(cls, model: str) -> Member:
        """Read a model folder, or an installed model by its name.

        Raises:
            PscrError: MODEL_INVALID for one that is not there, broken or not in fp32.
        """
        found = StoredModel.read(model)
        if found.manifest.precision != "fp32":
            raise PscrError(
                Status.MODEL_INVALID,
                f"{found.folder}: found a model in {found.manifest.precision}; join those in fp32, and convert the "
                "whole",
            )
        return cls(found.manifest, onnx.load_from_string(found.graph), found.bank)


def join(graphs: Sequence[onnx.ModelProto]) -> onnx.ModelProto:
    """One score graph of several: votes [N,K] are the members' mean, terms [N,H] theirs side by side."""
    count = len(graphs)
    parts = [compose.add_prefix(graph, f"member{i}/") for i, graph in enumerate(graphs)]
    shared = {f"member{i}/{name}": name for i in range(count) for name in ("patches", "bank_scores")}
    widths = [graph.graph.output[2].type.tensor_type.shape.dim[1].dim_value for graph in graphs]
    nodes = [
        helper.make_node("Split", ["bank_terms", "widths"], [f"member{i}/bank_terms" for i in range(count)], axis=1)
    ]
    for part in parts:
        for node in part.graph.node:
            for place, name in enumerate(node.input):
                node.input[place] = shared.get(name, name)
            nodes.append(node)
    tensors = [tensor for part in parts for tensor in part.graph.initializer]
    tensors.append(numpy_helper.from_array(np.array(widths, np.int64), "widths"))
    tensors.append(numpy_helper.from_array(np.array(count, np.float32), "members"))
    for name in ("score", "votes"):
        nodes.append(helper.make_node("Sum", [f"member{i}/{name}" for i in range(count)], [f"{name}/sum"]))
        nodes.append(helper.make_node("Div", [f"{name}/sum", "members"], [name]))
    nodes.append(helper.make_node("Concat", [f"member{i}/terms" for i in range(count)], ["terms"], axis=1))
    first = copy.deepcopy(graphs[0].graph)
    inputs, outputs = list(first.input), list(first.output)
    for value in (inputs[1], outputs[2]):
        value.type.tensor_type.shape.dim[1].dim_value = sum(widths)
    nodes, tensors = _once(nodes, tensors)
    joined = helper.make_model(
        helper.make_graph(nodes, "ensemble", inputs, outputs, tensors),
        opset_imports=graphs[0].opset_import,
        ir_version=graphs[0].ir_version,
    )
    onnx.checker.check_model(joined, full_check=True)
    return joined


def _once(
    nodes: Sequence[onnx.NodeProto], tensors: Sequence[onnx.TensorProto]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes, in topological order, without those that compute what another one has computed from equal inputs."""
    same: dict[str, str] = {}
    seen: dict[Any, Sequence[str]] = {}
    kept_tensors, kept_nodes = [], []
    for tensor in tensors:
        value = numpy_helper.to_array(tensor)
        key: tuple[Any, ...] = (value.dtype, value.shape, value.tobytes())
        if key in seen:
            same[tensor.name] = seen[key][0]
        else:
            seen[key] = [tensor.name]
            kept_tensors.append(tensor)
    for node in nodes:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
        attributes = tuple(sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute))
        key = (node.op_type, node.domain, tuple(node.input), attributes, len(node.output))
        if key in seen:
            same.update(zip(node.output, seen[key], strict=True))
        else:
            seen[key] = list(node.output)
            kept_nodes.append(node)
    return kept_nodes, kept_tensors


def joined_bank(members: Sequence[Member]) -> Bank:
    """The members' terms side by side.

    Raises:
        PscrError: INVALID_ARGUMENT where the members' banks hold other exemplars.
    """
    first = members[0].bank
    for member in members[1:]:
        bank = member.bank
        if bank.names != first.names or not np.array_equal(bank.scores, first.scores):
            raise PscrError(
                Status.INVALID_ARGUMENT,
                f"{member.manifest.name} has other exemplars ({len(bank)}) than {members[0].manifest.name} "
                f"({len(first)}); export both with the same bank, from runs of the same split",
            )
    return Bank(np.concatenate([member.bank.terms for member in members], 1), first.scores, first.names)


def export_ensemble(options: EnsembleExport) -> Manifest:
    """Join the models, prove that the whole scores like the mean of its parts, and write it; returns its manifest.

    Raises:
        PscrError: INVALID_ARGUMENT for models that do not fit together; MODEL_INVALID for one that cannot be used, or a
            whole that scores otherwise; those of reading the database.
        OSError: the folder cannot be written.
    """
    members, output = [Member.read(model) for model in options.models], options.output.resolve()
    first = members[0].manifest
    _check_fit([member.manifest for member in members])
    joined = Member(first, join([member.graph for member in members]), joined_bank(members))
    items: list[Item] = []
    if options.data:
        items = without(chosen(databases.load(options.data, label=options.label), options.split), joined.bank.names)
    proved = _prove(members, joined, items, options.threads or cores.usable())
    training = _training([member.manifest for member in members])
    if proved.measured:
        split = options.split.rpartition("/")[2]
        held_out = f"held-out: {split}, which may have chosen the members' epochs"
        training["metrics"] = agreement.entry(proved.measured, held_out)
    manifest = replace(
        first,
        name=options.name or output.name,
        version=options.version,
        backbone=" + ".join(member.manifest.backbone for member in members),
        training=training,
        parity={**proved.parity, "members": [member.manifest.parity for member in members]},
        golden=proved.golden,
        calibration=None,
        files={},
    )
    with model_folder.unfinished(output) as folder:
        files = ["model.onnx", "bank.npz"]
        (folder / "model.onnx").write_bytes(joined.graph.SerializeToString(deterministic=True))
        joined.bank.write(folder / "bank.npz")
        if options.twin:
            manifest = held_out_results.adopt(manifest, options.twin, folder, files)
        return model_folder.finish(manifest, folder, files, output)


def _check_fit(manifests: Sequence[Manifest]) -> None:
    """Raise INVALID_ARGUMENT unless all take the same patches and score on the same scale."""
    for other in manifests[1:]:
        for key in ("sampling", "score"):
            found, expected = getattr(other, key), getattr(manifests[0], key)
            if found != expected:
                raise PscrError(Status.INVALID_ARGUMENT, f"{other.name}: {key} is {found}; expected {expected}")


@dataclass(frozen=True)
class _Proved:
    """What is known of a joined model: the manifest's `parity` and `golden`, and its agreement with people."""

    parity: dict[str, Any]
    golden: dict[str, Any]
    measured: agreement.Measured


def _prove(members: Sequence[Member], joined: Member, items: Sequence[Item], threads: int) -> _Proved:
    """Compare the joined model with the mean of its members, and with people on `items`.

    Raises:
        PscrError: MODEL_INVALID where they differ by more than `tolerance.ENSEMBLE`, or a score by its batch.
    """
    sampling, scale = joined.manifest.sampling, joined.manifest.score.range
    checked = [sampling.cut(image) for image in golden.golden_images().values()]
    own = len(checked)
    checked += [sampling.cut(load(item.path)) for item in items[: PARITY_IMAGES - own]]

    def opened(member: Member) -> OnnxRuntimeBackend:
        return OnnxRuntimeBackend(
            member.graph.SerializeToString(), signature(member.bank), sampling.patch, threads=threads
        )

    expected = np.zeros(len(checked), np.float32)
    for member in members:
        with opened(member) as backend:
            expected += scores(backend, checked) / len(members)
    with opened(joined) as backend:
        found = scores(backend, checked)
        apart = np.abs(found - expected)
        batched = in_batches(backend, checked, BATCHES)
        most = tolerance.allowed(tolerance.ENSEMBLE, scale, expected, found)
        most_batched = tolerance.allowed(tolerance.BATCH, scale, found)
        passed = apart.max() <= most.units and batched <= most_batched.units
        line = (
            f"parity {'passed' if passed else 'FAILED'}: the mean of {len(members)} members against their ensemble on "
            f"{len(checked)} images: largest difference {apart.max():.2e} (allowed {most}); one image in "
            f"batches of {', '.join(map(str, BATCHES))}: {batched:.2e} (allowed {most_batched})"
        )
        if not passed:
            raise PscrError(Status.MODEL_INVALID, line)
        _log.info("%s", line)
        measured = agreement.measure(backend, sampling, items)
    kept = [float(score) for score in found[:own]]
    parity = {
        "compared": f"the mean of the members' scores against the ensemble, {len(checked)} images, onnxruntime",
        "largest_difference": float(f"{apart.max():.3g}"),
        "median_difference": float(f"{np.median(apart):.3g}"),
        **most.entry(),
        "batch_largest_difference": float(f"{batched:.3g}"),
        **most_batched.entry("batch_"),
    }
    return _Proved(parity, golden.promise(kept, tolerance.allowed(tolerance.GOLDEN, scale, kept).units), measured)


def _training(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The `training` entry: what the members have in common, and each one's own under `members`."""
    entries = [{key: value for key, value in one.training.items() if key != "metrics"} for one in manifests]
    common = {key: value for key, value in entries[0].items() if all(entry.get(key) == value for entry in entries)}
    own = [
        {"backbone": one.backbone} | {key: value for key, value in entry.items() if key not in common}
        for one, entry in zip(manifests, entries, strict=True)
    ]
    return {**common, "members": own}


def main(words: Sequence[str] | None = None) -> int:
    """Run `pscr export ensemble`. Returns the exit code: 0, 2 for a wrong argument, 3 for what cannot be used."""
    return shell.command(
        "pscr export ensemble",
        "Join model folders into one whose votes are the mean of theirs. They must take the same patches and have the "
        "same exemplars; each is run on every image, so the time is the sum of theirs.",
        EnsembleExport,
        export_ensemble,
        words,
        wrong=lambda options: "" if len(options.models) > 1 else "expected two models or more",
    )


if __name__ == "__main__":
    sys.exit(main())
