"""The exemplar bank: written the same to the byte, read back equal, checked before it is used."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model as tiny
from image_makers import assert_refused

from pscr.runtime.bank import Bank
from pscr.runtime.errors import PscrError, Status

TERMS = np.arange(6, dtype=np.float32).reshape(3, 2)
SCORES = np.array([1, 2, 3], np.float32)
NAMES = np.array(["a.jpg", "größe.png", "模型.png"])


def npz(**arrays: Any) -> bytes:
    """The bytes of an .npz of these arrays in place of a good bank's."""
    stream = io.BytesIO()
    np.savez(stream, **{"terms": TERMS, "scores": SCORES, "names": NAMES, **arrays})
    return stream.getvalue()


def refusal(data: bytes) -> pytest.ExceptionInfo[PscrError]:
    """The error that these bytes give."""
    with pytest.raises(PscrError) as caught:
        Bank.from_bytes(data, "some/bank.npz")
    return caught


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    Bank(TERMS, SCORES, tuple(NAMES.tolist())).write(tmp_path / "bank.npz")
    bank = Bank.read(tmp_path / "bank.npz")
    np.testing.assert_array_equal(bank.terms, TERMS)
    np.testing.assert_array_equal(bank.scores, SCORES)
    assert bank.names == tuple(NAMES.tolist())
    assert len(bank) == 3


def test_the_same_bank_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        tiny.weights().bank.write(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_a_bank_that_numpy_saved_is_read() -> None:
    assert Bank.from_bytes(npz()).names == tuple(NAMES.tolist())


def test_terms_are_given_in_rows_whatever_the_order_of_the_file() -> None:
    bank = Bank.from_bytes(npz(terms=np.asfortranarray(TERMS)))
    assert bank.terms.flags.c_contiguous
    np.testing.assert_array_equal(bank.terms, TERMS)


def test_the_placeholder_is_one_exemplar_of_zeros() -> None:
    bank = Bank.placeholder(7)
    assert (len(bank), bank.terms.shape, bank.scores.tolist()) == (1, (1, 7), [0.0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("key", ["terms", "scores"])
def test_an_exemplar_that_is_not_finite_is_named(key: str, value: float) -> None:
    array = {"terms": TERMS, "scores": SCORES}[key].copy()
    array[1] = value
    assert_refused(refusal(npz(**{key: array})), Status.MODEL_INVALID, "some/bank.npz", "exemplar 1", "größe", "again")


@pytest.mark.parametrize(
    "arrays",
    [
        {"terms": TERMS.astype(np.float64)},
        {"terms": TERMS.astype(">f4")},
        {"terms": TERMS.astype(np.complex64)},
        {"scores": SCORES.astype(np.int32)},
        {"names": np.arange(3)},
        {"names": np.array([b"a", b"b", b"c"])},
    ],
)
def test_other_types_are_refused(arrays: dict[str, Any]) -> None:
    assert_refused(refusal(npz(**arrays)), Status.MODEL_INVALID, "some/bank.npz", "has types", "expected float32")


@pytest.mark.parametrize(
    "arrays",
    [
        {"terms": TERMS[:2]},
        {"terms": TERMS[0]},
        {"terms": TERMS[None]},
        {"terms": np.float32(3)},
        {"scores": SCORES[:2]},
        {"scores": SCORES[:, None]},
        {"names": NAMES[:2]},
        {"names": np.str_("a")},
        {"terms": TERMS[:0], "scores": SCORES[:0], "names": NAMES[:0]},
    ],
)
def test_shapes_that_do_not_agree_are_refused(arrays: dict[str, Any]) -> None:
    assert_refused(refusal(npz(**arrays)), Status.MODEL_INVALID, "some/bank.npz", "terms (", "[K,H], [K], [K]")


def test_pickled_objects_are_never_loaded() -> None:
    names = np.array(["a", None, {}], dtype=object)
    assert_refused(refusal(npz(names=names)), Status.MODEL_INVALID, "some/bank.npz", "allow_pickle=False")


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path / "none.npz", tmp_path, Path("a\0b")):
        with pytest.raises(PscrError) as caught:
            Bank.read(path)
        assert_refused(caught, Status.FILE_NOT_FOUND, "cannot be read", "expected a bank.npz")
