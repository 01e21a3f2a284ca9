"""A report on images with hostile names, and headless Chromium to open it in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_testing import HOSTILE, PROMPT, Opened, write

from pscr.commands.main import main


@pytest.fixture(scope="session")
def report(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page on two generators with 120 common names, hostile names, a copy and two files that cannot be scored."""
    folder = tmp_path_factory.mktemp("report")
    for place, generator in enumerate(("<b>first", "second")):
        for n in range(120):
            write(folder / generator / f"{n}.png", 1000 * place + n)
    for n, name in enumerate(HOSTILE):
        write(folder / "second" / name, 5000 + n)
    write(folder / "plain.png", 1).rename(folder / "second" / os.fsdecode(b"caf\xe9 \xff.png"))
    shutil.copy(folder / "second" / "7.png", folder / "second" / "copy of 7.png")
    (folder / "second" / "broken.png").write_bytes(b"no image")
    (folder / "second" / "empty.png").write_bytes(b"")
    prompts = folder / "prompts.csv"
    rows = ["path,prompt", *(f"{n}.png,prompt {n}" for n in range(1, 120)), '0.png,"' + PROMPT.replace('"', '""') + '"']
    prompts.write_text("\n".join(rows) + "\n")
    output = folder / "report.html"
    words = [folder / "<b>first", folder / "second", "--prompts", prompts, "-o", output, "--model", tiny_model, "-q"]
    assert main(["report", *map(str, words), "--show", "3", "--threads", "1"]) == 1
    return output


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file; width, scheme: of the window, and light or dark."""
    contexts = []

    def open_page(file: Path, width: int = 1280, scheme: str = "light") -> Opened:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("console", lambda message: found.problems.append(message.text))
        found.page.on("pageerror", lambda error: found.problems.append(str(error)))
        found.page.on("dialog", lambda dialog: (found.problems.append("dialog"), dialog.dismiss()))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(file.as_uri())
        return found

    yield open_page
    for context in contexts:
        context.close()
