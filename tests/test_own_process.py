"""Work in a process of its own gives what it would give here, and its end is noticed, whatever ended it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = """
import os, signal, sys, time
from pscr.own_process import EndedError, call
from pscr.runtime.errors import PscrError, Status

class Awkward(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")

def awkward():
    raise Awkward(1, 2)

def fail():
    raise PscrError(Status.MODEL_INVALID, "broken")

def sleep():
    try:
        print("asleep", flush=True)
        time.sleep(60)
    except KeyboardInterrupt as stop:
        print(type(stop).__name__, flush=True)
        raise
    return 0

try:
    print(call(WORK))
except BaseException as problem:
    print(f"{type(problem).__name__}: {problem}")
"""


def words(work: str) -> list[str]:
    return [sys.executable, "-c", PROGRAM.replace("WORK", work)]


@pytest.mark.parametrize(
    ("work", "printed"),
    [
        ("lambda: 7", "7"),
        ("lambda: len(sys.stdin.read())", "5"),
        ("fail", "PscrError: broken"),
        ("awkward", "RuntimeError: Awkward: 1 and 2"),
        ("lambda: os._exit(1)", "EndedError: exit code 1"),
        ("lambda: os.kill(os.getpid(), signal.SIGKILL)", "EndedError: signal 9"),
    ],
)
def test_what_becomes_of_the_work_is_what_becomes_of_the_call(work: str, printed: str) -> None:
    done = subprocess.run(words(work), input="hello", capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (printed + "\n", "")


def test_standard_input_may_be_closed() -> None:
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *words("lambda: 7")]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("7\n", "")


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Terminated")], ids=["INT", "TERM"]
)
def test_a_signal_reaches_the_work(number: signal.Signals, raised: str) -> None:
    with subprocess.Popen(words("lambda: sleep()"), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "asleep\n"
        run.send_signal(number)
        assert run.stdout.readline() == f"{raised}\n"
        assert run.stdout.readline().startswith(f"{raised}:")
        assert run.wait(30) == 0


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_it_ends_with_the_process_that_called_it() -> None:
    with subprocess.Popen(words("sleep"), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "asleep\n"
        (child,) = psutil.Process(run.pid).children()
        run.kill()
    deadline = time.monotonic() + 30
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)
