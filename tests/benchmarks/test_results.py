"""Result files say what they are, compare side by side, and are what the tables in docs/ say."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import compare
import pytest
import readme_table

from pscr import PscrError
from pscr.bench.record import Record

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
MODEL = {"name": "tiny", "precision": "fp32", "library": "onnxruntime 1.2.3", "device": "cpu", "sha256": "ab"}
HEADER = {"date": "2026-11-21", "processor": "A CPU @ 2 GHz", "cores": 2, "threads": 2, "idle": True, "model": MODEL}


def row(scenario, median, stable=True):
    figures = {"images_per_s": round(1000 / median, 2), "count": 9, "p50_ms": median, "p90_ms": 2 * median}
    return {"scenario": scenario, "setting": "x", **figures, "p99_ms": 9.0, "stable": stable, "samples_ms": [1.0, 2.0]}


@pytest.fixture
def before():
    rows = [row("single-stream", 10.0), row("offline", 8.0)]
    return Record("latency", "python benchmarks/latency.py", HEADER, ("scenario", "setting"), rows)


def run(*words):
    command = [sys.executable, str(ROOT / "benchmarks" / "compare.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_two_files_stand_side_by_side_with_what_differs(before, tmp_path):
    other = {**HEADER, "threads": 1, "idle": False, "model": {**MODEL, "sha256": "cd"}}
    rows = [row("offline", 4.0, stable=False), row("server", 1.0)]
    files = before.save(tmp_path / "a"), replace(before, environment=other, rows=rows).save(tmp_path / "b")
    done = run(*files)
    assert done.returncode == 0, done.stderr
    assert "threads: 2 -> 1" in done.stdout
    assert "model.sha256: ab -> cd" in done.stdout
    assert "after: the machine was busy" in done.stdout
    assert "only in one: single-stream, x" in done.stdout
    assert "only in one: server, x" in done.stdout
    found = {r["figure"]: r for r in compare.side_by_side(Record.read(files[0]), Record.read(files[1]))}
    assert set(found) == {"images_per_s", "p50_ms", "p90_ms", "p99_ms"}
    assert (found["p50_ms"]["before"], found["p50_ms"]["after"], found["p50_ms"]["after/before"]) == (8.0, 4.0, 0.5)
    assert found["p50_ms"]["settled"] == "no"


def test_other_instruments_and_other_files_are_refused_in_one_line(before, tmp_path):
    stages = replace(before, instrument="stages").save(tmp_path)
    (tmp_path / "x.json").write_text("[1]")
    for words, says in (
        ((before.save(tmp_path), stages), "expected two results of the same instrument"),
        ((stages, tmp_path / "x.json"), "not a result file"),
        ((stages, tmp_path / "none.json"), "cannot be read"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


def test_a_file_is_named_by_what_it_is_and_comes_back_as_it_was(before, tmp_path):
    path = before.save(tmp_path)
    assert path.name == "latency-tiny-fp32-onnxruntime_1.2.3-cpu-2threads-a_cpu_2_ghz.json"
    assert Record.read(path).rows == before.rows
    lines = path.with_suffix(".csv").read_text()
    assert "# processor: A CPU @ 2 GHz\n" in lines
    assert "\nsingle-stream,x,100.0,9,10.0,20.0,9.0,True\n" in lines
    assert "samples_ms" not in lines


def test_a_file_without_rows_is_refused(before, tmp_path):
    path = replace(before, rows=[]).name
    (tmp_path / f"{path}.json").write_text(
        json.dumps({"instrument": "a", "command": "b", "environment": {}, "keys": [], "rows": []})
    )
    with pytest.raises(PscrError, match="has no rows"):
        Record.read(tmp_path / f"{path}.json")


def test_the_page_is_written_from_results_and_writing_it_again_changes_nothing(before):
    text = f"# Title\n{BEGIN}\nold 12 ms\n{END}\nmore\n"
    page = readme_table.page(text, readme_table.details([before]))
    assert "old" not in page
    assert "| single-stream, x | 100.0 | 10.0 | 20.0 | 9.0 | yes |" in page
    assert "`python benchmarks/latency.py`: tiny, fp32, onnxruntime 1.2.3, 2 threads, A CPU @ 2 GHz (2 cores)" in page
    assert page.startswith("# Title\n")
    assert page.endswith("\nmore\n")
    assert readme_table.page(page, readme_table.details([before])) == page
    assert "Not measured yet" in readme_table.page(page, readme_table.details([]))


def test_the_summary_has_a_line_for_each_promise_and_the_command_that_measured_it(before):
    summary = readme_table.summary([before])
    assert "2 cores of an A CPU @ 2 GHz" in summary
    assert "| 10.0 ms (9.0) | `python benchmarks/latency.py` |" in summary
    assert "| tiny: images a second, a long list | 125.0 |" in summary
    assert readme_table.summary([]) == ""


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN])
def test_a_page_without_both_marks_is_refused(text):
    with pytest.raises(ValueError, match="expected <!-- speed: begin -->"):
        readme_table.page(text, "")


def test_the_page_says_what_the_committed_results_say():
    words = [sys.executable, str(ROOT / "benchmarks" / "readme_table.py"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}run: python benchmarks/readme_table.py"
