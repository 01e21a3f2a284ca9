"""Damaged and hostile model folders: always MODEL_INVALID, one line, nothing printed, never a crash."""

from __future__ import annotations

import functools
import io
import json
import os
import resource
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_model as tiny
from onnx import TensorProto

import pscr
from pscr.runtime.manifest import FILE_NAME, FORMAT_VERSION, Manifest

ADVICE = ("again", "expected", "upgrade", "do not use", "another program", "built with this model")
INF = "1e999"
CALIBRATION: dict[str, Any] = {
    "levels": [0.5, 0.9], "factors": [1.0, 2.0], "coverage": [0.5, 0.9], "pair_deviation": 0.4,
    "spread_correlation": 0.1, "images": 100, "protocol": "made up",
}  # fmt: skip
DEEP = functools.reduce(lambda inner, _: [inner], range(400), [])


def short(value: Any) -> str:
    """A name for a test's case."""
    return ascii(value)[:30]


@pytest.fixture(autouse=True)
def quiet(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is printed, not by the libraries underneath either."""
    yield
    assert capfd.readouterr() == ("", "")


def assert_invalid(folder: Path, *words: str) -> None:
    """Opening gives MODEL_INVALID and one line with these words and some advice."""
    with pytest.raises(pscr.PscrError) as caught:
        pscr.open(folder, device="cpu", threads=1)
    message = str(caught.value)
    assert caught.value.status is pscr.Status.MODEL_INVALID, message
    assert "\n" not in message
    assert len(message) < 1000
    assert all(word in message for word in words), message
    assert any(advice in message for advice in ADVICE), message


def seal(folder: Path) -> None:
    """Give the manifest the sizes and hashes of the files as they are now."""
    Manifest.read(folder).write(folder, ["model.onnx", "bank.npz"])


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest's JSON; the text 1e999 becomes the number."""
    entries = json.loads((folder / FILE_NAME).read_text("utf-8"))
    change(entries)
    (folder / FILE_NAME).write_text(json.dumps(entries).replace(f'"{INF}"', INF), "utf-8")


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change that sets one entry."""

    def change(entries: dict[str, Any]) -> None:
        for key in keys[:-1]:
            entries = entries[key]
        entries[keys[-1]] = value

    return change


def with_graph(folder: Path, data: bytes) -> Path:
    """The folder with another graph, sealed."""
    (folder / "model.onnx").write_bytes(data)
    seal(folder)
    return folder


def with_bank(folder: Path, data: bytes) -> Path:
    """The folder with another bank, sealed."""
    (folder / "bank.npz").write_bytes(data)
    seal(folder)
    return folder


def npz(**arrays: Any) -> bytes:
    """The tiny model's bank with other arrays."""
    bank = tiny.weights().bank
    stream = io.BytesIO()
    np.savez(stream, **{"terms": bank.terms, "scores": bank.scores, "names": np.array(bank.names), **arrays})
    return stream.getvalue()


def initializer(model: onnx.ModelProto, name: str) -> TensorProto:
    """A constant of the graph."""
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


# --- files that are not what the manifest lists ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_flipped_byte_anywhere_is_found(own_model: Path, name: str) -> None:
    data = (own_model / name).read_bytes()
    for position in (0, 1, len(data) // 3, len(data) // 2, len(data) - 2, len(data) - 1):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        (own_model / name).write_bytes(damaged)
        assert_invalid(own_model, str(own_model / name), "sha256")


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_another_size_is_found(own_model: Path, name: str) -> None:
    data = (own_model / name).read_bytes()
    for other in (data[:-1], data[: len(data) // 2], data + b"\0", b""):
        (own_model / name).write_bytes(other)
        assert_invalid(own_model, str(own_model / name), f"has {len(other)} bytes", f"expected {len(data)}")


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_missing_file_is_named(own_model: Path, name: str) -> None:
    (own_model / name).unlink()
    assert_invalid(own_model, str(own_model / name), "No such file")


def test_missing_manifest_is_named(own_model: Path) -> None:
    (own_model / FILE_NAME).unlink()
    assert_invalid(own_model, str(own_model), FILE_NAME)


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz"])
def test_file_that_is_not_listed_is_not_opened(own_model: Path, name: str) -> None:
    edit(own_model, lambda entries: entries["files"].pop(name))
    assert_invalid(own_model, FILE_NAME, f"does not list '{name}'")


# --- files that lead out, or are no files -----------------------------------------------------------------------------


def test_link_that_leads_out_is_refused(own_model: Path, tmp_path: Path) -> None:
    (own_model / "model.onnx").rename(tmp_path / "outside.onnx")
    for target in (tmp_path / "outside.onnx", Path("../outside.onnx")):
        (own_model / "model.onnx").unlink(missing_ok=True)
        (own_model / "model.onnx").symlink_to(target)
        assert_invalid(own_model, str(own_model / "model.onnx"), "leads out of the model folder")


def test_link_in_a_circle_is_refused(own_model: Path) -> None:
    (own_model / "model.onnx").unlink()
    (own_model / "model.onnx").symlink_to("model.onnx")
    assert_invalid(own_model, str(own_model / "model.onnx"), "cannot be read")


def test_folder_in_place_of_a_file_is_refused(own_model: Path) -> None:
    (own_model / "bank.npz").unlink()
    (own_model / "bank.npz").mkdir()
    assert_invalid(own_model, str(own_model / "bank.npz"), "not a plain file")


def test_pipe_in_place_of_a_file_is_refused_without_waiting(own_model: Path) -> None:
    (own_model / "model.onnx").unlink()
    os.mkfifo(own_model / "model.onnx")
    edit(own_model, put("files", "model.onnx", "size", value=0))
    assert_invalid(own_model, str(own_model / "model.onnx"), "not a plain file")


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "//host/share", "../outside", "a/../../outside", "..", ".", "", "..\\outside", "a\\b"),
        *("C:outside", "C:/outside", "c:\\outside", "a\0b"),
    ],
)
def test_listed_path_that_leads_out_is_refused(own_model: Path, name: str) -> None:
    edit(own_model, put("files", name, value={"sha256": "0" * 64, "size": 1}))
    assert_invalid(own_model, FILE_NAME, "leads out of the model folder")


# --- the manifest itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"not json", b"\xff\xfe\x00", b"\x80", b"\0" * 64, b"[" * 100_000, b'{"a":' * 100_000),
        *(b"[]", b"null", b"7", b'"manifest"', b"1" * 5000, b"{}", b'{"format_version": ' + b"1" * 5000 + b"}"),
    ],
    ids=short,
)
def test_manifest_of_other_text_is_refused(own_model: Path, text: bytes) -> None:
    (own_model / FILE_NAME).write_bytes(text)
    assert_invalid(own_model, FILE_NAME)


def test_flipped_byte_in_the_manifest_never_crashes(own_model: Path) -> None:
    data = (own_model / FILE_NAME).read_bytes()
    for position in (0, 1, 3, data.index(b"format_version"), data.index(b"ops"), data.index(b"sha256"), len(data) - 2):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        (own_model / FILE_NAME).write_bytes(damaged)
        assert_invalid(own_model, FILE_NAME)


@pytest.mark.parametrize(
    "key",
    [
        *("format_version", "family", "name", "version", "backbone", "precision", "sampling", "score"),
        *("bank", "training", "parity", "licence", "files"),
    ],
)
@pytest.mark.parametrize("value", [None, 7, 1.5, True, [], DEEP])
def test_key_that_is_missing_or_of_another_type_is_named(own_model: Path, key: str, value: Any) -> None:
    if key == "format_version" and value == 7:
        value = 0
    edit(own_model, put(key, value=value))
    assert_invalid(own_model, FILE_NAME, f"'{key}'")
    edit(own_model, lambda entries: entries.pop(key))
    assert_invalid(own_model, FILE_NAME, f"'{key}'")


def test_newer_format_is_refused_by_name(own_model: Path) -> None:
    edit(own_model, lambda entries: entries.update(format_version=FORMAT_VERSION + 1, name="of-tomorrow"))
    assert_invalid(
        own_model, FILE_NAME, "'of-tomorrow'", f"format_version {FORMAT_VERSION + 1}", f"pscr {pscr.__version__}"
    )


def test_newer_format_is_refused_before_its_keys_are_looked_at(own_model: Path) -> None:
    (own_model / FILE_NAME).write_text(json.dumps({"format_version": 10**400, "name": DEEP}), "utf-8")
    assert_invalid(own_model, FILE_NAME, "upgrade pscr")


@pytest.mark.parametrize("family", ["clip", "PSCR", "x" * 100_000, DEEP], ids=short)
def test_another_family_is_refused(own_model: Path, family: Any) -> None:
    edit(own_model, put("family", value=family))
    assert_invalid(own_model, FILE_NAME, "'family'", "'pscr'")


@pytest.mark.parametrize(
    "bounds",
    [None, [], [0], [0, 1, 2], [0, INF], [float("nan"), 5], [5, 0], [1, 1], ["0", "5"], "05", [0, 10**400], {}, 5],
    ids=short,
)
def test_range_that_is_none_is_refused(own_model: Path, bounds: Any) -> None:
    edit(own_model, put("score", "range", value=bounds))
    assert_invalid(own_model, FILE_NAME, "'score'", "range")


@pytest.mark.parametrize("key", ["meaning", "database", "range", "higher_is_better"])
@pytest.mark.parametrize("value", [None, 7, [], DEEP])
def test_score_of_other_types_is_refused(own_model: Path, key: str, value: Any) -> None:
    edit(own_model, put("score", key, value=value))
    assert_invalid(own_model, FILE_NAME, "'score'")
    edit(own_model, lambda entries: entries["score"].pop(key))
    assert_invalid(own_model, FILE_NAME, "'score'", key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("method", value) for value in ("rps", "", None, 7, [])),
        *(("patch", value) for value in (0, -1, 65, 32.5, "32", None, [], INF, 10**400)),
        *(("starts", value) for value in ([], [0, 33], [-1], "049", ["0"], 7, None, [0.5], [INF], [None], [0] * 33)),
        *(("reference_side", value) for value in (31, 0, -64, "64", None, INF, 10**400, 10**9)),
    ],
    ids=short,
)
def test_sampling_that_cannot_be_is_refused(own_model: Path, key: str, value: Any) -> None:
    edit(own_model, put("sampling", key, value=value))
    assert_invalid(own_model, FILE_NAME, "sampling")


@pytest.mark.parametrize("key", ["method", "patch", "starts", "reference_side"])
def test_sampling_without_a_key_is_refused(own_model: Path, key: str) -> None:
    edit(own_model, lambda entries: entries["sampling"].pop(key))
    assert_invalid(own_model, FILE_NAME, "sampling", key)


@pytest.mark.parametrize(
    "entry",
    [
        *(None, 7, "text", [], {}, {"sha256": "0" * 64}, {"size": 1}, {"sha256": None, "size": 1}),
        *({"sha256": "0" * 64, "size": size} for size in ("1", 1.5, None, INF, True)),
    ],
    ids=short,
)
def test_file_entry_without_hash_and_size_is_refused(own_model: Path, entry: Any) -> None:
    edit(own_model, put("files", "model.onnx", value=entry))
    assert_invalid(own_model, FILE_NAME, "'model.onnx'", "sha256 and size")


# --- graphs with a matching hash --------------------------------------------------------------------------------------


def test_truncated_graph_is_refused(own_model: Path) -> None:
    data = (own_model / "model.onnx").read_bytes()
    for length in (0, 1, 10, len(data) // 2, len(data) - 1):
        assert_invalid(with_graph(own_model, data[:length]), "model.onnx")


def test_random_bytes_are_no_graph(own_model: Path) -> None:
    rng = np.random.default_rng(1)
    for length in (1, 100, 10_000):
        assert_invalid(with_graph(own_model, rng.bytes(length)), "model.onnx")


def test_text_is_no_graph(own_model: Path) -> None:
    assert_invalid(with_graph(own_model, b"<html>404</html>"), "model.onnx")


def test_flipped_byte_in_a_sealed_graph_never_crashes(own_model: Path) -> None:
    data = (own_model / "model.onnx").read_bytes()
    for position in range(0, len(data), len(data) // 40):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        try:
            pscr.open(with_graph(own_model, bytes(damaged)), device="cpu", threads=1).close()
        except pscr.PscrError as error:
            assert error.status in (pscr.Status.MODEL_INVALID, pscr.Status.OUT_OF_MEMORY)  # noqa: PT017
            assert "model.onnx" in error.message  # noqa: PT017


def test_graph_whose_names_are_not_utf8_is_refused(own_model: Path) -> None:
    """Found by the fuzzer: onnxruntime loads such a graph and fails only where Python asks for the name."""
    model = tiny.graph()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "BATCH"
    data = model.SerializeToString()
    assert data.count(b"BATCH") == 1
    assert_invalid(with_graph(own_model, data.replace(b"BATCH", b"\xcb\xff\xfe\x80\xcb")), "model.onnx")


def test_graph_of_another_patch_size_is_refused(own_model: Path) -> None:
    edit(own_model, put("sampling", "patch", value=24))
    assert_invalid(own_model, "model.onnx", "24 pixels")


def test_graph_with_other_inputs_is_refused(own_model: Path) -> None:
    model = tiny.graph()
    model.graph.input[0].name = model.graph.node[0].input[0] = model.graph.node[1].input[0] = "picture"
    assert_invalid(with_graph(own_model, model.SerializeToString()), "picture tensor(uint8)", "score graph")


def test_graph_that_fails_at_its_first_run_is_refused(own_model: Path) -> None:
    model = tiny.graph()
    initializer(model, "flat").raw_data = np.array([-1, 31, 32, 3], np.int64).tobytes()
    assert_invalid(with_graph(own_model, model.SerializeToString()), "model.onnx cannot be run")


def test_graph_whose_weights_are_not_finite_is_refused(own_model: Path) -> None:
    model = tiny.graph()
    initializer(model, "out").raw_data = np.full(tiny.WIDTH, np.nan, np.float32).tobytes()
    assert_invalid(with_graph(own_model, model.SerializeToString()), "model.onnx", "not finite")


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "sub/../weights.bin", "/etc/passwd", "/dev/zero"])
def test_graph_never_reads_another_file(own_model: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.graph()
    conv = initializer(model, "conv")
    (own_model / "sub").mkdir()
    for folder in (own_model, own_model.parent):
        (folder / "weights.bin").write_bytes(conv.raw_data)
    for key, value in (("location", place), ("offset", "0"), ("length", str(len(conv.raw_data)))):
        conv.external_data.add(key=key, value=value)
    conv.ClearField("raw_data")
    conv.data_location = TensorProto.EXTERNAL
    with_graph(own_model, model.SerializeToString())
    monkeypatch.chdir(own_model)
    assert_invalid(own_model, "model.onnx")


def huge(operator: str, attributes: dict[str, Any] | None = None) -> onnx.ModelProto:
    """The graph with 100 GB out of one operator and a number, in place of the constant that scales pixels."""
    model = tiny.graph()
    make, add = onnx.helper.make_node, model.graph.initializer.append
    add(onnx.numpy_helper.from_array(np.array([25_000_000_000], np.int64), "size"))
    add(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "little"))
    inputs = {"ConstantOfShape": ["size"], "Expand": ["little", "size"], "Tile": ["little", "size"]}[operator]
    nodes = [make(operator, inputs, ["much"]), make("ReduceMax", ["much"], ["most"], keepdims=0)]
    nodes.append(make("Add", ["most", "scale"], ["scale and more"]))
    next(node for node in model.graph.node if node.op_type == "Mul").input[1] = "scale and more"
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    return model


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "Tile"])
def test_small_graph_that_asks_for_100_gigabytes_is_refused_before_it_is_loaded(own_model: Path, operator: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = huge(operator).SerializeToString()
    assert len(data) < 10_000
    assert_invalid(with_graph(own_model, data), "model.onnx", operator, "any size")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_unbounded_operator_in_a_subgraph_is_found(own_model: Path) -> None:
    model, inner = tiny.graph(), huge("Tile").graph
    branch = onnx.helper.make_graph(inner.node[:1], "branch", [], [], inner.initializer)
    model.graph.node.insert(0, onnx.helper.make_node("If", ["c"], ["x"], then_branch=branch, else_branch=branch))
    assert_invalid(with_graph(own_model, model.SerializeToString()), "Tile")


def test_shape_that_its_data_do_not_fill_is_refused_before_it_is_allocated(own_model: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shape in ([8, 3, 100_000, 10_000], [1 << 40], [5_000_000_000, 5]):
        model = tiny.graph()
        del initializer(model, "conv").dims[:]
        initializer(model, "conv").dims.extend(shape)
        assert_invalid(with_graph(own_model, model.SerializeToString()), "model.onnx")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("name", ["model.onnx", "bank.npz", FILE_NAME])
def test_file_of_100_gigabytes_is_not_read(own_model: Path, name: str) -> None:
    """A sparse file: it takes no room on the disk, and reading it would end the process."""
    if name != FILE_NAME:
        edit(own_model, put("files", name, "size", value=100 << 30))
    try:
        os.truncate(own_model / name, 100 << 30)
    except OSError:
        pytest.skip("this file system has no files of that size")
    assert_invalid(own_model, name, f"has {100 << 30} bytes")


# --- banks with a matching hash ---------------------------------------------------------------------------------------


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("key", ["terms", "scores", "names"])
def test_pickle_in_a_bank_is_refused_and_not_run(
    own_model: Path, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_invalid(with_bank(own_model, npz(**{key: np.array([Bomb()] * 5, dtype=object)})), "bank.npz")
    assert not Path("unpickled").exists()


def test_bare_pickle_and_bare_array_are_no_bank(own_model: Path, tmp_path: Path) -> None:
    for array in (np.array([Bomb()], dtype=object), tiny.weights().bank.terms):
        np.save(tmp_path / "bare.npy", array)
        assert_invalid(with_bank(own_model, (tmp_path / "bare.npy").read_bytes()), "bank.npz", ".npz of terms")
    (own_model / "bank.npz").write_bytes(np.array([Bomb()], dtype=object).dumps())
    seal(own_model)
    assert_invalid(own_model, "bank.npz", ".npz of terms")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["terms", "scores"])
def test_bank_that_is_not_finite_is_refused(own_model: Path, key: str, value: float) -> None:
    array = getattr(tiny.weights().bank, key).copy()
    array[3] = value
    assert_invalid(with_bank(own_model, npz(**{key: array})), "bank.npz", "exemplar 3 ('d')")


@pytest.mark.parametrize(
    "arrays",
    [
        {"terms": np.zeros((5, 8))},
        {"terms": np.zeros((5, 8), np.float16)},
        {"scores": np.zeros(5, np.int64)},
        {"names": np.zeros(5)},
        {"terms": np.zeros(5, np.dtype([("a", np.float32)]))},
        {"terms": np.zeros((4, 8), np.float32)},
        {"terms": np.zeros((5, 8, 1), np.float32)},
        {"terms": np.zeros((), np.float32)},
        {"scores": np.zeros((5, 1), np.float32)},
        {"names": np.array(["a"])},
        {"terms": np.zeros((0, 8), np.float32), "scores": np.zeros(0, np.float32), "names": np.array([], "<U1")},
    ],
    ids=short,
)
def test_bank_of_other_types_or_shapes_is_refused(own_model: Path, arrays: dict[str, Any]) -> None:
    assert_invalid(with_bank(own_model, npz(**arrays)), "bank.npz", "expected")


@pytest.mark.parametrize("width", [0, 1, 7, 9])
def test_bank_of_another_width_is_refused(own_model: Path, width: int) -> None:
    bank = npz(terms=np.zeros((5, width), np.float32))
    assert_invalid(with_bank(own_model, bank), "bank", f"{width} numbers", "8")


@pytest.mark.parametrize("key", ["terms", "scores", "names"])
def test_bank_without_an_array_is_refused(own_model: Path, key: str) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as whole, zipfile.ZipFile(stream, "w") as rest:
        for name in whole.namelist():
            if name != f"{key}.npy":
                rest.writestr(name, whole.read(name))
    assert_invalid(with_bank(own_model, stream.getvalue()), "bank.npz", key)


def test_cut_and_random_banks_are_refused(own_model: Path) -> None:
    data = (own_model / "bank.npz").read_bytes()
    for other in (b"", b"PK", b"PK\x03\x04", data[: len(data) // 2], data[:-1], np.random.default_rng(2).bytes(500)):
        assert_invalid(with_bank(own_model, other), "bank.npz")


def test_flipped_byte_in_a_sealed_bank_never_crashes(own_model: Path) -> None:
    data = (own_model / "bank.npz").read_bytes()
    for position in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        try:
            pscr.runtime.bank.Bank.from_bytes(bytes(damaged), "bank.npz")
        except pscr.PscrError as error:
            assert error.status is pscr.Status.MODEL_INVALID  # noqa: PT017
            assert "\n" not in error.message  # noqa: PT017


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000000)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 8)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 400 + ",)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (5, 8)}",
        "{'descr': " + "(" * 200 + ")" * 200 + "}",
        "{" + " " * 20_000 + "}",
        "__import__('os').mkdir('unpickled')",
        "'''",
    ],
    ids=short,
)
def test_array_header_that_lies_is_refused(
    own_model: Path, header: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(160)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as whole, zipfile.ZipFile(stream, "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, array if name == "terms.npy" else whole.read(name))
    assert_invalid(with_bank(own_model, stream.getvalue()), "bank.npz")
    assert not Path("unpickled").exists()


def test_bank_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(own_model: Path) -> None:
    """Its directory says that the terms unpack to 2 GiB."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as whole, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
        archive.getinfo("terms.npy").file_size = 2 << 30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert_invalid(with_bank(own_model, stream.getvalue()), "bank.npz", "unpacks to")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize(
    "arrays",
    [
        {"line": np.array([0.0, 0.0])},
        {"line": np.array([np.nan, 0.0])},
        {"line": np.array([1.0])},
        {"line": np.array([1, 0])},
        {"probe": np.zeros(3, np.float32)},
        {"probe": np.full(8, np.inf, np.float32)},
        {"about": np.array("[]")},
        {"about": np.array("{")},
        {"about": np.array("[" * 100_000)},
        {"about": np.array(7)},
    ],
    ids=short,
)
def test_what_a_built_bank_says_of_itself_is_checked(own_model: Path, arrays: dict[str, Any]) -> None:
    assert_invalid(with_bank(own_model, npz(**arrays)), "bank.npz")


@pytest.mark.parametrize(
    "entry",
    [
        *({}, {"levels": [0.9]}, {"levels": "many"}),
        *({**CALIBRATION, key: value} for key in CALIBRATION for value in (None, DEEP, "x", INF, -1, [0], [INF] * 2)),
    ],
    ids=short,
)
def test_calibration_that_cannot_be_is_refused(own_model: Path, entry: Any) -> None:
    if entry.get("protocol", "x") != "made up" or entry.get("spread_correlation") == -1:
        pytest.skip("any text is a protocol, any number a correlation")
    edit(own_model, put("calibration", value=entry))
    assert_invalid(own_model, "'calibration'")


def test_names_that_are_no_text_are_refused(own_model: Path) -> None:
    names = np.frombuffer(b"\xff" * 20, "<U1")
    assert_invalid(with_bank(own_model, npz(names=names)), "bank.npz")


def test_golden_of_another_type_is_refused(own_model: Path) -> None:
    edit(own_model, put("golden", value=[1, 2]))
    assert_invalid(own_model, FILE_NAME, "'golden'")
