"""Work in a process of its own gives what it would give here, and its end is noticed, whatever ended it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

Words = Callable[[str], list[str]]
WORKS = """
import os, signal, sys, time
from pscr.runtime.errors import PscrError, Status

class Awkward(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")

def awkward():
    raise Awkward(1, 2)

def fail():
    raise PscrError(Status.MODEL_INVALID, "broken")

def read():
    return len(sys.stdin.read())

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def sleep():
    try:
        print("asleep", flush=True)
        time.sleep(60)
    except KeyboardInterrupt as stop:
        print(type(stop).__name__, flush=True)
        raise
    return 0
"""
PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv[1])
import works
from pscr.own_process import call

try:
    print(call(WORK))
except BaseException as problem:
    print(f"{type(problem).__name__}: {problem}")
"""


@pytest.fixture
def words(tmp_path: Path) -> Words:
    """The command of a program that calls this work, a function of the module `works`, with its arguments."""
    (tmp_path / "works.py").write_text(WORKS)
    return lambda work: [sys.executable, "-c", PROGRAM.replace("WORK", work), str(tmp_path)]


@pytest.mark.parametrize(
    ("work", "printed"),
    [
        ("int, 7", "7"),
        ("works.read", "5"),
        ("works.fail", "PscrError: broken"),
        ("works.awkward", "RuntimeError: Awkward: 1 and 2"),
        ("os._exit, 1", "EndedError: exit code 1"),
        ("works.kill", "EndedError: signal 9"),
    ],
)
def test_what_becomes_of_the_work_is_what_becomes_of_the_call(words: Words, work: str, printed: str) -> None:
    done = subprocess.run(words(work), input="hello", capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (printed + "\n", "")


def test_standard_input_may_be_closed(words: Words) -> None:
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *words("int, 7")]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("7\n", "")


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Terminated")], ids=["INT", "TERM"]
)
def test_a_signal_reaches_the_work(words: Words, number: signal.Signals, raised: str) -> None:
    with subprocess.Popen(words("works.sleep"), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "asleep\n"
        run.send_signal(number)
        assert run.stdout.readline() == f"{raised}\n"
        assert run.stdout.readline().startswith(f"{raised}:")
        assert run.wait(30) == 0


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_it_ends_with_the_process_that_called_it(words: Words) -> None:
    with subprocess.Popen(words("works.sleep"), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "asleep\n"
        (child,) = psutil.Process(run.pid).children()
        run.kill()
    deadline = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
