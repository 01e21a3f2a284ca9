"""The options of `pscr score` that are of videos and animations."""

from __future__ import annotations

import argparse
import math
from collections import Counter

from ..runtime.frame_sampling import FRAMES, FrameSampling
from ..runtime.video_file import ENDINGS
from ..tables.clips import Clips
from . import options as shared


def add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("videos, and animated images where one of these is given")
    sampled = group.add_mutually_exclusive_group()
    sampled.add_argument(
        "--frames", type=shared.positive, metavar="N", help=f"N frames, spread evenly (default: {FRAMES})"
    )
    sampled.add_argument("--every", type=_seconds, metavar="S", help="a frame each S seconds instead")
    group.add_argument("--per-frame", action="store_true", help="write a row for each frame, not for the clip")


def given(options: argparse.Namespace) -> bool:
    """Whether any of them is."""
    return bool(options.frames or options.every or options.per_frame)


def besides(options: argparse.Namespace) -> frozenset[str]:
    """Endings of files that folders and patterns stand for besides images: of videos, where any of the options is given."""
    return ENDINGS if given(options) else frozenset()


def clips(options: argparse.Namespace, done: Counter[str]) -> Clips:
    """How videos and animations are scored. done: how often each path has its row already."""
    return Clips(FrameSampling(options.frames or FRAMES, options.every), options.per_frame, done.copy(), given(options))


def _seconds(text: str) -> float:
    """Seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected seconds above 0")
    return seconds
