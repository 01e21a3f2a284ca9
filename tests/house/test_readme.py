"""What the README says can be typed, can be typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pscr.cli import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)", README))
def test_a_link_leads_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_example_runs(block):
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


COMMANDS = [line.split(" #")[0].strip() for block in blocks("sh") for line in block.splitlines() if "pscr " in line]


@pytest.mark.parametrize("command", [line for line in COMMANDS if not line.startswith(("pip", "cd"))])
def test_a_command_names_a_verb_and_options_that_exist(command, capsys):
    words = shlex.split(command.split("|")[-1])
    assert words[0] == "pscr"
    verb = words[1:3] if words[1] == "bank" else words[1:2]
    assert main([*verb, "--help"]) == 0
    described = capsys.readouterr().out
    for option in (word for word in words[2:] if re.fullmatch(r"--?[a-z0-9][a-z-]*", word)):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", described), option


def test_every_folder_of_the_map_exists():
    rows = re.findall(r"^\| `([a-z]+)/`", README, re.MULTILINE)
    assert {"pscr", "runtime", "export", "training", "benchmarks", "tests", "examples"} <= set(rows)
    assert all((ROOT / folder).is_dir() for folder in rows)
