"""`pscr serve` as a process of its own on a free port, for the tests that talk to it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path


class Served:
    """A running service: where it is, what it wrote to stderr, and its process."""

    def __init__(self, process: subprocess.Popen[str], longest: float = 60) -> None:
        self.process = process
        self.log: list[str] = []
        self._began = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._began.wait(longest) or not self.url:
            process.kill()
            raise AssertionError("the service did not start: " + "".join(self.log))

    @property
    def url(self) -> str:
        """Such as http://127.0.0.1:41234, or empty before it serves."""
        found = re.search(r"serving .* on (http://\S+?),", "".join(self.log))
        return found[1] if found else ""

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def memory(self) -> float:
        """What it has resident now, in MiB."""
        return self._status("VmRSS")

    def peak(self) -> float:
        """The most it had resident, in MiB."""
        return self._status("VmHWM")

    def descriptors(self) -> int:
        """Its open files and sockets."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def stop(self, longest: float = 60) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(longest)

    def wait(self, longest: float = 60) -> int:
        """Its exit code, when it has ended and its log is complete."""
        code = self.process.wait(longest)
        self._reader.join(10)
        return code

    def _status(self, key: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{key}:")[2].split()[0]) / 1024

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "pscr: serving " in line or "pscr: error: " in line:
                self._began.set()
        self._began.set()


@contextlib.contextmanager
def serving(model: Path | str, *words: object, token: str | None = None) -> Iterator[Served]:
    """A service of `model`, with more words of the command line; at the end it must stop with exit code 0."""
    command = [sys.executable, "-m", "pscr", "serve", "--model", model, "--device", "cpu", "--port", 0, "--threads", 2]
    environment = {key: value for key, value in os.environ.items() if key != "PSCR_TOKEN"}
    environment |= {"PSCR_TOKEN": token} if token else {}
    process = subprocess.Popen(
        [str(word) for word in (*command, *words)], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        served = Served(process)
        yield served
        if process.poll() is None:
            code = served.stop()
            assert code == 0, f"exit code {code}: " + "".join(served.log[-5:])
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(true: object, longest: float = 30) -> bool:
    """Whether the callable becomes true within so many seconds."""
    ends = time.monotonic() + longest
    while time.monotonic() < ends:
        if true():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False
