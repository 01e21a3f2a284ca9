"""`pscr score --engine ray` gives the rows of the plain engine, each once, whatever becomes of its processes."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from cli_testing import Cli, Outcome, Process, command, write_image

pytest.importorskip("ray")
import pyarrow as pa
import pyarrow.parquet

from pscr.ray.cluster import STORE
from pscr.tables.parquet import SCHEMA

pytestmark = pytest.mark.slow

Row = dict[str, Any]


def rows_in(folder: Path, ended: bool = True) -> list[Row]:
    """All rows, in the order of the files' names, as any reader of Parquet sees them. ended: not by SIGKILL, which may
    leave half a file, under a hidden name.
    """
    table = pa.parquet.read_table(folder)
    assert table.schema.equals(SCHEMA)
    assert not ended or not list(folder.glob(".*.tmp"))
    rows: list[Row] = table.to_pylist()
    return rows


def plain(cli: Cli, model: Path, out: Path, *words: object) -> list[Row]:
    """The rows of the plain engine."""
    cli("score", *words, "--model", model, "--threads", 1, "-o", out)
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture
def cli(process: Process) -> Cli:
    """Run `pscr` in a process of its own: Ray ends a program whose machine is gone, and would end pytest with it."""

    def run(*words: object) -> Outcome:
        done = process(*words)
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images that take a while to decode: links to six files, and one that is broken."""
    folder = tmp_path_factory.mktemp("many")
    sources = [write_image(folder / "sources" / f"{seed}.jpg", seed, 1400) for seed in range(6)]
    (folder / "images").mkdir()
    for number in range(300):
        (folder / "images" / f"{number}.jpg").symlink_to(sources[number % len(sources)])
    (folder / "images" / "77.jpg").unlink()
    (folder / "images" / "77.jpg").write_bytes(b"no image")
    return folder / "images"


@pytest.fixture(scope="module")
def expected(tiny_model: Path, many: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Their rows by the plain engine."""
    out = tmp_path_factory.mktemp("expected") / "plain.jsonl"
    subprocess.run(command("score", many, "--model", tiny_model, "-o", out, "-q"), check=False)
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A cluster of two machines of one core each, as far as Ray can tell; it outlives the runs."""
    from ray.cluster_utils import Cluster

    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 8}
    more = {"_system_config": quick, "num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=more)
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(machines: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The cluster, which `pscr score` finds by RAY_ADDRESS."""
    monkeypatch.setenv("RAY_ADDRESS", machines.address)
    return machines


def ray_words(*words: object) -> list[bytes]:
    return command("score", *words, "--engine", "ray", "--workers", 2, "--threads", 1)


def wait_for(what: Callable[[], Any], run: subprocess.Popen[bytes] | None = None, seconds: float = 240) -> Any:
    """What the function gives as soon as it gives something, while `run` still runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        assert run is None or run.poll() is None, "the run has ended"
        time.sleep(0.02)
    raise AssertionError("waited in vain")


# --- processes that are killed ----------------------------------------------------------------------------------------


def test_a_machine_that_is_lost_half_way_loses_nothing_and_repeats_nothing(
    cluster: Any, tiny_model: Path, many: Path, tmp_path: Path, expected: list[Row]
) -> None:
    """Its worker is gone with it, and no other can take its place: the one that is left does all the rest."""
    lost = cluster.add_node(num_cpus=1, object_store_memory=STORE)
    out = tmp_path / "out"
    words = command("score", many, "--model", tiny_model, "-o", out, "--part", 10, "--engine", "ray", "--workers", 3)
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(words, stderr=log) as run:
        wait_for(lambda: len(list(out.glob("*.parquet"))) >= 3, run)
        before = len(list(out.glob("*.parquet")))
        cluster.remove_node(lost, allow_graceful=False)
        assert before < 25, "the machine was lost too late to say anything"
        assert run.wait(300) == 1, (tmp_path / "log").read_text()
    assert rows_in(out) == expected


def test_a_worker_killed_half_way_loses_nothing_and_repeats_nothing(
    tiny_model: Path, many: Path, tmp_path: Path, expected: list[Row]
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    words = ray_words(many, "--model", tiny_model, "-o", out, "--part", 10)
    workers: Callable[[], list[int]] = lambda: list(map(int, re.findall(r"from process (\d+)", log.read_text())))  # noqa: E731
    environment = {**os.environ, "PSCR_DEBUG": "1"}
    printed = tmp_path / "stdout"
    with (
        log.open("wb") as stream,
        printed.open("wb") as out_stream,
        subprocess.Popen(words, stdout=out_stream, stderr=stream, env=environment) as run,
    ):
        wait_for(lambda: len(list(out.glob("*.parquet"))) >= 3 and workers(), run)
        before = len(list(out.glob("*.parquet")))
        killed = workers()[-1]
        os.kill(killed, signal.SIGKILL)
        assert before < 25, "the worker was killed too late to say anything"
        assert run.wait(300) == 1, log.read_text()[-3000:]  # the broken image
    assert rows_in(out) == expected
    after = workers()
    assert len(set(after)) >= 3, "no worker came in the place of the one that was killed"
    assert after[-1] != killed
    assert "299 scored, 1 failed" in log.read_text()
    assert printed.read_bytes() == b""


@pytest.mark.usefixtures("cluster")
def test_a_run_that_is_killed_goes_on_without_gap_or_repetition(
    cli: Cli, tiny_model: Path, many: Path, tmp_path: Path, expected: list[Row]
) -> None:
    out = tmp_path / "out"
    words = ray_words(many, "--model", tiny_model, "-o", out, "--part", 10)
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True) as run:
        wait_for(lambda: len(list(out.glob("*.parquet"))) >= 3, run)
        run.kill()
        assert run.wait(60) == -signal.SIGKILL
    left = {row["path"]: row for row in rows_in(out, ended=False)}
    assert 30 <= len(left) < 300
    assert all(left[row["path"]] == row for row in expected if row["path"] in left)
    times = {file.name: file.stat().st_mtime_ns for file in out.glob("*.parquet")}
    (out / ".scores-000000299.tmp").write_bytes(b"half a file")
    done = cli("score", many, "--model", tiny_model, "-o", out, "--engine", "ray", "--workers", 2, "--resume")
    assert done.code == 1
    assert f"299 scored, 1 failed, mean {np.nanmean(scores(expected)):.3f}" in done.error
    assert f"({len(left)} of them before)" in done.error
    assert rows_in(out) == expected
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in times.items())


def scores(rows: list[Row]) -> list[float]:
    return [math.nan if row["score"] is None else row["score"] for row in rows]


def run_with(fault: str, site: Path, words: list[bytes]) -> subprocess.CompletedProcess[bytes]:
    """Run with a fault in every process: a sitecustomize of its own."""
    site.mkdir()
    (site / "sitecustomize.py").write_text(fault)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(words, capture_output=True, timeout=300, env={**os.environ, "PYTHONPATH": path})


CRASH = """
import os, cv2
decode = cv2.imdecode
def imdecode(data, *more):
    if bytes(data[-6:]) == b"POISON":
        os.kill(os.getpid(), 9)
    return decode(data, *more)
cv2.imdecode = imdecode
"""


def test_an_image_that_ends_every_worker_costs_its_own_row_only(tiny_model: Path, tmp_path: Path) -> None:
    """As a fault in a decoder would: the real one kills its process at one image."""
    for number in range(8):
        write_image(tmp_path / "images" / f"{number}.png", number)
    with (tmp_path / "images" / "3.png").open("ab") as stream:
        stream.write(b"POISON")
    out = tmp_path / "out"
    words = ray_words(tmp_path / "images", "--model", tiny_model, "-o", out, "--part", 4)
    done = run_with(CRASH, tmp_path / "site", words)
    assert done.returncode == 1, done.stderr
    assert (done.stdout, done.stderr.count(b"\n")) == (b"", 1), done.stderr
    rows = rows_in(out)
    assert [Path(row["path"]).name for row in rows] == [f"{number}.png" for number in range(8)]
    assert [row["status"] for row in rows] == ["OK"] * 3 + ["INTERNAL"] + ["OK"] * 4
    assert "died each time" in rows[3]["message"]


NO_MEMORY = """
import os, sys
if any("default_worker" in word for word in sys.orig_argv):
    import cv2
    cv2.setNumThreads = lambda number: os.kill(os.getpid(), 9)
"""


def test_workers_that_die_before_they_are_at_work_end_the_run(tiny_model: Path, image: Path, tmp_path: Path) -> None:
    """As the system ends them where memory is short: nothing is at fault with any image."""
    words = command("score", image, "--model", tiny_model, "--engine", "ray", "--workers", 1, "-o", tmp_path / "out")
    done = run_with(NO_MEMORY, tmp_path / "site", words)
    assert done.returncode == 3, done.stderr
    assert (done.stdout, done.stderr.count(b"\n")) == (b"", 1), done.stderr
    assert b"die before they score an image" in done.stderr
    assert not list((tmp_path / "out").iterdir())


# --- inputs and outputs -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("cluster")
def test_broken_and_missing_files_and_names_of_any_bytes_are_rows(
    cli: Cli, tiny_model: Path, images: Path, truncated: Path, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9 \xff.png")
    write_image(tmp_path / "odd.png").rename(odd)
    (tmp_path / "empty").mkdir()
    words = [images, truncated, tmp_path / "missing.png", tmp_path / "empty", odd, images / "img1.png"]
    done = cli("score", *words, "--model", tiny_model, "--engine", "ray", "--workers", 2, "-o", tmp_path / "out")
    assert done.code == 1
    assert "6 scored, 3 failed" in done.error
    rows = rows_in(tmp_path / "out")
    wanted = plain(cli, tiny_model, tmp_path / "plain.jsonl", *words)
    wanted[-2]["path"] = str(tmp_path / "caf\\xe9 \\xff.png")
    assert rows == wanted


@pytest.mark.usefixtures("cluster")
def test_a_table_of_paths_is_scored_in_its_order(cli: Cli, tiny_model: Path, images: Path, tmp_path: Path) -> None:
    table = images / "list.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("n", "image"), (1, "img10.png"), (2, "below/deep.JPG"), (3, ""), (4, "img1.png")]
        )
    out = tmp_path / "out"
    words = ["--model", tiny_model, "--engine", "ray", "--workers", 1, "-o", out, "--path-column", "image"]
    assert cli("score", table, *words).code == 1
    rows = rows_in(out)
    assert [row["path"] for row in rows] == [
        str(images / "img10.png"),
        str(images / "below" / "deep.JPG"),
        "",
        str(images / "img1.png"),
    ]
    assert [row["status"] for row in rows] == ["OK", "OK", "FILE_NOT_FOUND", "OK"]
    assert rows[2]["message"] == f"row 3 of {table} has no path"


@pytest.mark.usefixtures("cluster")
def test_resuming_takes_what_is_new_and_leaves_what_is_there(
    cli: Cli, tiny_model: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--model", tiny_model, "--engine", "ray", "-o", out]
    assert cli("score", images, *words).code == 0
    first = rows_in(out)
    again = cli("score", images, *words)
    assert again.code == 2
    assert "--resume" in again.error
    write_image(images / "img0.png", 9)  # before all others
    assert cli("score", images, *words, "--resume").code == 0
    rows = rows_in(out)
    assert [row for row in rows if "img0" not in row["path"]] == first
    assert sum("img0" in row["path"] for row in rows) == 1
    done = cli("score", images, *words, "--resume")
    assert (done.code, rows_in(out)) == (0, rows)
    assert "(5 of them before)" in done.error


def test_what_only_a_worker_can_find_out_ends_the_run_with_its_own_words(
    cluster: Any, cli: Cli, tiny_model: Path, images: Path, tmp_path: Path
) -> None:
    """A worker whose device cannot be used: here a GPU that is promised and not there."""
    pytest.importorskip("onnxruntime")
    promised = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE)
    words = ["--model", tiny_model, "--engine", "ray", "--workers", 1, "-o", tmp_path / "out", "--device", "cuda:99"]
    done = cli("score", images, *words)
    cluster.remove_node(promised)
    assert done.code == 3
    assert re.search(r"error: process \d+ on .+: .*CUDA", done.error)
    assert not list((tmp_path / "out").glob("*.parquet"))


@pytest.mark.usefixtures("cluster")
def test_gpus_that_nobody_has_are_not_waited_for(cli: Cli, tiny_model: Path, image: Path, tmp_path: Path) -> None:
    if list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("there is a GPU")
    words = ["--model", tiny_model, "--engine", "ray", "--workers", 1, "-o", tmp_path / "out", "--device", "cuda"]
    done = cli("score", image, *words)
    assert done.code == 3
    assert "needs a GPU for each of 1 workers; Ray has 0" in done.error


def test_a_run_whose_ray_is_gone_says_so_and_goes_on_later(
    machines: Any, cli: Cli, tiny_model: Path, many: Path, tmp_path: Path, expected: list[Row]
) -> None:
    """Ray may end the process that it is in; the exit code must not be that of a run with failed images."""
    out, log = tmp_path / "out", tmp_path / "log"
    words = ray_words(many, "--model", tiny_model, "-o", out, "--part", 10)
    with log.open("wb") as stream, subprocess.Popen(words, stderr=stream) as run:
        wait_for(lambda: len(list(out.glob("*.parquet"))) >= 3, run)
        below = psutil.Process(run.pid).children(recursive=True)
        for one in (one for one in below if one.name() == "raylet" or one.name().startswith("ray::")):
            one.kill()
        assert run.wait(120) == 3, log.read_text()
    (said,) = log.read_text().splitlines()
    assert "what was written is kept" in said  # by us, or where Ray ended the process that led the run
    assert "--resume goes on" in said
    assert 30 <= len(rows_in(out, ended=False)) < 300
    again = ["--model", tiny_model, "-o", out, "--engine", "ray", "--ray-address", machines.address, "--resume"]
    assert cli("score", many, *again).code == 1
    assert rows_in(out) == expected


@pytest.mark.usefixtures("cluster")
def test_a_list_on_standard_input_is_read(process: Process, tiny_model: Path, images: Path, tmp_path: Path) -> None:
    names = [images / "img2.png", images / "img10.png", images / "img1.png"]
    words = ["score", "-", "--model", tiny_model, "--engine", "ray", "-o", tmp_path / "out", "-q"]
    done = process(*words, stdin="".join(f"{name}\n" for name in names).encode())
    assert (done.returncode, done.stderr) == (0, b"")
    assert [row["path"] for row in rows_in(tmp_path / "out")] == list(map(str, names))
