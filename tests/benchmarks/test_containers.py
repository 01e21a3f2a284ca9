"""The comparison of containers writes the same images everywhere, and does not pass over a score that differs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from containers import Way

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "containers.py"


def ways(difference):
    folder = Way("folder", 2, Path("a"), seconds=[2.0], cpu_seconds=[3.0], scores=[1.0, 2.0])
    return folder, Way("tar", 2, Path("b"), folder, (), [4.0, 1.0, 2.5], [3.0, 3.0, 6.0], [1.0, 2.0 + difference])


def test_figures_are_medians_beside_the_folder():
    folder, tar = (way.row() for way in ways(1e-6))
    assert (folder["of_folder"], folder["cpu_of_folder"], folder["largest_difference"]) == (1.0, 1.0, 0.0)
    assert (tar["images_per_s"], tar["of_folder"], tar["cpu_ms"]) == (0.8, 0.8, 1500.0)
    assert (tar["runs"], tar["largest_difference"]) == (3, 1e-6)


@pytest.mark.parametrize("difference", [2e-6, -0.1])
def test_a_score_that_differs_ends_it(difference):
    with pytest.raises(SystemExit, match="tar: a score differs"):
        ways(difference)[1].row()


@pytest.mark.slow
def test_every_container_gives_the_scores_of_the_files(tiny_model, tmp_path):
    words = [SCRIPT, "--model", tiny_model, "--count", 5, "--frames", 3, "-o", tmp_path / "out"]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "out").glob("*.json")
    rows = json.loads(found.read_text("utf-8"))["rows"]
    assert [row["images"] for row in rows] == [5, 5, 5, 5, 3, 3]
    assert {row["largest_difference"] for row in rows} == {0.0}
