"""`pscr map`: where in an image the quality is good or bad, as a picture or as numbers."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np

from ..console import UsageError, err, error, interruptible
from ..progress import Progress
from ..runtime import output_file
from ..runtime.errors import OF_AN_IMAGE, PscrError
from ..runtime.map_picture import draw, encode
from ..runtime.quality_map import QualityMap, grid, quality_map
from ..runtime.samplings import Pixels
from ..runtime.scorer import Scorer
from ..voting import opened
from . import options as shared

FORMATS = ("png", "npy", "csv")
COLUMNS = ("top", "left", "height", "width", "score")
EPILOG = """\
examples:
  pscr map image.jpg -o map.png      the image, the map over it, a colour bar; the frame marks the worst window
  pscr map image.jpg -o map.npy      an array [height, width]: the mean of the windows that cover each pixel
  pscr map image.jpg -o map.csv      the windows: top, left, height, width, score

Windows overlap, and each is scored as an image of its own. Dark is low.
"""


def add(verbs: shared.Verbs) -> None:
    mapping = shared.add_verb(verbs, "map", "show where in an image the quality is good or bad", run, epilog=EPILOG)
    mapping.add_argument("image", metavar="IMAGE", help="an image file")
    mapping.add_argument("-o", "--output", metavar="FILE", required=True, help="'-': standard output, with --format")
    mapping.add_argument("--format", choices=FORMATS, help="default: by the ending of -o FILE")
    mapping.add_argument(
        "--window", type=shared.positive, metavar="N", help="side of a window in pixels (default: by model)"
    )
    mapping.add_argument(
        "--stride",
        type=shared.positive,
        metavar="N",
        help="pixels from one window to the next (default: half a window)",
    )
    mapping.add_argument(
        "--native", action="store_true", help="windows of a large image's own pixels, not of the view that is scored"
    )
    shared.model(mapping)
    shared.device(mapping)
    shared.threads(mapping)
    shared.bank(mapping)
    shared.max_pixels(mapping)
    shared.quiet(mapping, "errors only: no summary")


def run(options: argparse.Namespace) -> int:
    """Map one image; returns 1 where it cannot be read.

    Raises:
        UsageError: the output has no known format.
        PscrError: the model or the device cannot be used, or the output not written; a window or stride that does not
            fit (INVALID_ARGUMENT).
    """
    form = _format(options.format, options.output)
    _check_not_the_image(options.image, options.output)
    output_file.check(options.output)
    with (
        interruptible(),
        opened(options, max_pixels=options.max_pixels) as scorer,
    ):
        try:
            pixels = scorer.pixels(options.image)
            found = _mapped(scorer, pixels, options)
        except PscrError as problem:
            if problem.status not in OF_AN_IMAGE:
                raise
            error(problem.message)
            return 1
    output_file.write(options.output, _encoded(form, found, pixels))
    if not options.quiet:
        top, left, height, width = found.worst()
        windows = "1 window" if found.values.size == 1 else f"{found.values.size} windows"
        size = f"{windows} of {found.window} pixels, {found.stride} apart"
        if found.view != (found.height, found.width):
            size += f", on the view of {found.view[1]}x{found.view[0]} (--native: on the image's own pixels)"
        ends = [f"lowest {found.values.min():.3f}", f"highest {found.values.max():.3f}"]
        ends[not found.higher_is_better] += f" at left {left}, top {top}, {width}x{height}"
        err(f"{size}: mean {found.values.mean():.3f}, {', '.join(ends)}")
        if options.output != "-":
            err(f"wrote {options.output}")
    return 0


def _mapped(scorer: Scorer, pixels: Pixels, options: argparse.Namespace) -> QualityMap:
    """The map, with a progress line while it is made."""
    wanted = {"window": options.window, "stride": options.stride, "native": options.native}
    tops, lefts, *_ = grid(scorer.manifest.sampling, *pixels.shape[:2], **wanted)
    progress = Progress(len(tops) * len(lefts), options.quiet)
    try:
        return quality_map(scorer, pixels, **wanted, pixel_format="rgb", step=progress.step)
    finally:
        progress.hide()


def _encoded(form: str, found: QualityMap, pixels: Pixels) -> bytes:
    if form == "png":
        return encode(draw(pixels, found))
    if form == "npy":
        array = io.BytesIO()
        np.save(array, found.dense(), allow_pickle=False)
        return array.getvalue()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((*place, round(score, 6)) for *place, score in found.boxes())
    return text.getvalue().encode()


def _format(asked: str | None, output: str) -> str:
    """The format asked for, else the one that the output file's name ends in."""
    ending = Path(output).suffix.lower().removeprefix(".")
    if asked or ending in FORMATS:
        return asked or ending
    known = ", ".join(f".{form}" for form in FORMATS)
    found = "standard output" if output == "-" else output
    raise UsageError(f"-o {found}: no format is known by this name; expected one ending in {known}, or --format")


def _check_not_the_image(image: str, output: str) -> None:
    try:
        same = output != "-" and Path(image).samefile(output)
    except (OSError, ValueError):  # one of them is not there, or cannot be a name
        return
    if same:
        raise UsageError(f"-o {output} is the image itself; name another file")
