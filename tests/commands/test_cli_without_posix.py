"""Where the system is not POSIX, images are scored, ranked and reported on all the same."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Without what Windows has not: modules, and names of os and signal.
ELSEWHERE = """
import os, signal, sys
sys.modules.update(dict.fromkeys(("fcntl", "resource", "grp", "pwd", "termios")))
for name in {names!r}:
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGKILL", "SIGPIPE"):
    delattr(signal, name)
from pscr.commands.main import main
sys.exit(main(sys.argv[1:]))
"""
NAMES = (
    *("O_NOFOLLOW", "O_NOCTTY", "O_NONBLOCK", "fchmod", "fchown", "fork", "geteuid", "getuid", "memfd_create"),
    *("posix_fallocate", "pread", "sched_getaffinity"),
)


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = ELSEWHERE.format(names=NAMES)
    return subprocess.run(
        [sys.executable, "-c", program, *map(os.fspath, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_file_of_results_is_written_and_gone_on_with(tiny_model: Path, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    first = ("score", images / "img1.png", "--model", tiny_model, "--device", "cpu", "-o", output)
    assert run(*first).returncode == 0
    more = run("score", images, "--model", tiny_model, "--device", "cpu", "-o", output, "--resume")
    assert (more.returncode, "Traceback" in more.stderr) == (0, False), more.stderr
    with output.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == 4
    assert {row["status"] for row in found} == {"OK"}


@pytest.mark.parametrize(("verb", "more"), [("rank", ()), ("report", ("-o", "report.html"))])
def test_other_verbs_work(
    tiny_model: Path, images: Path, tmp_path: Path, verb: str, more: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(verb, images, "--model", tiny_model, "--device", "cpu", *more)
    assert done.returncode == 0, done.stderr
