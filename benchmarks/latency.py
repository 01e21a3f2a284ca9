"""Latency and throughput in MLPerf's four scenarios, from encoded 512x512 JPEGs, through the public interface.

    python benchmarks/latency.py [--model MODEL] [--device cpu] [--threads N] [--seconds 10]

Writes JSON, CSV and a plot. Single-stream: one image at a time. Multi-stream: eight at a time. Offline: all at once.
Server: Poisson arrivals at 50, 70 and 90 % of the offline rate; a latency counts from when the image was due.
"""

from __future__ import annotations

from common import examples, finish, opened, parser, where

from pscr.bench import plots, scenarios


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__)
    options.add_argument("--scenario", action="append", choices=scenarios.NAMES, help="repeatable (default: all)")
    given = options.parse_args()
    with opened(given) as scorer:
        environment = where(given, scorer)
        rows = scenarios.run(scorer, examples(), given.seconds, given.scenario or scenarios.NAMES)
    record, file = finish(given, environment, scenarios.KEYS, rows)
    plots.latencies(file, rows, record.name)


if __name__ == "__main__":
    main()
