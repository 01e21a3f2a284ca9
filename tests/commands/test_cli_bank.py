"""`pscr bank`: from a csv of labels to scores on their scale, with what a reader must know of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_testing import Cli, write_image

import pscr


@pytest.fixture
def labels(tmp_path: Path, tiny_model: Path) -> Path:
    """24 images with labels on a scale of their own: 50 + 10 x what the model says."""
    paths = [write_image(tmp_path / f"{seed}.png", seed) for seed in range(24)]
    with pscr.open(tiny_model, device="cpu", threads=1) as scorer:
        rows = [f"{path.name},{50 + 10 * scorer.score(path).score:.4f}" for path in paths]
    file = tmp_path / "labels.csv"
    file.write_text("\n".join(["image,mos", *rows]) + "\n")
    return file


def build(cli: Cli, labels: Path, model: Path, *more: object) -> object:
    words = ["--model", model, "--device", "cpu", "--path-column", "image", "--score-column", "mos", *more]
    return cli("bank", "build", labels, "-o", labels.with_name("bank.npz"), *words)


def test_a_bank_is_built_shown_and_scores_on_the_scale_of_its_labels(
    cli: Cli, tiny_model: Path, labels: Path, tmp_path: Path
) -> None:
    built = build(cli, labels, tiny_model)
    assert built.code == 0, built
    bank = tmp_path / "bank.npz"
    shown = cli("bank", "show", bank)
    assert built.out == shown.out
    assert "24 exemplars" in shown.out
    assert re.search(r"leave one out +RMSE \d", shown.out)
    assert re.search(r"built with +tiny 0.0.1", shown.out)
    facts = json.loads(cli("bank", "show", bank, "--json").out)
    assert len(facts["exemplars"]) == 24
    assert facts["about"]["labels"] == "labels.csv, column mos"
    rows = cli("score", tmp_path / "3.png", "--model", tiny_model, "--bank", bank, "--format", "jsonl", "-q").out
    label = float(labels.read_text().splitlines()[4].split(",")[1])
    assert json.loads(rows)["score"] == pytest.approx(label, abs=3)
    table = cli("score", tmp_path / "3.png", "--model", tiny_model, "--bank", bank).out
    assert str(bank) in table.splitlines()[0]
    assert re.search(r"interval +score ± ", cli("info", tiny_model, "--bank", bank).out)


def test_too_few_images_are_warned_of(cli: Cli, tiny_model: Path, labels: Path) -> None:
    rows = labels.read_text().splitlines()
    scores = np.random.default_rng(3).permutation([float(row.split(",")[1]) for row in rows[1:]])
    shuffled = [f"{row.split(',')[0]},{score}" for row, score in zip(rows[1:9], scores, strict=False)]
    labels.write_text("\n".join([rows[0], *shuffled]) + "\n")
    done = build(cli, labels, tiny_model, "-q")
    assert (done.code, done.out) == (0, "")
    assert done.error.startswith("pscr: warning: 8 images are too few")


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        (lambda text: text.replace("image,mos", "image,stars"), 2, "no column 'mos'"),
        (lambda text: text.replace("3.png", "33.png"), 3, "no image"),
        (lambda text: text + "0.png,5\n", 2, "stands in row"),
        (lambda text: text.replace("\n3.png,", "\n3.png,x"), 2, "is not a number"),
        (lambda text: text.replace("\n3.png,", "\n3.png,99999999999"), 2, "expected -1e+09 to 1e+09"),
        (lambda text: text.split("\n")[0] + "\n", 2, "has no rows"),
    ],
)
def test_labels_that_cannot_be_used_are_named(
    cli: Cli, tiny_model: Path, labels: Path, change: object, code: int, part: str
) -> None:
    labels.write_text(change(labels.read_text()))  # type: ignore[operator]
    done = build(cli, labels, tiny_model)
    assert done.code == code
    assert part in done.error
    assert not labels.with_name("bank.npz").exists()


def test_output_of_another_ending_and_a_bank_that_is_none_are_refused(
    cli: Cli, tiny_model: Path, labels: Path, image: Path
) -> None:
    done = cli("bank", "build", labels, "-o", labels.with_suffix(".json"), "--model", tiny_model)
    assert (done.code, "ending in .npz" in done.error) == (2, True)
    done = cli("bank", "show", labels)
    assert (done.code, "is not a bank" in done.error) == (3, True)
    done = cli("score", image, "--model", tiny_model, "--bank", labels.with_name("none.npz"))
    assert (done.code, "expected a bank.npz" in done.error) == (3, True)


def test_a_bank_is_built_without_torch(tiny_model: Path, labels: Path) -> None:
    program = (
        "import sys\nfor name in ('torch', 'onnx', 'PIL', 'scipy', 'pandas', 'tqdm'): sys.modules[name] = None\n"
        "from pscr.commands.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    words = ["bank", "build", labels, "-o", labels.with_name("b.npz"), "--model", tiny_model, "--path-column", "image"]
    command = [sys.executable, "-c", program, *map(str, words), "--score-column", "mos"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
