"""`pscr serve` under load on loopback, beside the bare Scorer in the same run: throughput and latency.

    python benchmarks/serve_load.py [--model MODEL] [--threads N] [--seconds 10] [--clients 1 4 16] [--batches 1 4]

Bare: one image after the other, and `score_many`. Service: clients with a connection each, which send the next image
(a 512x512 JPEG as the body) when they have the score of the one before; for each --batch. A latency is what a client
waits. Each row takes --seconds; the clients are threads of this process, and share the cores with the service.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from common import examples, finish, opened, parser, where

from pscr.bench import plots, scenarios
from pscr.bench.statistics import Timings, summary

WARM_UP = 3
HEADERS = {"Content-Type": "image/jpeg"}


@contextmanager
def service(given: Any, batch: int) -> Any:
    """The port of a service in a process of its own; it must end with exit code 0."""
    words = [sys.executable, "-m", "pscr", "serve", "--port", "0", "-q", "--model", given.model, "--batch", str(batch)]
    words += ["--device", given.device, *(["--threads", str(given.threads)] if given.threads else [])]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            found = re.search(r"serving .* on http://127\.0\.0\.1:(\d+)", line)
            if not found:
                raise SystemExit(f"the service did not start: {line}{process.stderr.read()}")
            yield int(found[1])
        finally:
            process.terminate()
            _, said = process.communicate()
        if process.returncode:
            raise SystemExit(f"the service ended with {process.returncode}: {said}")


def client(port: int, images: Sequence[bytes], first: int, ends: float, least: int = 0) -> list[tuple[float, float]]:
    """When each score was there, and the milliseconds it took; requests one after the other, `least` and until `ends`.

    first: the place of the first one among `images`, which are taken in turns.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    done = []
    while len(done) < least or time.perf_counter() < ends:
        started = time.perf_counter()
        connection.request("POST", "/v1/score", images[(first + len(done)) % len(images)], HEADERS)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        now = time.perf_counter()
        if answer.status != 200:
            raise SystemExit(f"the service answered {answer.status}: {body}")
        done.append((now, 1000 * (now - started)))
    connection.close()
    return done


def load(port: int, images: Sequence[bytes], clients: int, seconds: float) -> tuple[Timings, float]:
    """Latencies in the order in which the scores came, and scores per second."""
    warm = [ms for _, ms in client(port, images, 0, 0.0, WARM_UP)]
    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        running = [pool.submit(client, port, images, turn, started + seconds) for turn in range(clients)]
        done = sorted(one for future in running for one in future.result())
    return Timings(warm, [ms for _, ms in done]), len(done) / (done[-1][0] - started)


def row(scenario: str, setting: str, timings: Timings, rate: float, bare: float) -> dict[str, Any]:
    """A row of the table; bare: images per second of the bare Scorer."""
    figures = {"images_per_s": round(rate, 2), "of_bare": round(rate / bare, 3), **summary(timings)}
    return {"scenario": scenario, "setting": setting, **figures, "samples_ms": [round(ms, 3) for ms in timings.ms]}


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__)
    options.add_argument("--clients", type=int, nargs="+", default=(1, 4, 16), metavar="N")
    options.add_argument("--batches", type=int, nargs="+", default=(1, 4), metavar="N", help="of pscr serve --batch")
    given = options.parse_args()
    images = examples()
    with opened(given) as scorer:
        environment = where(given, scorer)
        alone = scenarios.single_stream(scorer, images, given.seconds)
        many, bare = scenarios.offline(scorer, images, given.seconds)
    rows = [row("bare Scorer", "one at a time", alone, 1000 * len(alone.ms) / sum(alone.ms), bare)]
    rows.append(row("bare Scorer", "score_many", many, bare, bare))
    for batch in given.batches:
        with service(given, batch) as port:
            for clients in given.clients:
                timings, rate = load(port, images, clients, given.seconds)
                rows.append(row("service", f"batch {batch}, {clients} clients", timings, rate, bare))
    record, file = finish(given, environment, scenarios.KEYS, rows)
    plots.latencies(file, rows, record.name)


if __name__ == "__main__":
    main()
