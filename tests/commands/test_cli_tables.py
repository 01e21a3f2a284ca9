"""`pscr score` of tables and shards: the scores of the files themselves, joined to the rows, in any output."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from cli_testing import Cli, command, write_image
from table_makers import IMAGE, held, write_arrow, write_parquet, write_shard, write_tar

from pscr.tables.fields import COLUMNS


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Forty images of a folder, in the order in which it is read."""
    return [
        write_image(tmp_path / "files" / f"{seed:02}.{'png' if seed % 2 else 'jpg'}", seed, 64) for seed in range(40)
    ]


def images(files: list[Path]) -> Any:
    return pa.array(held(files), IMAGE)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_folder_a_table_a_stream_and_tars_of_the_same_images_give_the_same_scores(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    inputs = [
        files[0].parent,
        write_parquet(tmp_path / "a.parquet", {"image": images(files)}),
        write_parquet(tmp_path / "b.parquet", {"path": [str(file) for file in files]}),
        write_parquet(tmp_path / "c.parquet", {"bytes": [file.read_bytes() for file in files]}),
        write_arrow(tmp_path / "a.arrow", {"image": images(files)}),
        write_shard(tmp_path / "a.tar", files),
        write_shard(tmp_path / "a.tar.gz", files, "w:gz"),
    ]
    scores = []
    for one in inputs:
        done = cli("score", one, "--model", tiny_model, "--format", "jsonl")
        assert done.code == 0, done.err
        scores.append([row["score"] for row in lines(done.out)])
    assert len(scores[0]) == 40
    assert len(set(scores[0])) > 30
    for found in scores[1:]:
        assert found == pytest.approx(scores[0], abs=1e-6)


def test_results_stand_behind_the_columns_of_the_table(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    more = {"n": list(range(40)), "tags": [["a", "b"]] * 40, "half": [0.5, None] * 20}
    path = write_parquet(tmp_path / "a.parquet", {"image": images(files), **more})
    done = cli("score", path, "--model", tiny_model, "--format", "jsonl")
    row = lines(done.out)[1]
    assert tuple(row) == ("image", "n", "tags", "half", *COLUMNS)
    assert (row["image"], row["n"], row["tags"], row["half"]) == ("01.png", 1, ["a", "b"], None)
    assert row["path"] == f"{path}/1"
    done = cli("score", path, "--model", tiny_model, "--format", "csv", "--columns", "n,tags")
    cells = next(csv.DictReader(io.StringIO(done.out)))
    assert list(cells) == ["n", "tags", *COLUMNS]
    assert json.loads(cells["tags"]) == ["a", "b"]


def test_results_whose_name_is_taken_get_a_prefix_and_the_output_can_be_joined_again(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    table = {"path": [str(file) for file in files], "score": [7.0] * 40, "status": ["kept"] * 40}
    path = write_parquet(tmp_path / "a.parquet", table)
    first, second = tmp_path / "b.parquet", tmp_path / "c.parquet"
    assert cli("score", path, "--model", tiny_model, "-o", first).code == 0
    assert cli("score", first, "--model", tiny_model, "-o", second, "--image-column", "path").code == 0
    found = pyarrow.parquet.read_table(second)
    assert found["score"].to_pylist() == [7.0] * 40
    assert found["status"].to_pylist() == ["kept"] * 40
    assert found["pscr_pscr_score"].to_pylist() == pytest.approx(found["pscr_score"].to_pylist(), abs=1e-6)
    assert found["pscr_path"].to_pylist() == found["path"].to_pylist()


def test_a_parquet_output_keeps_the_types_of_the_table(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    struct = pa.array([{"a": 1, "b": "x"}] * 40, pa.struct([("a", pa.int16()), ("b", pa.string())]))
    day = pa.array([pa.scalar(5, pa.date32()).as_py()] * 40, pa.date32())
    given = pa.table({"image": images(files), "small": pa.array([1] * 40, pa.uint8()), "struct": struct, "day": day})
    path = write_parquet(tmp_path / "a.parquet", {name: given[name] for name in given.column_names})
    output = tmp_path / "b.parquet"
    assert cli("score", path, "--model", tiny_model, "-o", output).code == 0
    found = pyarrow.parquet.read_table(output)
    for name in ("small", "struct", "day"):
        assert found[name].type == given[name].type
        assert found[name].to_pylist() == given[name].to_pylist()
    assert found["status"].to_pylist() == ["OK"] * 40


def test_files_can_be_written_to_parquet_too(cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    assert cli("score", files[0].parent, tmp_path / "none.png", "--model", tiny_model, "-o", output).code == 1
    found = pyarrow.parquet.read_table(output).to_pylist()
    assert [row["path"] for row in found] == [*map(str, files), str(tmp_path / "none.png")]
    assert (found[-1]["status"], found[-1]["score"]) == ("FILE_NOT_FOUND", None)


def test_empty_cells_are_failed_rows_in_their_place(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    cells = [held(files[:1])[0], None, {"bytes": b"no image", "path": None}, held(files[1:2])[0]]
    path = write_parquet(tmp_path / "a.parquet", {"image": pa.array(cells, IMAGE), "n": [0, 1, 2, 3]})
    done = cli("score", path, "--model", tiny_model, "--format", "jsonl")
    rows = lines(done.out)
    assert done.code == 1
    assert [row["status"] for row in rows] == ["OK", "INVALID_ARGUMENT", "DECODE_FAILED", "OK"]
    assert [row["n"] for row in rows] == [0, 1, 2, 3]
    assert rows[2]["message"].startswith(f"{path}/2: not an image")


def test_tables_shards_and_files_can_stand_beside_each_other(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    table = write_parquet(tmp_path / "a.parquet", {"image": images(files[:2]), "caption": ["one", "two"]})
    shard, output = write_shard(tmp_path / "a.tar", files[2:4]), tmp_path / "b.parquet"
    given = (files[5], table, files[6], shard)
    assert cli("score", *given, "--model", tiny_model, "-o", output, "--columns", "caption").code == 0
    rows = pyarrow.parquet.read_table(output).to_pylist()
    assert [row["caption"] for row in rows] == [None, "one", "two", None, "caption 0", "caption 1"]
    assert [Path(row["path"]).name for row in rows] == ["05.png", "0", "1", "06.jpg", "0000.jpg", "0001.png"]


def test_columns_of_one_name_and_two_types_are_refused(cli: Cli, files: list[Path], tmp_path: Path) -> None:
    given = [
        write_parquet(tmp_path / f"{at}.parquet", {"image": images(files[:1]), "n": cells})
        for at, cells in enumerate(([1], ["x"]))
    ]
    done = cli("score", *given)
    assert done.code == 2
    assert "column 'n' is int64 in one table and string in another" in done.error


def test_patterns_name_shards(cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path) -> None:
    for number in (10, 9):
        write_shard(tmp_path / f"shard-{number}.tar", files[number : number + 1])
    done = cli("score", tmp_path / "shard-*.tar", "--model", tiny_model, "--format", "jsonl")
    assert [Path(row["path"]).parent.name for row in lines(done.out)] == ["shard-9.tar", "shard-10.tar"]


def test_a_shard_cut_short_keeps_its_rows_and_ends_with_exit_code_1(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    path = write_shard(tmp_path / "a.tar", files)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = cli("score", path, "--model", tiny_model, "--format", "jsonl")
    rows = lines(done.out)
    assert done.code == 1
    assert {row["status"] for row in rows[:-1]} == {"OK"}
    assert len(rows) > 10
    assert "cannot be read to its end" in rows[-1]["message"]


def test_nothing_of_a_tar_is_unpacked(cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path) -> None:
    data = files[0].read_bytes()
    members = [("../out.png", data), (f"{tmp_path}/out2.png", data), ("in.png", data)]
    path = write_tar(tmp_path / "a.tar", members)
    before = sorted(tmp_path.rglob("*"))
    done = cli("score", path, "--model", tiny_model, "--format", "jsonl")
    assert [row["status"] for row in lines(done.out)] == ["INVALID_ARGUMENT", "INVALID_ARGUMENT", "OK"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_interrupted_run_goes_on_with_the_rows_that_are_missing(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path, ending: str
) -> None:
    table = write_parquet(
        tmp_path / "a.parquet", {"image": images(files), 'a "name", status': ["x\n,y"] * 40, "status": [1] * 40}
    )
    output = tmp_path / f"out.{ending}"
    words = ("score", table, "--model", tiny_model, "-o", output)
    assert cli(*words).code == 0
    whole = output.read_bytes()
    output.write_bytes(whole[: len(whole) * 2 // 3])
    done = cli(*words, "--resume")
    assert done.code == 0
    assert "40 scored, 0 failed" in done.err
    assert output.read_bytes() == whole


def test_a_run_with_other_columns_is_not_added_to(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path
) -> None:
    path, output = write_parquet(tmp_path / "a.parquet", {"image": images(files[:2]), "n": [1, 2]}), tmp_path / "a.csv"
    assert cli("score", path, "--model", tiny_model, "-o", output).code == 0
    done = cli("score", path, "--model", tiny_model, "-o", output, "--resume", "--columns", "n")
    assert done.code == 2
    assert "has the columns image, n, path" in done.error


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_results_with_columns_beside_them_are_read_back(
    cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path, ending: str
) -> None:
    table = {"path": [str(file) for file in files[:3]], "score": ["x"] * 3}
    path, output = write_parquet(tmp_path / "a.parquet", table), tmp_path / f"b.{ending}"
    assert cli("score", path, "--model", tiny_model, "-o", output).code == 0
    done = cli("tag", files[1], "--scores", output, "--model", tiny_model, "--dry-run")
    assert (done.code, "1 would be tagged" in done.err) == (0, True), done.err


def test_a_full_disk_is_one_message(cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    done = cli("score", files[0], "--model", tiny_model, "-o", "/dev/full", "--format", "parquet")
    assert done.code == 3
    assert "No space left" in done.error


def test_an_interrupted_parquet_output_can_be_read(tiny_model: Path, files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    words = command("score", "-", "--model", tiny_model, "-o", output)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write("".join(f"{file}\n" for file in files).encode())
        process.stdin.flush()
        while not output.exists() or not output.stat().st_size:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 143
    assert set(pyarrow.parquet.read_table(output).column_names) == set(COLUMNS)


def test_groups_are_summed_up_at_the_end(cli: Cli, tiny_model: Path, files: list[Path], tmp_path: Path) -> None:
    table = {"image": images(files), "model": ["a", "b"] * 20}
    path = write_parquet(tmp_path / "a.parquet", table)
    done = cli("score", path, "--model", tiny_model, "--format", "jsonl", "--group-by", "model")
    scores = [row["score"] for row in lines(done.out) if row["model"] == "a"]
    (row,) = [line.split() for line in done.err.splitlines() if line.startswith("a ")]
    assert row == ["a", "20", *(f"{x:.3f}" for x in (sum(scores) / 20, min(scores), max(scores))), "0"]
    done = cli("score", path, "--model", tiny_model, "--format", "jsonl", "--group-by", "none")
    assert done.code == 2
    assert "there is no such column; the output has image, model, path" in done.error


def test_metadata_are_columns_that_can_be_grouped_by(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.PngImagePlugin")
    image = pytest.importorskip("PIL.Image")
    for seed, sampler in enumerate(("Euler a", "DDIM", "Euler a")):
        said = pillow.PngInfo()
        said.add_text("parameters", f"a cat\nSteps: 20, Sampler: {sampler}, Seed: {seed}, Model: v1")
        file = write_image(tmp_path / "in" / f"{seed}.png", seed)
        image.open(file).save(file, pnginfo=said)
    done = cli(
        "score", tmp_path / "in", "--model", tiny_model, "--format", "jsonl", "--metadata", "--group-by", "sampler"
    )
    assert [row["seed"] for row in lines(done.out)] == ["0", "1", "2"]
    assert {row["prompt"] for row in lines(done.out)} == {"a cat"}
    counts = {line.split("  ")[0]: line.split()[-5] for line in done.err.splitlines()[-2:]}
    assert counts == {"Euler a": "2", "DDIM": "1"}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--image-column", "x"], "it has image, n"),
        (["--columns", "x"], "no column 'x'"),
        (["--group-by", "n", "-q"], "--group-by"),
        (["--engine", "ray", "-o", "out", "--metadata"], "--metadata goes with --engine local"),
        (["--group-by", "n", "-o", "a.csv", "--resume"], "--group-by sums up one run"),
        (["-o", "b.parquet", "--resume"], "--resume goes on from a file"),
        (["-o", "a.parquet", "--overwrite"], "over the input"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    cli: Cli, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], found: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = write_parquet(tmp_path / "a.parquet", {"image": images(files[:2]), "n": [1, 2]}).read_bytes()
    done = cli("score", "a.parquet", *words)
    assert done.code == 2
    assert found in done.error
    assert Path("a.parquet").read_bytes() == before


def test_options_of_tables_without_a_table_are_refused(cli: Cli, files: list[Path]) -> None:
    done = cli("score", files[0], "--image-column", "x")
    assert done.code == 2
    assert "there is none" in done.error


def test_without_pyarrow_the_extra_is_named(files: list[Path], tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", {"image": images(files[:2])})
    code = (
        "import sys; sys.modules['pyarrow'] = None; from pscr.commands.main import main; sys.exit(main(sys.argv[1:]))"
    )
    for words in (["score", str(path)], ["score", str(files[0]), "-o", str(tmp_path / "b.parquet")]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert "pip install 'pscr[tables]'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "tar"])
def test_memory_does_not_grow_with_the_table(kind: str, tmp_path: Path) -> None:
    """A file of 600 MB is read in a process that never holds half of that."""
    one = os.urandom(2**20)
    path = tmp_path / f"a.{kind}"
    if kind == "tar":
        write_tar(path, [(f"{number}.png", one) for number in range(600)])
    else:
        with pyarrow.parquet.ParquetWriter(path, pa.schema([("bytes", pa.binary())]), use_dictionary=False) as writer:
            for _ in range(60):
                writer.write_table(pa.table({"bytes": [one] * 10}))
    code = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from pscr.tables.table_inputs import Wanted, inputs_of\n"
        "count = sum(1 for _ in inputs_of(sys.argv[1:], False, Wanted()).items)\n"
        "print(count, re.search(r'VmHWM:\\s+([0-9]+)', Path('/proc/self/status').read_text())[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    count, kilobytes = map(int, done.stdout.split())
    assert count == 600
    assert kilobytes < 300_000
