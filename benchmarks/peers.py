"""pyiqa's metrics beside this project's models: the same images, machine and threads, each package in its environment.

    python benchmarks/peers.py --peers-python PYTHON [--only musiq topiq_nr] [--threads N] [--seconds 6]

PYTHON is the interpreter of an environment with pyiqa. Weights are random (nothing is downloaded): time and memory do
not depend on their values, and scores are not compared. Every metric is a process of its own (peers_worker.py), and
all of them are there at once, 15 GB in all. Cold start: from the start of the process to its first score, 512x512;
files are in the page cache, and of pyiqa the reading of weights is left out, so that its figure is the least it can be.
Then they take three turns of a third of --seconds each, of one image at least, 512x512 and then 1024x1024, from the
same JPEG files; decoding counts. Last is each package's own command line over a folder of 512x512: of pyiqa without
the start, of pscr with the opening of the model. A metric that cannot be built or fails is a row that says why.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from common import RESULTS, examples, finish, where

from pscr.bench import plots
from pscr.bench.record import Row
from pscr.runtime import cores

KEYS = ("package", "metric")
WORKER = Path(__file__).with_name("peers_worker.py")
SIDES = (512, 1024)
TURNS = 3
FOLDER = (3, 256)  # images of the folder, at least and at most
PYIQA = {
    "cnniqa": "the whole image",
    "nima": "a crop of 299x299 of the image scaled to that side",
    "musiq": "the whole image, and scaled to 384 and to 224",
    "topiq_nr": "the whole image",
    "hyperiqa": "25 crops of 224x224",
    "maniqa": "20 crops of 224x224",
    "dbcnn": "the whole image",
    "arniqa": "the whole image, and at half its size",
    "clipiqa": "the whole image, and ten prompts",
}
PSCR = dict.fromkeys(("agiqa3k-lite0", "agiqa3k-pair"), "the image scaled to 512")


class PeerError(Exception):
    """A metric that gives no figures, and why."""


class Peer:
    """A metric in its own process."""

    def __init__(self, python: str, package: str, metric: str, threads: int, image: str) -> None:
        """Start the process and wait for the first score; cold_s: the seconds that this took.

        Raises:
            PeerError: the metric cannot be built, or gives no score.
        """
        words = [python, str(WORKER), package, metric, str(threads), image]
        pipe, away = subprocess.PIPE, subprocess.DEVNULL
        started = time.perf_counter()
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=away, text=True)
        try:
            self._answer()
        except PeerError:
            self.close()
            raise
        self.cold_s = time.perf_counter() - started

    def ask(self, verb: str, *words: object) -> Any:
        """What the process answers to one verb of peers_worker.py.

        Raises:
            PeerError: the process says why, or has ended.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: the answer says so
            self._process.stdin.write(json.dumps([verb, *words]) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let the process end, and wait until it has."""
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"the process ended with {self._process.wait()}")
        answer = json.loads(line)
        if "failed" in answer:
            raise PeerError(answer["failed"])
        return answer["ok"]


def write(folder: Path, images: Sequence[bytes], count: int) -> list[str]:
    """`count` files in a new folder, the images over and over; their paths."""
    folder.mkdir()
    files = [folder / f"{number}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        file.write_bytes(images[number % len(images)])
    return [str(file) for file in files]


def row(package: str, metric: str, sees: str) -> Row:
    """A row whose figures are still to come."""
    figures = ("p50_512_ms", "p50_1024_ms", "images_512", "images_1024", "folder_images", "folder_images_per_s")
    others = ("peak_512_mib", "peak_1024_mib", "cold_start_s", "failed")
    return {"package": package, "metric": metric, "sees": sees, **dict.fromkeys((*figures, *others), "")}


@contextmanager
def told(found: Row) -> Iterator[None]:
    """The row says why, where its metric fails in here."""
    try:
        yield
    except PeerError as why:
        found["failed"] = str(why)


def turns(rows: Sequence[Row], peers: Mapping[str, Peer], side: int, files: Sequence[str], seconds: float) -> None:
    """Fill the columns of one size in the rows of metrics that have not failed."""
    taken: dict[str, list[float]] = {name: [] for name in peers}
    for found in [found for _ in range(TURNS) for found in rows]:
        if not found["failed"]:
            with told(found):
                taken[found["metric"]] += peers[found["metric"]].ask("score", files, seconds / TURNS)
    for found in rows:
        if not found["failed"]:
            ms = taken[found["metric"]]
            with told(found):
                found[f"peak_{side}_mib"] = round(peers[found["metric"]].ask("peak"))
                found |= {f"p50_{side}_ms": round(statistics.median(ms), 1), f"images_{side}": len(ms)}


def folder(found: Row, peer: Peer, place: Path, images: Sequence[bytes], seconds: float) -> None:
    """Fill the columns of a folder that holds as many images as the metric scores in about `seconds`."""
    fewest, most = FOLDER
    count = min(max(fewest, round(1000 * seconds / found["p50_512_ms"])), most)
    write(place, images, count)
    with told(found):
        spent = peer.ask("folder", str(place))
        found |= {"folder_images": count, "folder_images_per_s": float(f"{count / spent:.3g}")}


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = options.add_argument
    add("--peers-python", required=True, metavar="PYTHON", help="the interpreter of an environment with pyiqa")
    add("--only", nargs="+", choices=PYIQA, default=list(PYIQA), metavar="METRIC", help="of pyiqa (default: all)")
    add("--threads", type=int, default=cores.usable(), help="CPU threads of each (default: all cores)")
    add("--seconds", type=float, default=6.0, help="of each metric, size and folder (default: %(default)s)")
    add("-o", "--output", type=Path, default=RESULTS, metavar="DIR", help="where the files go (default: %(default)s)")
    given = options.parse_args()
    environment = where(given)
    pythons = {"pscr": sys.executable, "pyiqa": given.peers_python}
    rows = [row("pscr", name, sees) for name, sees in PSCR.items()]
    rows += [row("pyiqa", name, PYIQA[name]) for name in given.only]
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        images = {side: examples(side) for side in SIDES}
        files = {side: write(Path(place, str(side)), images[side], len(images[side])) for side in SIDES}
        peers: dict[str, Peer] = {}
        for found in rows:
            package, words = found["package"], (found["package"], found["metric"], given.threads, files[512][0])
            with told(found):
                if package not in facts:  # the first start reads the files of the package, and is not counted
                    with closing(Peer(pythons[package], *words)) as first:
                        facts[package] = first.ask("about")
                peer = stack.enter_context(closing(Peer(pythons[package], *words)))
                peers[found["metric"]] = peer
                found["cold_start_s"] = round(peer.cold_s, 2)
            print(f"{found['metric']}: {found['failed'] or 'ready'}", file=sys.stderr)
        for side in SIDES:
            turns(rows, peers, side, files[side], given.seconds)
        for found in rows:
            if not found["failed"]:
                folder(found, peers[found["metric"]], Path(place, found["metric"]), images[512], given.seconds)
    record, file = finish(given, environment, KEYS, rows, facts)
    scored = [found for found in rows if not found["failed"]]
    labels = [f"{found['package']}, {found['metric']}" for found in scored]
    plots.bars(file, labels, [found["p50_512_ms"] for found in scored], "ms, 512x512, median", record.name, log=True)


if __name__ == "__main__":
    main()
