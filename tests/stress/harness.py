"""What the stress scripts share: cases run in child processes, so that a crash or a hang is a count and not the end.

A case is a number; a script makes its input from (seed, number) alone, so that any case can be run again by itself.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
HANG = 60  # seconds for one case


@dataclass
class Report:
    """What became of the cases: how many of each outcome, and those that broke a promise.

    slowest: seconds, and which case. peak: the process's memory in MiB, and minus the number of the case it came with.
    """

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, 0)
    peak: tuple[float, int] = (0.0, 0)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        found = ", ".join(f"{name} {count}" for name, count in self.outcomes.most_common())
        text = f"{self.cases} cases: {found}; slowest {self.slowest[0]:.2f} s (case {self.slowest[1]})"
        text += f", peak memory {self.peak[0]:.0f} MiB (case {-self.peak[1]})"
        return text + "".join(f"\nBROKEN {line}" for line in self.broken)


def run_cases(script: str, count: int, seed: int, minutes: float, start: int = 0, chunk: int = 500) -> Report:
    """Run cases `start` to `start + count` of a script in children, a chunk each, for at most so many minutes.

    A child that dies is started again behind the case that it died of, which counts as broken.
    """
    report = Report()
    end, deadline = start + count, time.monotonic() + 60 * minutes
    while start < end and time.monotonic() < deadline:
        stop = min(start + chunk, end)
        words = [sys.executable, str(HERE / script), "--child", str(start), str(stop), "--seed", str(seed)]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        last = start - 1
        for line in done.stdout.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "case":
                number, seconds, peak, outcome = rest.split(" ", 3)
                last = int(number)
                report.cases += 1
                report.slowest = max(report.slowest, (float(seconds), int(number)))
                report.peak = max(report.peak, (float(peak), -int(number)))
                report.outcomes[outcome.split(":")[0]] += 1
                if outcome.startswith("BROKEN"):
                    report.broken.append(f"case {number}: {outcome}")
        if done.stderr.strip() and done.returncode == 0:
            report.broken.append(f"cases {start} to {stop}: wrote to stderr: {done.stderr.strip()[:300]!r}")
        if done.returncode:
            report.cases += 1
            report.outcomes["DIED"] += 1
            why = done.stderr.strip().splitlines()[-1:] or [""]
            report.broken.append(f"case {last + 1}: the process ended with {done.returncode} ({why[0][:200]})")
            last += 1
        start = last + 1 if done.returncode else stop
    return report


def child(case: Callable[[int, int], str], first: int, stop: int, seed: int, gigabytes: float) -> None:
    """Run cases in this process, a line for each; no more memory than `gigabytes` beyond what it has now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.alarm(HANG)
    case(seed, first)  # what is made once is made now, and is no part of a case's time
    for number in range(first, stop):
        signal.alarm(HANG)  # its default action ends the process, also in the middle of C code
        started = time.perf_counter()
        outcome = case(seed, number)
        seconds = time.perf_counter() - started
        peak = peak_memory()
        sys.stdout.write(f"case {number} {seconds:.4f} {peak:.0f} {outcome}\n")
        sys.stdout.flush()


def main(script: str, case: Callable[[int, int], str], count: int, gigabytes: float, chunk: int = 500) -> int:
    """The command line of a script of cases; returns 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--start", type=int, default=0, help="the first case: to go on, or to run one again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="stop after so long (default: %(default)s)")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(case, *options.child, options.seed, gigabytes)
        return 0
    report = run_cases(script, options.count, options.seed, options.minutes, options.start, chunk)
    sys.stdout.write(f"{script} --seed {options.seed}: {report}\n")
    if report.cases < options.count:
        sys.stdout.write(f"time is up; go on with --start {options.start + report.cases}\n")
    return 1 if report.broken else 0


def peak_memory() -> float:
    """The most memory that this process had, in MiB. (getrusage would count what its parent had when it was made.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
