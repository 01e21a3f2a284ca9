"""What README.md and the pages of docs/ say can be typed, can be typed.

A Python block runs, in a folder of its own that has the names the pages use. Every command line of a shell block is
read by the program's own parser; a block below the line <!-- run --> is executed too. A Python block that cannot run
has the line <!-- not run: REASON --> above it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet
import pytest

from pscr.commands.main import DELEGATED, build_parser

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_EXTRAS = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n\n")[0]
EXTRAS = set(re.findall(r"^(\w+) = \[", _EXTRAS, re.MULTILINE))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# Programs of other people that the pages tell the reader to use; what they are given is not checked.
OTHERS = {
    "cat",
    "cd",
    "curl",
    "cut",
    "docker",
    "find",
    "git",
    "kill",
    "pre-commit",
    "ray",
    "sort",
    "tritonserver",
    "uniq",
}


@dataclass(frozen=True)
class Block:
    """A fenced block: the page and line it stands at, its language, its text, and the mark above it."""

    place: str
    language: str
    text: str
    mark: str


def read(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        place = f"{page.relative_to(ROOT)}:{line}"
        yield Block(place, found["language"], found["text"], found["mark"] or "")


BLOCKS = [block for page in PAGES for block in read(page)]


def blocks(language: str, mark: str = "") -> list[Any]:
    """The blocks of a language whose mark begins so, as parameters that are named by their place."""
    return [
        pytest.param(block, id=block.place)
        for block in BLOCKS
        if block.language == language and block.mark.startswith(mark)
    ]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell block: lines joined at backslashes, comments and pipes' other ends apart."""
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        parts = iter([*lexer, ";"])
        for word in parts:
            if word in ("|", "&&", "||", ";", "&"):
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    words = words[1:]
                if words:
                    yield words
                words = []
            elif word in ("<", ">", ">>"):
                next(parts)
            else:
                words.append(word)


COMMANDS = [
    pytest.param(words, id=f"{block.place} {' '.join(words)}")
    for block in BLOCKS
    if block.language == "sh"
    for words in commands(block)
]


def laid_out(folder: Path) -> Path:
    """The folder in which the pages are read: it has the names they use, on example images."""
    (folder / "examples").symlink_to(ROOT / "examples")
    images = sorted((ROOT / "examples" / "images").iterdir())
    for directory in ("folder", "renders", "last-week", "this-week"):
        (folder / directory).mkdir()
        for image in images[:3]:
            shutil.copy(image, folder / directory)
    for name, image in zip(("photo.jpg", "a.png", "b.png", "c.png"), images, strict=False):
        shutil.copy(image, folder / name)
    with (folder / "labelled.csv").open("w", newline="") as stream:
        rows = [(f"examples/images/{image.name}", 1 + place % 4) for place, image in enumerate(images)]
        csv.writer(stream).writerows([("path", "score"), *rows])
    (folder / "scores").mkdir()
    table = pyarrow.table({"path": ["photo.jpg"], "score": [2.5]})
    pyarrow.parquet.write_table(table, folder / "scores" / "scores-000000000.parquet")
    return folder


# --- links and tables -------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {page.name for page in PAGES if page.parent.name == "docs"} - {"README.md"}
    assert {name for name in pages if f"]({name})" in index} == pages


def test_every_folder_of_the_map_exists() -> None:
    rows = re.findall(r"^\| `([a-z]+)/`", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    assert {"app", "runtime", "export", "training", "benchmarks", "tests", "examples", "docs"} <= set(rows)
    assert all((ROOT / folder).is_dir() for folder in rows)


# --- blocks -----------------------------------------------------------------------------------------------------------


def test_every_block_says_what_it_is_and_every_mark_is_known() -> None:
    assert len(BLOCKS) == sum(page.read_text().count("\n```") for page in PAGES) // 2
    for block in BLOCKS:
        assert block.language in ("sh", "python", "json", "text", "yaml", "dockerfile", "cpp", "ini"), block.place
        assert block.mark in ("", "run") or re.match(r"not run: \w+", block.mark), block.place
        if block.language == "json":
            json.loads(block.text)


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_runs(block: Block, tmp_path: Path) -> None:
    if block.mark.startswith("not run"):
        compile(block.text, block.place, "exec")
        pytest.skip(block.mark)
    program = [sys.executable, "-c", block.text]
    done = subprocess.run(program, cwd=laid_out(tmp_path), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("sh", "run"))
def test_a_shell_block_that_is_marked_runs(block: Block, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block.text],
        cwd=laid_out(tmp_path), env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_can_be_typed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own parser takes it; of scripts the file and the names of the options are looked up."""
    program, rest = words[0], words[1:]
    if program == "pscr":
        parse(rest, monkeypatch)
    elif program == "make":
        assert {word for word in rest if "=" not in word} <= TARGETS
    elif program == "pip":
        named = re.findall(r"(?:\.|pscr)\[([a-z,]+)\]", " ".join(rest))
        assert {extra for group in named for extra in group.split(",")} <= EXTRAS
    elif program == "pytest":
        assert all((ROOT / word).exists() for word in rest if word.startswith("tests/"))
    elif program == "python" and rest[:2] == ["-m", "pscr"]:
        parse(rest[2:], monkeypatch)
    elif program == "python" and rest[0] == "-m":
        importlib.import_module(rest[1]).command().parse_args(rest[2:])
    elif program == "python" and rest[0] in SUBCOMMANDS:
        parse(["export", SUBCOMMANDS[rest[0]], *rest[1:]], monkeypatch)
    elif program == "python":
        check_script(rest)
    else:
        assert program in OTHERS, f"{program}: neither checked here nor known"


SUBCOMMANDS = {"export/to_onnx.py": "onnx", "export/to_trt.py": "engine"}  # the same commands as scripts


class Parsed(BaseException):
    """A verb's parser has taken its words."""


def parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `pscr` read its words and go no further; a wrong one ends in UsageError or SystemExit."""
    if words[0] not in DELEGATED:
        with contextlib.suppress(SystemExit):  # --version; a wrong word is a UsageError
            build_parser().parse_args(words)
        return
    read = argparse.ArgumentParser.parse_args

    def parse_args(parser: argparse.ArgumentParser, *rest: Any) -> NoReturn:
        read(parser, *rest)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(Parsed):
        importlib.import_module(DELEGATED[words[0]][0]).main(words[1:])


def check_script(words: list[str]) -> None:
    """A script of this project, or a module of the package: it exists, and so do the options."""
    name, rest = words[0], words[1:]
    if name == "-m" and rest[0].startswith("pscr."):
        name, rest = "/".join(rest[0].split(".")[1:]) + ".py", rest[1:]
    elif name == "-m":
        return
    file = ROOT / name
    assert file.is_file(), name
    shared = file.parent / "common.py"
    check_options(file.read_text() + (shared.read_text() if shared.exists() else ""), rest)


def check_options(source: str, words: list[str]) -> None:
    missing = [word for word in words if re.match(r"--?[a-z]", word) and f'"{word.partition("=")[0]}"' not in source]
    assert not missing
