"""The package's type hints, as the type checker of someone who uses it reads them."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("mypy", reason="mypy is not installed: pip install 'pscr[dev]'")

ROOT = Path(__file__).parents[2]
HOUSES = ("runtime", "export", "training")
GOOD = """
from pathlib import Path
from PIL import Image
import numpy as np
import pscr

with pscr.open("agiqa3k-lite0", device="cpu", threads=2) as scorer:
    result = scorer.score(Path("a.png"))
    reveal_type(result)
    reveal_type(result.score)
    reveal_type(result.interval)
    scorer.score("a.png")
    scorer.score(b"...")
    scorer.score(np.zeros((8, 8, 3), np.uint8), pixel_format="rgb")
    scorer.score(Image.open("a.png"))
    scorer.score({"bytes": b"...", "path": None})
    reveal_type([one.status for one in scorer.score_many([Image.open("a.png")], on_error="raise")])
    reveal_type(pscr.rank(scorer, ["a.png", "b.png"])[0].confidence)
    found = pscr.quality_map(scorer, "a.png", window=224, stride=112)
    reveal_type(found.values)
    reveal_type(found.dense())
    reveal_type(found.worst())
"""
REVEALED = (
    "pscr.runtime.pipeline.Result",
    "float",
    "tuple[float, float] | None",
    "list[pscr.runtime.errors.Status]",
    "float",
    "ndarray[",
    "ndarray[",
    "tuple[int, int, int, int]",
)
BAD = """
import pscr

scorer = pscr.open(threads="two")
scorer.score(3.5)
scorer.score_many(["a.png"], on_error="ignore")
scorer.score("a.png").scor
pscr.quality_map(scorer, "a.png", stride=1.5)
"""


def check(program: str, folder: Path) -> list[str]:
    """mypy's lines on a program beside which pscr is found as it is installed: typed, by its py.typed."""
    package = folder / "pscr"
    package.mkdir()
    for file in [*(ROOT / "app").iterdir(), *(ROOT / house for house in HOUSES)]:
        (package / file.name).symlink_to(file)
    (folder / "program.py").write_text(program)
    words = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--ignore-missing-imports"]
    words += ["--follow-imports=silent", "--cache-dir", str(folder / "cache"), "program.py"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert "program.py" in done.stdout, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("program.py")]


def test_an_editor_knows_what_every_call_gives(tmp_path):
    lines = check(GOOD, tmp_path)
    assert not [line for line in lines if " error: " in line], lines
    revealed = [line.split('"')[1] for line in lines if "Revealed type" in line]
    assert len(revealed) == len(REVEALED)
    for found, expected in zip(revealed, REVEALED, strict=True):
        assert expected in found.replace("builtins.", "").replace("Union[", ""), (found, expected)


def test_a_wrong_argument_is_found_before_the_program_runs(tmp_path):
    lines = check(BAD, tmp_path)
    errors = [int(line.split(":")[1]) for line in lines if " error: " in line]
    assert errors == [4, 5, 6, 7, 8], lines
