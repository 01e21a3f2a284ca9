"""The options that are of videos and animations."""

from __future__ import annotations

import argparse
import math

from ..runtime.frame_sampling import FRAMES, FrameSampling
from ..tables.clips import Clips
from . import options as shared


def add(parser: argparse.ArgumentParser, per_frame: bool = True) -> None:
    """Add them to a verb's parser. per_frame: whether it has rows for frames."""
    group = parser.add_argument_group("videos, and animated images where one of these is given")
    sampled = group.add_mutually_exclusive_group()
    sampled.add_argument(
        "--frames", type=shared.positive, metavar="N", help=f"N frames, spread evenly (default: {FRAMES})"
    )
    sampled.add_argument("--every", type=_seconds, metavar="S", help="a frame each S seconds instead")
    if per_frame:
        group.add_argument("--per-frame", action="store_true", help="write a row for each frame, not for the clip")
    else:
        parser.set_defaults(per_frame=False)


def given(options: argparse.Namespace) -> bool:
    """Whether any of them is."""
    return bool(options.frames or options.every or options.per_frame)


def clips(options: argparse.Namespace) -> Clips:
    """How videos and animations are scored."""
    return Clips(FrameSampling(options.frames or FRAMES, options.every), options.per_frame, sought=given(options))


def _seconds(text: str) -> float:
    """Seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected seconds above 0")
    return seconds
