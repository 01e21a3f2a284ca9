"""What `pscr score --engine ray` refuses before it starts anything, how it reads tables, and how it shares work out."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from cli_testing import Cli

pytest.importorskip("ray")
import pyarrow as pa
import pyarrow.parquet
import ray

from pscr.console import UsageError
from pscr.ray.cluster import connected, share
from pscr.ray.pool import Part, split
from pscr.ray.worker import as_row
from pscr.runtime.diagnosis import Diagnosis
from pscr.runtime.errors import PscrError
from pscr.runtime.scorer import Result
from pscr.tables.fields import COLUMNS
from pscr.tables.inputs import Item
from pscr.tables.parquet import ResultsFolder, read_parquet, read_paths

# --- wrong command lines, which start nothing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "-o FOLDER"),
        (["-o", "-"], "-o FOLDER"),
        (["-o", "scores.csv"], "expected the name of a folder"),
        (["-o", "out", "--format", "csv"], "writes Parquet"),
        (["-o", "none/out"], "there is no folder"),
    ],
)
def test_an_output_that_is_no_folder_is_refused(
    cli: Cli, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], part: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("score", image, "--engine", "ray", *words)
    assert done.code == 2
    assert part in done.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", [["--workers", 2], ["--ray-address", "auto"], ["--path-column", "image"], ["--part", 9]]
)
def test_an_option_of_the_ray_engine_needs_it(cli: Cli, image: Path, words: list[object]) -> None:
    done = cli("score", image, *words)
    assert done.code == 2
    assert f"{words[0]} belongs to --engine ray" in done.error


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("a.csv", b"image,n\na.png,1\n", "has no column 'path'; it has image, n"),
        ("a.csv", b"", "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_a_table_without_paths_is_refused(cli: Cli, tmp_path: Path, name: str, content: bytes, part: str) -> None:
    (tmp_path / name).write_bytes(content)
    done = cli("score", tmp_path / name, "--engine", "ray", "-o", tmp_path / "out")
    assert done.code == 2
    assert part in done.error


def test_files_of_something_else_are_not_added_to(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "scores-000000000.parquet"
    pa.parquet.write_table(pa.table({"path": ["a"]}), file)
    done = cli("score", image, "--model", tiny_model, "--engine", "ray", "-o", tmp_path / "out", "--resume")
    assert done.code == 2
    assert "is not what pscr score --engine ray writes" in done.error


def test_two_runs_do_not_share_a_folder(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    with ResultsFolder(tmp_path / "out", resume=True):
        done = cli("score", image, "--model", tiny_model, "--engine", "ray", "-o", tmp_path / "out", "--resume")
    assert done.code == 2
    assert "another run is writing there" in done.error


def test_without_ray_one_line_says_what_to_install(
    cli: Cli, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(name='ray')")
    monkeypatch.syspath_prepend(tmp_path)
    done = cli("score", image, "--engine", "ray", "-o", tmp_path / "out")
    assert done.code == 3
    assert "pip install 'pscr[ray]'" in done.error


def test_a_cluster_that_does_not_answer_is_exit_code_3(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    done = cli(
        "score", image, "--model", tiny_model, "--engine", "ray", "-o", tmp_path / "out", "--ray-address", "localhost:1"
    )
    assert done.code == 3
    assert "no Ray cluster answers at localhost:1" in done.error


# --- tables of paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "folder", "binary"])
def test_paths_are_read_from_parquet_relative_to_it(tmp_path: Path, kind: str) -> None:
    """As in `pscr bank build`; a folder of Parquet files, as other programs write them, is one table."""
    paths: list[Any] = ["b.png", None, "below/a.png"]
    if kind == "binary":
        paths = [b"caf\xe9.png", None, b"below/a.png"]
    table = tmp_path / "list.parquet"
    if kind == "folder":
        table.mkdir()
    pa.parquet.write_table(pa.table({"n": range(3), "path": paths}), table / "0.parquet" if kind == "folder" else table)
    items = read_paths(str(table), "path")
    first = os.fsdecode(b"caf\xe9.png") if kind == "binary" else "b.png"
    assert [item.path for item in items] == [str(tmp_path / first), "", str(tmp_path / "below" / "a.png")]
    assert [bool(item.problem) for item in items] == [False, True, False]


# --- the parts --------------------------------------------------------------------------------------------------------


def test_parts_hold_neighbours_only_so_that_files_by_name_keep_the_order() -> None:
    items = [(place, Item(str(place))) for place in (0, 1, 2, 3, 7, 8, 11)]
    parts = split(items, 3)
    assert [(part.first, [item.path for item in part.items]) for part in parts] == [
        (0, ["0", "1", "2"]),
        (3, ["3"]),
        (7, ["7", "8"]),
        (11, ["11"]),
    ]
    assert parts[1] == Part(3, [Item("3")])


def test_the_halves_of_a_part_are_the_part_until_one_image_is_alone() -> None:
    items = [Item(str(place)) for place in range(3)]
    first, second = Part(7, items).again()
    assert (first, second) == (Part(7, items[:1]), Part(8, items[1:]))
    assert first.again() == [Part(7, items[:1], deaths=1)]


def test_a_place_that_is_taken_gets_a_second_file(tmp_path: Path) -> None:
    row = dict.fromkeys(COLUMNS) | {"path": "a", "status": "OK", "message": ""}
    with ResultsFolder(tmp_path / "out", resume=False) as folder:
        names = [folder.write(7, [row]).name for _ in range(2)]
        assert names == ["scores-000000007.parquet", "scores-000000007-1.parquet"]
        assert folder.earlier().done == {"a": 2}


def test_a_folder_of_diagnosed_rows_is_read_back_and_goes_on_with_diagnoses_only(tmp_path: Path) -> None:
    out, found = tmp_path / "out", Result(2.5, None, 8, 8, path="a", diagnosis=Diagnosis("blur", 0.75, 3.5))
    with ResultsFolder(out, resume=False, diagnosed=True) as folder:
        folder.write(0, [as_row(found, diagnosed=True)])
        assert folder.earlier().done == {"a": 1}
    assert [row.result for row in read_parquet(out)] == [found]
    with ResultsFolder(out, resume=True) as folder, pytest.raises(UsageError, match=r"its columns are .*probability"):
        folder.earlier()


@pytest.mark.parametrize(
    ("nodes", "workers", "threads", "found"),
    [
        ([8], None, None, (2, 4)),
        ([2], None, None, (1, 2)),
        ([8, 8], 4, None, (4, 4)),
        ([6, 6], 3, None, (3, 3)),  # three of four threads would leave one without a place
        ([4, 2], 3, None, (3, 2)),
        ([8], None, 2, (4, 2)),
        ([8], 8, None, (8, 1)),
    ],
)
def test_workers_share_the_cores_of_each_machine(
    nodes: list[int], workers: int | None, threads: int | None, found: tuple[int, int]
) -> None:
    pool = share(nodes, workers, threads)
    assert (pool.workers, pool.threads) == found


@pytest.mark.parametrize(("nodes", "workers", "threads"), [([2], 3, None), ([2, 2], 1, 4), ([], 1, None)])
def test_more_workers_than_cores_are_refused(nodes: list[int], workers: int, threads: int | None) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        share(nodes, workers, threads)


def test_sigterm_is_what_it_was_where_ray_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*given: object, **options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as ray.init takes it, before anything can go wrong
        raise ConnectionError("no raylet")

    monkeypatch.setattr(ray, "init", init)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(PscrError, match="no raylet"), connected("local", 1, 1):
        raise AssertionError("connected")
    assert signal.getsignal(signal.SIGTERM) == before
