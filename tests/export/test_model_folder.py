"""A model folder is replaced as a whole: whatever goes wrong, the old one or the new one is there."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_model as tiny
from engine_makers import place

import pscr
from pscr.export import model_folder
from pscr.runtime.engines import files
from pscr.runtime.errors import PscrError
from pscr.runtime.manifest import Manifest

OURS = ("model.onnx", "bank.npz")
VIEW = "import sys; from pscr.export.to_view import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A model folder that is to be replaced."""
    return tiny.write(tmp_path / "place" / "model", seed=7)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put(source: Path, output: Path) -> Manifest:
    """Put a copy of a model folder in the place of another."""
    with model_folder.unfinished(output) as folder:
        for name in OURS:
            (folder / name).write_bytes((source / name).read_bytes())
        return model_folder.finish(replace(Manifest.read(source), name=output.name), folder, OURS, output)


@pytest.mark.parametrize("limit", [200, 50_000])
def test_a_full_disk_leaves_the_old_folder_as_it_was(old: Path, tmp_path: Path, limit: int) -> None:
    """No file may grow beyond the limit, a real refusal by the system: within the graph, or a picture brought along."""
    (old / "scatter.png").write_bytes(bytes(100_000))
    source, before = tiny.write(tmp_path / "source", seed=8, format_version=1), contents(old)
    assert limit < (source / "model.onnx").stat().st_size or limit > sum(map(len, contents(source).values()))
    done = subprocess.run(
        [sys.executable, "-c", VIEW, str(source), "-o", str(old), "--threads", "1"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "make room" in done.stderr
    assert done.stderr.count("\n") == 1
    assert contents(old) == before
    assert [path.name for path in old.parent.iterdir()] == ["model"], "nothing is left beside it"
    with pscr.open(old, "cpu", 1) as scorer:
        assert scorer.manifest.name == "tiny"


def test_a_swap_that_fails_puts_the_old_folder_back(old: Path, tmp_path: Path) -> None:
    before = contents(old)
    with pytest.raises(FileNotFoundError):
        model_folder._swap(tmp_path / "container" / "none", old)
    assert contents(old) == before


def test_the_new_folder_has_nothing_of_the_old_model_and_all_that_was_put_beside_it(old: Path, tmp_path: Path) -> None:
    (old / "README.md").write_text("a card")
    (old / "model-baked.onnx").write_bytes(b"of the old graph")
    Manifest.read(old).write(old, [*OURS, "model-baked.onnx"])
    source = tiny.write(tmp_path / "source", seed=8)
    written = put(source, old)
    assert set(contents(old)) == {*OURS, "manifest.json", "README.md"}
    assert written == Manifest.read(old)
    assert (old / "model.onnx").read_bytes() == (source / "model.onnx").read_bytes()
    assert old.stat().st_mode == source.stat().st_mode, "others may read it as they may read any new folder"


def test_engines_of_the_same_graph_stay_and_those_of_another_go(old: Path, tmp_path: Path) -> None:
    digest = Manifest.read(old).files["model.onnx"].sha256
    place(old, onnx_sha256=digest)
    place(old, onnx_sha256="0" * 64, precision="int8")
    kept = files(old)[0]
    put(tiny.write(tmp_path / "same", seed=7), old)
    assert files(old) == [kept]
    assert (kept.parent / f"{kept.name}.json").is_file()
    put(tiny.write(tmp_path / "other", seed=8), old)
    assert not (old / "engines").exists()


def test_a_folder_that_is_no_model_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = tiny.write(tmp_path / "source")
    put(source, tmp_path / "empty")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"")
    with pytest.raises(PscrError, match="is there and is no model folder"):
        put(source, tmp_path / "photos")
    assert contents(tmp_path / "photos") == {"holiday.jpg": b""}
