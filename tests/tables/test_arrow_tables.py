"""Images in Parquet and Arrow files: which column they are in, what stands beside them, what is wrong with a table."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from cli_testing import write_image
from table_makers import IMAGE, held, write_arrow, write_parquet

from pscr.console import UsageError
from pscr.runtime.errors import Status
from pscr.tables.arrow_tables import ArrowTable
from pscr.tables.dataset_folders import is_dataset


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / "files" / f"{seed}.png", seed, 32) for seed in range(20)]


def columns(files: list[Path], **more: Any) -> dict[str, Any]:
    return {"image": pa.array(held(files), IMAGE), **more}


def test_rows_come_in_order_with_their_images_and_the_other_columns(tmp_path: Path, files: list[Path]) -> None:
    table = ArrowTable.open(str(write_parquet(tmp_path / "a.parquet", columns(files, n=list(range(20))))))
    items = list(table)
    assert table.count == 20
    assert [item.source for item in items] == [file.read_bytes() for file in files]
    assert [item.cells for item in items] == [{"image": f"{n}.png", "n": n} for n in range(20)]
    assert [item.path for item in items] == [f"{tmp_path}/a.parquet/{n}" for n in range(20)]


@pytest.mark.parametrize(
    ("name", "cells"),
    [("bytes", [b"1", b"2"]), ("path", ["x.png", "y.png"]), ("image", [{"bytes": b"1", "path": None}] * 2)],
)
def test_the_only_column_of_images_is_found(tmp_path: Path, name: str, cells: list[Any]) -> None:
    kind = IMAGE if isinstance(cells[0], dict) else None
    path = write_parquet(tmp_path / "a.parquet", {"text": ["a", "b"], name: pa.array(cells, kind)})
    assert all(item.source or item.path.endswith(".png") for item in ArrowTable.open(str(path)))


def test_paths_start_at_the_table(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"file": ["x.png", "/y/z.png"]})
    items = list(ArrowTable.open(str(path), "file"))
    assert [item.path for item in items] == [str(tmp_path / "x.png"), "/y/z.png"]
    assert [item.cells for item in items] == [{"file": "x.png"}, {"file": "/y/z.png"}]


def test_columns_with_bytes_are_left_out_however_deep_they_lie(tmp_path: Path, files: list[Path]) -> None:
    deep = pa.array([[{"x": b"1"}]] * 20, pa.list_(pa.struct([("x", pa.binary())])))
    path = write_parquet(tmp_path / "a.parquet", columns(files, mask=[b"1"] * 20, deep=deep, tags=[["a"]] * 20))
    assert list(ArrowTable.open(str(path)).columns) == ["image", "tags"]


def test_two_columns_that_may_be_images_are_named(tmp_path: Path, files: list[Path]) -> None:
    path = write_parquet(tmp_path / "a.parquet", columns(files, other=pa.array(held(files), IMAGE)))
    with pytest.raises(UsageError, match=r"2 columns .*\(image, other\); name one by --image-column"):
        ArrowTable.open(str(path))
    assert len(list(ArrowTable.open(str(path), "other"))) == 20


@pytest.mark.parametrize(
    ("asked", "words"), [(None, "no column that is called"), ("photo", "it has n, text"), ("n", "holds int64")]
)
def test_a_table_without_the_column_says_what_it_has(tmp_path: Path, asked: str | None, words: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"n": [1], "text": ["a"]})
    with pytest.raises(UsageError, match=words):
        ArrowTable.open(str(path), asked)


def test_a_row_without_an_image_is_a_row_with_a_status(tmp_path: Path, files: list[Path]) -> None:
    cells = [None, {"bytes": None, "path": None}, *held(files[:1])]
    path = write_parquet(tmp_path / "a.parquet", {"image": pa.array(cells, IMAGE), "n": [1, 2, 3]})
    empty, hollow, good = ArrowTable.open(str(path))
    assert empty.status == hollow.status == Status.INVALID_ARGUMENT
    assert "row 0" in empty.problem
    assert (good.problem, good.cells["n"], hollow.cells["n"]) == ("", 3, 2)


def test_asked_columns_alone_are_kept_and_unknown_ones_refused(tmp_path: Path, files: list[Path]) -> None:
    path = str(write_parquet(tmp_path / "a.parquet", columns(files, n=[1] * 20, m=[2] * 20)))
    assert next(iter(ArrowTable.open(path, columns=("m",)))).cells == {"m": 2}
    assert next(iter(ArrowTable.open(path, columns=()))).cells == {}
    with pytest.raises(UsageError, match="no column 'x'"):
        ArrowTable.open(path, columns=("x",))


def test_times_of_nanoseconds_are_kept_to_the_microsecond(tmp_path: Path) -> None:
    when = pa.array([1_700_000_000_000_000_123], pa.timestamp("ns"))
    path = write_parquet(tmp_path / "a.parquet", {"path": ["a.png"], "when": when})
    (item,) = ArrowTable.open(str(path))
    assert item.cells["when"] == datetime(2023, 11, 14, 22, 13, 20)


def test_a_dataset_of_arrow_files_is_read_in_the_order_of_its_state(tmp_path: Path, files: list[Path]) -> None:
    names = [
        write_arrow(tmp_path / name, columns(files[:2], n=[at, at + 1])).name
        for name, at in (("b.arrow", 0), ("a.arrow", 2))
    ]
    write_arrow(tmp_path / "cache-1.arrow", columns(files))
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    assert is_dataset(str(tmp_path))
    assert [item.cells["n"] for item in ArrowTable.open(str(tmp_path))] == [0, 1, 2, 3]


def test_a_state_cannot_lead_out_of_its_folder(tmp_path: Path, files: list[Path]) -> None:
    write_arrow(tmp_path / "outside.arrow", columns(files))
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "../outside.arrow"}, {"filename": ".."}]})
    )
    with pytest.raises(UsageError, match="cannot be read"):
        ArrowTable.open(str(folder))


def test_what_datasets_itself_saves_is_read(tmp_path: Path, files: list[Path]) -> None:
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"image": [str(file) for file in files], "n": list(range(20))})
    data.cast_column("image", datasets.Image()).save_to_disk(tmp_path / "set", num_shards=3)
    assert [item.cells["n"] for item in ArrowTable.open(str(tmp_path / "set"))] == list(range(20))
    splits = datasets.DatasetDict({"train": data, "test": data}).cast_column("image", datasets.Image())
    splits.save_to_disk(tmp_path / "splits")
    assert [item.cells["n"] for item in ArrowTable.open(str(tmp_path / "splits"))] == [*range(20), *range(20)]


def test_a_folder_of_the_hub_is_a_dataset_and_a_folder_of_images_is_none(tmp_path: Path, files: list[Path]) -> None:
    write_parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", columns(files))
    write_parquet(tmp_path / "files" / "metadata.parquet", {"file_name": ["0.png"]})
    assert is_dataset(str(tmp_path / "hub"))
    assert not is_dataset(str(tmp_path / "files"))


def test_files_of_one_table_agree_on_types(tmp_path: Path, files: list[Path]) -> None:
    for number, cells in enumerate((pa.nulls(2), pa.array(["a", "b"]), pa.array(["c", None], pa.large_string()))):
        name = f"train-0000{number}-of-00003.parquet"
        write_parquet(tmp_path / "set" / name, {"caption": cells, "image": pa.array(held(files[:2]), IMAGE)})
    items = list(ArrowTable.open(str(tmp_path / "set")))
    assert [item.cells["caption"] for item in items] == [None, None, "a", "b", "c", None]
    write_parquet(tmp_path / "set" / "train-00003-of-00003.parquet", columns(files, caption=[1] * 20))
    with pytest.raises(UsageError, match="different types"):
        ArrowTable.open(str(tmp_path / "set"))
    write_parquet(tmp_path / "set" / "train-00003-of-00003.parquet", columns(files))
    with pytest.raises(UsageError, match="files with the columns"):
        ArrowTable.open(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        (pa.dictionary(pa.int8(), pa.string()), "a"),
        (pa.map_(pa.string(), pa.int8()), [("a", 1)]),
        (pa.list_(pa.float32(), 2), [1.0, 2.0]),
        (pa.decimal128(5, 2), Decimal("1.25")),
        (pa.json_() if hasattr(pa, "json_") else pa.string(), '{"a": 1}'),
    ],
)
def test_columns_of_any_type_are_kept(tmp_path: Path, kind: Any, cell: Any) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"path": ["a.png", "b.png"], "x": pa.array([cell, None], kind)})
    assert [item.cells["x"] for item in ArrowTable.open(str(path))] == [cell, None]


@pytest.mark.parametrize(
    "kind", [pa.binary(3), pa.map_(pa.string(), pa.binary()), pa.dictionary(pa.int8(), pa.binary())]
)
def test_bytes_of_any_type_are_left_out(tmp_path: Path, kind: Any) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"path": ["a.png"], "x": pa.array([None], kind)})
    assert list(ArrowTable.open(str(path)).columns) == ["path"]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_damaged_file_of_a_folder_is_a_row_and_the_others_are_read(
    tmp_path: Path, files: list[Path], ending: str
) -> None:
    write = write_parquet if ending == "parquet" else write_arrow
    for number in range(2):
        write(tmp_path / "set" / f"train-0000{number}-of-00002.{ending}", columns(files))
    cut = tmp_path / "set" / f"train-00000-of-00002.{ending}"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    items = list(ArrowTable.open(str(tmp_path / "set")))
    damaged = [item for item in items if item.problem]
    assert [item.status for item in damaged] == [Status.DECODE_FAILED]
    assert damaged[0].path == str(cut)
    assert [item.source for item in items[-20:]] == [file.read_bytes() for file in files]


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        ArrowTable.open(str(tmp_path / "a.parquet"))
