"""Tables and shards that are not as they should be: rows that say so, or one line, and no image beside them is lost."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from cli_testing import Cli, Outcome, write_image
from table_makers import IMAGE, held, write_arrow, write_parquet, write_shard, write_tar


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / "files" / f"{seed}.png", seed, 64) for seed in range(8)]


def rows_of(done: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.out.splitlines()]


# --- tars -------------------------------------------------------------------------------------------------------------


def test_what_leads_out_of_a_tar_is_a_row_each_and_the_images_beside_it_are_scored(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    data = files[0].read_bytes()
    odd = {
        "link.png": tarfile.SYMTYPE,
        "hard.png": tarfile.LNKTYPE,
        "null.png": tarfile.CHRTYPE,
        "pipe.png": tarfile.FIFOTYPE,
    }
    path = write_tar(tmp_path / "a.tar", [("first.png", data), ("../out.png", data), (f"{tmp_path}/root.png", data)])
    with tarfile.open(path, "a") as tar:
        for name, kind in odd.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.devmajor, member.devminor = kind, str(files[1]), 1, 3
            tar.addfile(member)
        tar.add(files[2], "last.png")
    before = sorted(tmp_path.rglob("*"))
    done = cli("score", path, "--model", tiny_model, "--format", "jsonl")
    rows = rows_of(done)
    assert done.code == 1
    assert [row["path"].removeprefix(f"{path}/") for row in rows] == [
        "first.png",
        "../out.png",
        f"{tmp_path}/root.png",
        *odd,
        "last.png",
    ]
    assert [row["status"] for row in rows] == ["OK", *["INVALID_ARGUMENT"] * 6, "OK"]
    assert all(row["message"] for row in rows[1:-1])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz")])
@pytest.mark.parametrize("left", [0.3, 0.6])
def test_a_tar_cut_short_keeps_the_rows_before_the_cut_and_other_inputs_go_on(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path, name: str, mode: str, left: float
) -> None:
    path = write_shard(tmp_path / name, files, mode)
    whole = rows_of(cli("score", path, "--model", tiny_model, "--format", "jsonl"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
    done = cli("score", path, files[0], "--model", tiny_model, "--format", "jsonl")
    *there, cut, last = rows_of(done)
    assert done.code == 1
    assert 0 < len(there) < len(whole)
    assert there == whole[: len(there)]
    assert (cut["path"], cut["status"]) == (str(path), "DECODE_FAILED")
    assert f"{len(there)} rows of it came before" in cut["message"]
    assert (last["path"], last["status"]) == (str(files[0]), "OK")


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_parquet, write_arrow])
def test_a_table_of_zero_rows_is_one_row_that_says_so(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path, write: Any
) -> None:
    path = write(tmp_path / f"a.{'parquet' if write is write_parquet else 'arrow'}", {"image": pa.array([], IMAGE)})
    done = cli("score", path, files[0], "--model", tiny_model, "--format", "jsonl")
    empty, good = rows_of(done)
    assert done.code == 1
    assert (empty["path"], empty["score"]) == (str(path), None)
    assert "no rows" in empty["message"]
    assert good["status"] == "OK"


def test_a_dataset_of_which_one_file_is_empty_is_whole(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    for number, cells in enumerate(([], held(files[:2]))):
        write_parquet(tmp_path / "set" / f"train-0000{number}-of-00002.parquet", {"image": pa.array(cells, IMAGE)})
    done = cli("score", tmp_path / "set", "--model", tiny_model, "--format", "jsonl")
    assert (done.code, [row["status"] for row in rows_of(done)]) == (0, ["OK", "OK"])


def test_empty_cells_keep_their_rows_whichever_type_the_column_has(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    data = files[0].read_bytes()
    for cells in (
        pa.array([data, None, b""]),
        pa.array([str(files[0]), None, ""]),
        pa.array([{"bytes": data, "path": None}, None, {"bytes": None, "path": None}], IMAGE),
    ):
        path = write_parquet(tmp_path / "a.parquet", {"image": cells, "n": [0, 1, 2]})
        done = cli("score", path, "--model", tiny_model, "--format", "jsonl")
        rows = rows_of(done)
        assert done.code == 1
        assert [row["n"] for row in rows] == [0, 1, 2]
        assert rows[0]["status"] == "OK"
        assert rows[1]["status"] == "INVALID_ARGUMENT"
        assert rows[2]["status"] in {"INVALID_ARGUMENT", "DECODE_FAILED"}


@pytest.mark.parametrize(
    ("cells", "words", "said"),
    [
        (pa.array([1, 2]), (), "column 'image' holds int64; expected bytes, paths, or structs of bytes and path"),
        (pa.array([[1], [2]]), (), "column 'image' holds list<"),
        (pa.array([1, 2]), ("--image-column", "image"), "column 'image' holds int64"),
        (pa.array([1, 2]), ("--image-column", "picture"), "no column 'picture'; it has image"),
    ],
)
def test_a_column_that_is_missing_or_of_another_type_is_one_line(
    cli: Cli, tmp_path: Path, cells: Any, words: tuple[str, ...], said: str
) -> None:
    path, output = write_parquet(tmp_path / "a.parquet", {"image": cells}), tmp_path / "a.csv"
    done = cli("score", path, *words, "-o", output)
    assert done.code == 2
    assert said in done.error
    assert not output.exists()


def test_a_table_cut_short_is_one_line_and_in_a_folder_a_row(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    good, cut = (
        write_parquet(tmp_path / "set" / f"train-0000{number}-of-00002.parquet", {"image": pa.array(held(some), IMAGE)})
        for number, some in enumerate((files[:4], files[4:]))
    )
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    done = cli("score", cut, "--model", tiny_model)
    assert done.code == 2
    assert f"{cut} cannot be read as Parquet" in done.error
    done = cli("score", good.parent, "--model", tiny_model, "--format", "jsonl")
    rows = rows_of(done)
    assert (done.code, [row["status"] for row in rows]) == (1, ["OK"] * 4 + ["DECODE_FAILED"])
    assert "0 rows of it were read" in rows[-1]["message"]


def test_a_table_damaged_in_its_middle_keeps_the_rows_before(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"bytes": [file.read_bytes() for file in files], "n": list(range(8))})
    pyarrow.parquet.write_table(table, path, row_group_size=2, use_dictionary=False, compression="none")
    place = pyarrow.parquet.read_metadata(path).row_group(2).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 8] = b"\xff" * 8  # of the page's header
    path.write_bytes(data)
    done = cli("score", path, "--model", tiny_model, "--format", "jsonl")
    rows = rows_of(done)
    assert done.code == 1
    assert [row["n"] for row in rows] == [0, 1, 2, 3, None]
    assert "4 rows of it were read" in rows[-1]["message"]
