"""Pillow's reading of what OpenCV does not read, and of images that a caller has opened with Pillow: the same policy.

Pillow is imported only where one of the two is asked for. What it logs and warns of becomes the image's message.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import image_colour, image_endings
from .errors import PscrError, Status, one_line
from .image_words import EXPECTED, check_size, decoder_says, refused
from .samplings import Pixels
from .stderr_capture import caught, in_one_line

_lock = threading.Lock()  # one at a time: warnings and handlers belong to the whole process
_OBJECT = "Pillow image"  # what messages call one that the caller has opened
_NAMES = {"JPEG 2000": "JPEG2000", "PNM": "PPM"}  # that differ from ours by more than capitals
_SCRIPTED = ("EPS", "WMF")  # for which Pillow starts other programs


def installed() -> bool:
    """Whether Pillow can be had; it is not imported."""
    return sys.modules["PIL"] is not None if "PIL" in sys.modules else find_spec("PIL") is not None


def decode(data: bytes, name: str, found: str, max_pixels: int, kind: str = "") -> tuple[Pixels, list[str]]:
    """The pixels [H,W,3] of an image file, RGB, and what is to be said of them.

    found: what to call the file where Pillow does not read it either. kind: of `image_header.opencv_format`, for Pillow
        to try no other; "" for all formats that it knows.

    Raises:
        PscrError: DECODE_FAILED, IMAGE_TOO_LARGE.
    """
    try:
        pillow = import_module("PIL.Image")
    except ImportError:
        advice = "for other formats: pip install pillow"
        raise refused(Status.DECODE_FAILED, name, f"{found}; expected {EXPECTED}; {advice}") from None

    image_endings.register_plugins()
    formats = [_NAMES.get(kind, kind.upper())] if kind else None

    def read() -> tuple[Pixels, str, list[str]]:
        with told() as words, pillow.open(io.BytesIO(data), formats=formats) as image:
            if image.format in _SCRIPTED:
                raise refused(Status.DECODE_FAILED, name, f"{image.format}; expected {EXPECTED}; convert it first")
            return *_pixels(image, name, max_pixels), words

    try:
        (pixels, colour, words), written = caught(read)
        return pixels, _notes(words, written, colour, name)
    except (PscrError, MemoryError):
        raise
    except pillow.UnidentifiedImageError:
        raise refused(Status.DECODE_FAILED, name, f"{found}; expected {EXPECTED}{image_endings.advice()}") from None
    except pillow.DecompressionBombError as error:
        found = "above Pillow's own limit; scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS"
        raise refused(Status.IMAGE_TOO_LARGE, name, found) from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file drives them to
        reason = " ".join(str(error).split()) or type(error).__name__
        found = f"cut short or damaged: Pillow says {reason!r}; make or copy it again"
        raise refused(Status.DECODE_FAILED, name, found) from error


def from_image(image: Any, max_pixels: int, name: str = _OBJECT) -> tuple[Pixels, list[str]]:
    """The same of an image that the caller has opened with Pillow, and which may not have read its file yet.

    name: what messages call it.

    Raises:
        PscrError: DECODE_FAILED, IMAGE_TOO_LARGE, OUT_OF_MEMORY.
    """

    def read() -> tuple[Pixels, str, list[str]]:
        with told() as words:
            return *_pixels(image, name, max_pixels), words

    try:
        (pixels, colour, words), written = caught(read, alone=True)  # it reads its file only once
        return pixels, _notes(words, written, colour, name)
    except PscrError:
        raise
    except MemoryError as error:
        raise refused(Status.OUT_OF_MEMORY, name, "its RGB form does not fit into memory") from error
    except Exception as error:  # as above; also a file that was closed meanwhile
        found = f"Pillow says {one_line(error)!r}; open the image again"
        raise refused(Status.DECODE_FAILED, name, found) from error


def _pixels(image: Any, name: str, max_pixels: int) -> tuple[Pixels, str]:
    """The pixels under the policy: upright, alpha dropped, 16 bits scaled, in sRGB; and what was done to colours."""
    width, height = image.size
    check_size(name, width, height, max_pixels)
    profile = image.info.get("icc_profile") or b""
    upright: Any = import_module("PIL.ImageOps").exif_transpose(image)
    if upright.mode.startswith("I;16"):  # Pillow's own conversion clips where it should scale
        grey = np.asarray(upright, np.uint16) // 256
        pixels = np.asarray(cv2.cvtColor(grey.astype(np.uint8), cv2.COLOR_GRAY2RGB), np.uint8)
    elif upright.mode in ("I", "F"):
        found = f"{image.format or 'image'} with 32-bit samples; expected 8 or 16 bits; scale it to 8 bits first"
        raise refused(Status.DECODE_FAILED, name, found)
    else:
        pixels = np.array(upright.convert("RGB"), np.uint8)
    return image_colour.to_srgb(pixels, profile)


def _notes(words: list[str], written: str, colour: str, name: str) -> list[str]:
    """What Pillow logged, what its libraries wrote, and what was done to colours."""
    notes = decoder_says(in_one_line("\n".join([*words, written])), name)
    return [*notes, colour] if colour else notes


class _Collector(logging.Handler):
    """Keeps what this thread logs."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._words, self._thread = words, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self._words.append(record.getMessage())


@contextlib.contextmanager
def told() -> Iterator[list[str]]:
    """A list into which Pillow's log lines and Python warnings go while it reads, and not to the terminal."""
    words: list[str] = []
    logger, collector = logging.getLogger("PIL"), _Collector(words)
    with _lock, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        logger.addHandler(collector)
        try:
            yield words
        finally:
            logger.removeHandler(collector)
            words += [str(one.message) for one in warned if one.category is UserWarning and _of_pillow(one.filename)]


def _of_pillow(file: str) -> bool:
    return "PIL" in Path(file).parts
