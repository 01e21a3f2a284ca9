"""What stands for an image in a table or a program: taken for what it is, or refused with what to pass instead."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_makers import assert_refused, colours, encoded

import pscr
from pscr.runtime.errors import PscrError, Status
from pscr.runtime.image import load

PNG = encoded(colours(), "PNG")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    return file


@pytest.mark.parametrize(
    "wrapped",
    [
        pytest.param(lambda path: {"bytes": None, "path": str(path)}, id="a path alone"),
        pytest.param(lambda path: {"path": path}, id="no bytes"),
        pytest.param(lambda path: {"bytes": PNG, "path": None}, id="bytes alone"),
        pytest.param(lambda path: {"bytes": PNG}, id="no path"),
        pytest.param(lambda path: {"bytes": PNG, "path": "elsewhere.png"}, id="bytes before the path"),
        pytest.param(lambda path: np.str_(path), id="numpy text"),
        pytest.param(lambda path: np.bytes_(PNG), id="numpy bytes"),
        pytest.param(lambda path: memoryview(PNG), id="memoryview"),
        pytest.param(lambda path: io.BytesIO(PNG).getbuffer(), id="a stream's buffer"),
    ],
)
def test_what_holds_an_image_is_read(path: Path, wrapped: Callable[[Path], Any]) -> None:
    np.testing.assert_array_equal(load(wrapped(path)), colours())


@pytest.mark.parametrize("source", [{"bytes": None, "path": None}, {"bytes": None}, {"path": None}])
def test_mapping_without_bytes_and_path_says_so(source: dict[str, None]) -> None:
    with pytest.raises(PscrError) as caught:
        load(source)
    assert_refused(caught, Status.INVALID_ARGUMENT, "bytes and path are both None or missing", "expected one of them")


def test_a_stream_says_what_to_pass() -> None:
    with pytest.raises(PscrError) as caught:
        load(io.BytesIO(PNG))  # type: ignore[arg-type]
    assert_refused(caught, Status.INVALID_ARGUMENT, "found BytesIO", "pass its read()")


def test_a_row_without_an_image_has_a_result_and_the_rest_goes_on(tiny_model: Path, path: Path) -> None:
    column = [
        {"bytes": None, "path": None}, {"bytes": None, "path": str(path)}, {"bytes": None}, {}, {"bytes": 5, "path": 6},
        io.BytesIO(PNG), np.str_(path), np.array("a.png"), np.array([None]), {"bytes": PNG, "path": None},
    ]  # fmt: skip
    with pscr.open(tiny_model, "cpu", 1) as scorer:
        results = list(scorer.score_many(column))
    assert [number for number, result in enumerate(results) if result.ok] == [1, 6, 9]
    assert {result.status for result in results if not result.ok} == {Status.INVALID_ARGUMENT}
    assert len({result.score for result in results if result.ok}) == 1


def test_a_pyarrow_column_with_gaps_and_broken_text_is_scored_to_its_end(tiny_model: Path, path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    good = str(path).encode()
    text = pyarrow.array([good, b"\xff\xfe.png", None, good], pyarrow.binary()).view(pyarrow.string())
    struct = pyarrow.array([{"bytes": PNG, "path": None}, {"bytes": None, "path": str(path)}, None])
    with pscr.open(tiny_model, "cpu", 1) as scorer:
        assert [result.ok for result in scorer.score_many(text)] == [True, False, False, True]
        assert [result.ok for result in scorer.score_many(struct)] == [True, True, False]
        assert scorer.score(struct[1]).ok
        with pytest.raises(PscrError) as caught:
            scorer.score(text[1])
    assert_refused(caught, Status.INVALID_ARGUMENT, "found StringScalar")
