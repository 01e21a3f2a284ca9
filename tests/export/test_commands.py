"""The export and import commands: help without torch, one declaration an option, an answer to the words of before."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import tiny_model as tiny

import pscr
from pscr.export.command import COMMANDS, main
from pscr.export.import_command import IMPORTERS
from pscr.export.import_command import main as import_main
from pscr.export.to_view import ViewExport, export_view
from pscr.runtime.errors import PscrError

pytestmark = pytest.mark.slow

HELP = [
    ["pscr.export.command"],
    *(["pscr.export.command", name] for name in COMMANDS),
    ["pscr.export.import_command"],
    *(["pscr.export.import_command", name] for name in IMPORTERS),
    ["pscr.training.train"],
    ["pscr.training.evaluate"],
]


WITHOUT_TORCH = """
import importlib, sys

class Wall:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Wall())
sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
"""


def help_of(words: list[str]) -> str:
    """What `--help` says where torch cannot be imported."""
    command = [sys.executable, "-c", WITHOUT_TORCH, *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_needs_no_torch_and_names_no_default_that_is_none(words: list[str]) -> None:
    text = " ".join(help_of(words).split())
    assert text.startswith("usage: pscr ")
    assert not [said for said in ("default: None", "default: )", "default: ()", "default: False") if said in text]
    assert text.count("(default: the folder's) (default") == 0


@pytest.mark.parametrize("name", [*COMMANDS.values(), *IMPORTERS.values()], ids=lambda one: one.module)
def test_every_option_of_a_command_is_a_field_of_its_data_class(name: object) -> None:
    module = import_module(name.module)
    declared = [one for one in vars(module).values() if dataclasses.is_dataclass(one) and one.__module__ == name.module]
    (options,) = [one for one in declared if any("option" in field.metadata for field in dataclasses.fields(one))]
    text = help_of([name.module])
    for field in dataclasses.fields(options):
        shown = field.metadata["option"]["settings"].get("metavar") if field.metadata["option"]["positional"] else None
        assert (shown or f"--{field.name.replace('_', '-')}") in text


@pytest.mark.parametrize(
    ("words", "new"),
    [
        (["--engine", "MODEL", "--precision", "fp16"], "pscr export engine MODEL"),
        (["MODEL", "--triton", "-o", "DIR"], "pscr export triton MODEL"),
        (["--ensemble", "A", "B", "-o", "DIR"], "pscr export ensemble MODEL MODEL"),
        (["--view", "MODEL", "-o", "DIR"], "pscr export view MODEL"),
        (["--published", "best_model.pt", "-o", "DIR"], "pscr import pscr CHECKPOINT"),
        (["runs/mine", "-o", "models/mine"], "pscr export onnx runs/mine"),
    ],
)
def test_words_of_before_are_one_line_that_names_the_new_form(
    words: list[str], new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert new in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("run", "words"), [(main, []), (main, ["--nonsense"]), (import_main, []), (import_main, ["x"])]
)
def test_without_a_command_there_is_a_usage_error(run, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(words)
    assert caught.value.code == 2


def test_a_program_calls_the_function_and_gets_errors_it_can_catch(tmp_path: Path, capsys) -> None:
    old = tiny.write(tmp_path / "old", format_version=1)
    manifest = export_view(ViewExport(model=old, output=tmp_path / "new", version="2.0.0"))
    assert (manifest.name, manifest.version) == ("new", "2.0.0")
    with pytest.raises(PscrError, match="has a view already"):
        export_view(ViewExport(model=tmp_path / "new", output=tmp_path / "again"))
    assert capsys.readouterr() == ("", ""), "a library is silent"
    with pscr.open(tmp_path / "new", "cpu", 1) as scorer:
        assert scorer.manifest.version == "2.0.0"


@pytest.mark.parametrize(
    ("run", "words", "code", "said"),
    [
        (main, ["ensemble", "A", "-o", "DIR"], 2, "expected two models or more"),
        (main, ["view", "no/model", "-o", "DIR"], 3, "pscr export: error: "),
        (import_main, ["contrique", "--nonsense"], 2, "--encoder"),
        (import_main, ["contrique", "--encoder", "no.tar", "--regressor", "no.save", "-o", "DIR"], 3, "no.save"),
    ],
)
def test_a_command_ends_with_the_code_of_what_went_wrong(
    run, words: list[str], code: int, said: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        found = run(words)
    except SystemExit as ended:  # argparse's own
        found = ended.code
    assert (found, said in capsys.readouterr().err) == (code, True)
