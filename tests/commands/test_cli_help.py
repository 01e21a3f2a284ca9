"""What `pscr` says about itself."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_testing import Cli, Process

import pscr

OWN = (
    "score",
    "rank",
    "map",
    "tag",
    "models",
    "info",
    "verify",
    "engines",
    "doctor",
    "bench",
    "bank",
    "report",
    "compare",
    "serve",
)
VERBS = (*OWN, "train", "evaluate", "export", "import")
HEAVY = {"torch", "onnxruntime", "onnx", "fastapi", "jinja2", "matplotlib", "ray", "pyarrow", "pscr.training"}


def test_help_names_every_verb_with_a_summary_and_every_exit_code(cli: Cli) -> None:
    done = cli("--help")
    assert done.code == 0
    for verb in VERBS:
        assert any(line.split()[:1] == [verb] and len(line.split()) > 3 for line in done.out.splitlines()), verb
    for code in ("0", "1", "2", "3", "130"):
        assert any(line.split()[:1] == [code] for line in done.out.splitlines()), code


def test_help_fits_a_terminal_and_names_no_verb_that_does_not_exist(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for words in (["--help"], *([verb, "--help"] for verb in OWN)):
        done = cli(*words)
        assert done.code == 0
        assert "default: None" not in done.out
        assert max(map(len, done.out.splitlines())) <= 120
    assert "bank build" not in cli("--help").out


def test_without_arguments_help_is_written_and_the_exit_code_is_2(cli: Cli) -> None:
    done = cli()
    assert done.code == 2
    assert done.out == cli("--help").out


def test_version_is_the_package_version(cli: Cli, process: Process) -> None:
    assert cli("--version").out == f"pscr {pscr.__version__}\n"
    assert process("--version").stdout.decode() == f"pscr {pscr.__version__}\n"


def test_score_help_has_examples_and_names_the_columns(cli: Cli) -> None:
    text = cli("score", "--help").out
    assert "pscr score outputs/ -o scores.csv" in text
    assert "path, score, spread, width, height, status, message" in text


def test_help_loads_none_of_the_libraries_that_the_verbs_work_with() -> None:
    code = (
        "import sys; from pscr.commands.main import main\n"
        f"for words in ([], *([verb] for verb in {OWN})): assert main([*words, '--help']) == 0\n"
        f"assert not set(sys.modules) & {HEAVY}, set(sys.modules) & {HEAVY}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", ["train", "evaluate", "export"])
def test_training_verbs_have_their_own_help(cli: Cli, verb: str) -> None:
    pytest.importorskip("torch")
    done = cli(verb, "--help")
    assert done.code == 0
    assert f"usage: pscr {verb}" in done.out
