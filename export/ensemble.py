"""`pscr export --ensemble MODEL MODEL ... -o DIR`: several networks in one model folder, their votes averaged.

Networks of different backbones err differently, and the mean of their votes agrees better with people than each does
(deep ensembles, arXiv 1612.01474). The joined graph is a score graph like any other: its exemplar terms are the
members' side by side, and what the members compute alike, such as the normalised pixels, is computed once.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from pscr.export import model_folder, tolerance, twin
from pscr.export.difference import in_batches, scores
from pscr.export.parity import BATCHES
from pscr.export.to_onnx import PARITY_IMAGES, evaluate
from pscr.runtime import golden
from pscr.runtime.backends.onnxruntime_backend import OnnxRuntimeBackend
from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import load
from pscr.runtime.manifest import Manifest
from pscr.runtime.models import locate
from pscr.training import databases
from pscr.training.evaluate import chosen, without


@dataclass(frozen=True)
class Member:
    """A model folder in fp32 that takes part."""

    manifest: Manifest
    graph: onnx.ModelProto
    bank: Bank

    @classmethod
    def read(cls, model: str) -> Member:
        """Read a model folder, or an installed model by its name.

        Raises:
            PscrError: FILE_NOT_FOUND; MODEL_INVALID for a folder that is broken or not in fp32.
        """
        folder = locate(model)
        manifest = Manifest.read(folder)
        if manifest.precision != "fp32":
            raise PscrError(
                Status.MODEL_INVALID,
                f"{folder}: found a model in {manifest.precision}; join those in fp32, and convert the whole",
            )
        bank = Bank.from_bytes(manifest.read_verified(folder, "bank.npz"), str(folder / "bank.npz"))
        return cls(manifest, onnx.load_from_string(manifest.read_verified(folder, "model.onnx")), bank)


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


def ensemble(models: Sequence[str], output: Path, arguments: argparse.Namespace) -> int:
    """Join the models, prove that the whole scores like the mean of its parts, and write it. Returns the exit code.

    Raises:
        PscrError: INVALID_ARGUMENT for models that do not fit together; those of reading them and the database.
    """
    members = [Member.read(model) for model in models]
    first = members[0].manifest
    for member in members[1:]:
        for key in ("sampling", "score"):
            if getattr(member.manifest, key) != getattr(first, key):
                found, expected = getattr(member.manifest, key), getattr(first, key)
                raise PscrError(
                    Status.INVALID_ARGUMENT, f"{member.manifest.name}: {key} is {found}; expected {expected}"
                )
    graph, bank, sampling = join([member.graph for member in members]), joined_bank(members), first.sampling
    items: list[databases.Item] = []
    if arguments.data:
        items = without(chosen(databases.load(arguments.data, label=arguments.label), arguments.split), bank.names)
    checked = [sampling.cut(image) for image in golden.golden_images().values()]
    checked += [sampling.cut(load(item.path)) for item in items[: PARITY_IMAGES - len(checked)]]

    def opened(proto: onnx.ModelProto, its_bank: Bank) -> OnnxRuntimeBackend:
        return OnnxRuntimeBackend(proto.SerializeToString(), its_bank, sampling.patch, threads=arguments.threads)

    expected = np.zeros(len(checked), np.float32)
    for member in members:
        with opened(member.graph, member.bank) as backend:
            expected += scores(backend, checked) / len(members)
    with opened(graph, bank) as backend:
        found = scores(backend, checked)
        apart = np.abs(found - expected)
        batched = in_batches(backend, checked, BATCHES)
        scale = first.score.range
        most = tolerance.allowed(tolerance.ENSEMBLE, scale, expected, found)
        most_batched = tolerance.allowed(tolerance.BATCH, scale, found)
        passed = apart.max() <= most.units and batched <= most_batched.units
        sys.stderr.write(
            f"parity {'passed' if passed else 'FAILED'}: the mean of {len(members)} members against their ensemble on "
            f"{len(checked)} images: largest difference {apart.max():.2e} (allowed {most}); one image in "
            f"batches of {', '.join(map(str, BATCHES))}: {batched:.2e} (allowed {most_batched})\n"
        )
        if not passed:
            return 3
        measured = evaluate(backend, sampling, items)
        kept = [float(score) for score in found[: len(golden.golden_images())]]
        promised = golden.promise(kept, tolerance.allowed(tolerance.GOLDEN, scale, kept).units)
    training = _training([member.manifest for member in members])
    if measured:
        split = arguments.split.rpartition("/")[2]
        held_out = f"held-out: {split}, which may have chosen the members' epochs"
        training["metrics"] = {
            **{key: np.round(value, 4).tolist() for key, value in measured.items()},
            "protocol": f"{held_out}; scored through onnxruntime with the model's own bank",
            "date": datetime.date.today().isoformat(),
        }
    manifest = replace(
        first,
        name=arguments.name or output.name,
        version=arguments.version,
        backbone=" + ".join(member.manifest.backbone for member in members),
        training=training,
        parity={
            "compared": f"the mean of the members' scores against the ensemble, {len(checked)} images, onnxruntime",
            "largest_difference": float(f"{apart.max():.3g}"),
            "median_difference": float(f"{np.median(apart):.3g}"),
            **most.entry(),
            "batch_largest_difference": float(f"{batched:.3g}"),
            **most_batched.entry("batch_"),
            "members": [member.manifest.parity for member in members],
        },
        golden=promised,
        calibration=None,
        files={},
    )
    _write(manifest, output, graph, bank, arguments.twin)
    return 0


def _training(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """The `training` entry: what the members have in common, and each one's own under `members`."""
    entries = [{key: value for key, value in one.training.items() if key != "metrics"} for one in manifests]
    common = {key: value for key, value in entries[0].items() if all(entry.get(key) == value for entry in entries)}
    own = [
        {"backbone": one.backbone} | {key: value for key, value in entry.items() if key not in common}
        for one, entry in zip(manifests, entries, strict=True)
    ]
    return {**common, "members": own}


def _write(manifest: Manifest, output: Path, graph: onnx.ModelProto, bank: Bank, twin_folder: Path | None) -> None:
    """Write the folder whole or not at all."""
    with model_folder.unfinished(output) as folder:
        files = ["model.onnx", "bank.npz"]
        (folder / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
        bank.write(folder / "bank.npz")
        if twin_folder:
            manifest = twin.adopt(manifest, twin_folder, folder, files)
        sys.stderr.write(f"{model_folder.finish(manifest, folder, files, output)}\n")


def parser() -> argparse.ArgumentParser:
    """The command line of `pscr export --ensemble`."""
    result = argparse.ArgumentParser(
        prog="pscr export --ensemble",
        description="Join model folders into one whose votes are the mean of theirs. They must take the same patches "
        "and have the same exemplars; each is run on every image, so the time is the sum of theirs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = result.add_argument
    add("models", nargs="+", metavar="MODEL", help="model folders in fp32, two or more")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="the model folder to write")
    add("--name", default=None, help="the model's name (default: the folder's)")
    add("--version", default="1.0.0", help="the model's version")
    add("--data", default=None, help=f"measure it on this database: {databases.EXPECTED}")
    add("--label", default="quality", help="what the scores judge; see 'pscr train --help'")
    add("--split", default="all", help="of --data, as of 'pscr evaluate': images that trained no member")
    add(
        "--twin",
        type=Path,
        default=None,
        metavar="MODEL",
        help="as of 'pscr export': the ensemble of their twins",
    )
    add("--threads", type=int, default=0, help="CPU threads, 0 for all")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Join and write. Returns 0, 1 for models or data that do not fit, 3 for a model that cannot be used."""
    command = parser()
    arguments = command.parse_args(argv)
    if len(arguments.models) < 2:
        command.error("expected two models or more")
    arguments.threads = arguments.threads or len(os.sched_getaffinity(0))
    try:
        return ensemble(arguments.models, arguments.output.resolve(), arguments)
    except PscrError as error:
        sys.stderr.write(f"pscr export: error: {error}\n")
        return 3 if error.status is Status.MODEL_INVALID else 1


if __name__ == "__main__":
    sys.exit(main())
