"""Frames of an animated GIF, WebP or PNG, decoded one by one by Pillow."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from . import image_pillow
from .errors import PscrError, Status, one_line
from .frame_sampling import Frame, FrameSampling
from .image_words import check_size, refused

ENDINGS = frozenset({".gif", ".webp", ".png", ".apng"})
_FORMATS = ("GIF", "WEBP", "PNG")
_GIF_FRAME = re.compile(rb"\x21\xf9\x04.{4}\x00[\x2c\x21]", re.DOTALL)  # a delay, then its frame
_USUAL = 100  # milliseconds that a frame is shown where the file says none, as browsers do


def is_animated(path: str) -> bool:
    """Whether a file has several frames, as far as it can be read; without Pillow, as far as its own marks say so."""
    if Path(path).suffix.lower() not in ENDINGS or not Path(path).is_file():
        return False
    if not image_pillow.installed():
        return _is_marked(path)
    try:
        with closing(_opened(path)) as image:
            return _count(image, path) > 1
    except PscrError:
        return False


def read_frames(
    name: str, sampling: FrameSampling, wanted: Callable[[float], bool], max_pixels: int
) -> Generator[Frame, None, None]:
    """The sampled frames of an animation; a still image has one.

    name: of the file. wanted: whether the frame of this time, in seconds, is given. max_pixels: of a frame.

    Raises:
        PscrError: FILE_NOT_FOUND; IMAGE_TOO_LARGE; DECODE_FAILED for what is no such image, or is cut short, and where
            Pillow is missing.
    """
    if not Path(name).exists():
        raise refused(Status.FILE_NOT_FOUND, name, "no such file; check the path")
    with closing(_opened(name)) as image:
        width, height = image.size
        check_size(name, width, height, max_pixels)
        for time in _taken(image, name, sampling):
            if wanted(time):
                yield Frame(time, image_pillow.from_image(image, max_pixels, name)[0])


def _is_marked(path: str) -> bool:
    """Whether a file says that it is animated: WebP by a flag, PNG by a chunk, GIF by a second frame with a delay.

    Sources: the WebP container specification, PNG third edition (acTL), GIF89a (graphic control extension).
    """
    try:
        data = Path(path).read_bytes()
    except OSError:
        return False
    if data.startswith(b"RIFF"):
        return data[12:16] == b"VP8X" and bool(data[20:21] and data[20] & 0x02)
    if data.startswith(b"\x89PNG"):
        return b"acTL" in data[: data.find(b"IDAT")]
    return data.startswith(b"GIF8") and len(_GIF_FRAME.findall(data)) > 1


def _taken(image: Any, name: str, sampling: FrameSampling) -> Iterator[float]:
    """The time of each frame that is taken, in seconds, while the image stands at it."""
    count = _count(image, name)
    numbers = None if sampling.every else frozenset(sampling.places(count, 1))
    time = due = 0.0
    for number in range(count):
        _seek(image, number, name)
        if time >= due - 1e-9 if numbers is None else number in numbers:
            yield time
        if sampling.every:
            due = sampling.every * (math.floor(time / sampling.every + 1e-9) + 1)
        time += (image.info.get("duration") or _USUAL) / 1000


def _count(image: Any, name: str) -> int:
    try:
        with image_pillow.told():
            return int(getattr(image, "n_frames", 1))
    except Exception as error:  # Pillow's readers raise whatever a damaged file drives them to
        found = f"its frames cannot be counted: Pillow says {one_line(error)!r}; make or copy it again"
        raise refused(Status.DECODE_FAILED, name, found) from error


def _seek(image: Any, number: int, name: str) -> None:
    try:
        with image_pillow.told():
            image.seek(number)
            image.load()
    except Exception as error:  # Pillow's readers raise whatever a damaged file drives them to
        found = f"frame {number} is cut short or damaged: Pillow says {one_line(error)!r}; make or copy it again"
        raise refused(Status.DECODE_FAILED, name, found) from error


def _opened(name: str) -> Any:
    if not image_pillow.installed():
        found = "an animation, which Pillow reads and which is not installed; pip install 'pscr[pillow]'"
        raise refused(Status.DECODE_FAILED, name, found)
    pillow = import_module("PIL.Image")
    try:
        with image_pillow.told():
            return pillow.open(name, formats=_FORMATS)
    except pillow.DecompressionBombError as error:
        found = "above Pillow's own limit; scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS"
        raise refused(Status.IMAGE_TOO_LARGE, name, found) from error
    except Exception as error:  # as above
        found = f"no GIF, WebP or PNG that can be read: Pillow says {one_line(error)!r}; make or copy it again"
        raise refused(Status.DECODE_FAILED, name, found) from error
