"""Damaged and hostile banks with a matching hash: always MODEL_INVALID, and nothing in them is run."""

from __future__ import annotations

import io
import math
import os
import resource
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model as tiny
from hostile_folders import (
    assert_invalid,
    npz,
    seal,
    short,
    with_bank,
)

import pscr


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("unpickled",)


def rewritten(name: str, data: bytes, packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The tiny model's bank with other bytes for one of its arrays."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(npz())) as whole, zipfile.ZipFile(stream, "w", packing) as archive:
        for entry in whole.namelist():
            archive.writestr(entry, data if entry == f"{name}.npy" else whole.read(entry))
    return stream.getvalue()


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
    assert_invalid(with_bank(own_model, bank), f"bank_terms is [5, {width}]", "takes [K, 8]")


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
    assert_invalid(with_bank(own_model, rewritten("terms", array)), "bank.npz")
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
    ("name", "kind", "shape"),
    [("names", "<U0", (50_000_000,)), ("terms", "<U0", (50_000_000,)), ("names", "|V0", (50_000_000,)),
     ("names", "<U1", (5, 0, 50_000_000)), ("scores", "<f4", (50_000_000, 0)), ("names", "<U1", (5_000_000,)),
     ("terms", "<f4", (500_000, 8))],
)  # fmt: skip
def test_a_small_file_takes_little_memory_whatever_its_arrays_promise(
    own_model: Path, name: str, kind: str, shape: tuple[int, ...]
) -> None:
    """Fifty million names without a letter, arrays without a number, and zeros, which shrink to a thousandth."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}"
    values = bytes(np.dtype(kind).itemsize * math.prod(shape))
    bank = rewritten(name, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + values)
    assert len(bank) < 50_000
    with_bank(own_model, bank)
    tracemalloc.start()
    try:
        assert_invalid(own_model, "bank.npz")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_packing_that_asks_for_memory_of_its_own_is_refused(own_model: Path, packing: int) -> None:
    assert_invalid(with_bank(own_model, rewritten("none", b"", packing)), "bank.npz", f"method {packing}")


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


def test_names_that_are_no_text_are_refused(own_model: Path) -> None:
    names = np.frombuffer(b"\xff" * 20, "<U1")
    assert_invalid(with_bank(own_model, npz(names=names)), "bank.npz")
