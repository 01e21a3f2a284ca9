"""What the CPU scripts share: options, the images, and how a record is written."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import pscr
from pscr.bench.pictures import QUALITY, SIDE, jpegs, square
from pscr.bench.record import Record, Row, command, environment, table
from pscr.runtime.image import load
from pscr.runtime.scorer import DEFAULT_MODEL

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "examples" / "images"
RESULTS = ROOT / "benchmarks" / "results"


def parser(description: str | None, seconds: float = 10.0, what: str = "of each row") -> argparse.ArgumentParser:
    """--model, --device, --threads, --seconds and -o."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = result.add_argument
    add("--model", default=DEFAULT_MODEL, help="a model's name or its folder (default: %(default)s)")
    add("--device", default="cpu", help="as pscr score has it (default: %(default)s)")
    add("--threads", type=int, default=None, help="CPU threads (default: all cores)")
    add("--seconds", type=float, default=seconds, help=f"{what} (default: %(default)s)")
    add("-o", "--output", type=Path, default=RESULTS, metavar="DIR", help="where the files go (default: %(default)s)")
    return result


def examples(side: int = SIDE) -> list[bytes]:
    """The example images as JPEGs of side x side pixels."""
    return jpegs(sorted(IMAGES.iterdir()), side)


def write_images(folder: Path, count: int) -> None:
    """Write `count` different JPEGs of SIDE x SIDE pixels: example k, rolled by 37 k and 59 k pixels."""
    pictures = [square(load(file), SIDE) for file in sorted(IMAGES.iterdir())]
    for number in range(count):
        pixels = np.roll(pictures[number % len(pictures)], (37 * number, 59 * number), (0, 1))
        flags = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        if not cv2.imwrite(str(folder / f"{number:06d}.jpg"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), flags):
            raise OSError(f"{folder}: an image cannot be written")


def opened(given: argparse.Namespace) -> pscr.Scorer:
    """The Scorer that the options name."""
    return pscr.open(given.model, given.device, given.threads)


def where(given: argparse.Namespace, scorer: pscr.Scorer | None = None) -> dict[str, Any]:
    """The environment header, before anything is measured; says so where the machine is busy."""
    threads = scorer.info["threads"] if scorer else given.threads
    found = environment(threads, scorer)
    if not found["idle"]:
        print(f"{found['busy']:.0%} of the processor is taken: do not publish these figures", file=sys.stderr)
    return found


def finish(
    given: argparse.Namespace,
    environment: dict[str, Any],
    keys: tuple[str, ...],
    rows: list[Row],
    facts: dict[str, Any] | None = None,
) -> tuple[Record, Path]:
    """Write JSON and CSV, print the table; gives the record and the path that its plot is to have."""
    script = Path(sys.argv[0])
    record = Record(
        script.stem, command(f"python benchmarks/{script.name}"), environment, keys, rows, dict(facts or {})
    )
    path = record.save(given.output)
    print(table(rows))
    for key, value in record.facts.items():
        print(f"{key}: {value}")
    print(f"wrote {path.name}, .csv and .png", file=sys.stderr)
    return record, path.with_suffix(".png")
