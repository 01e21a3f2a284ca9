"""Frames of a video file, decoded one by one by OpenCV's FFmpeg."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import cv2

from .errors import Status
from .frame_sampling import Frame, FrameSampling
from .image import from_array
from .image_words import check_size, refused
from .stderr_capture import caught

ENDINGS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
_WHOLE = 0.9  # share of the frames that the header promises, below which a clip is cut short


def read_frames(
    name: str, sampling: FrameSampling, wanted: Callable[[float], bool], max_pixels: int
) -> Generator[Frame, None, None]:
    """The sampled frames of a video file, one by one; those between are not converted to pixels.

    A frame whose size differs from the first one's is scaled to that by OpenCV.

    name: of the file. wanted: whether the frame of this time, in seconds, is given. max_pixels: of a frame.

    Raises:
        PscrError: FILE_NOT_FOUND; IMAGE_TOO_LARGE; DECODE_FAILED for what is no video, has no frames or no frame rate,
            or is cut short.
    """
    capture = _opened(name)
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        count = _count(capture.get(cv2.CAP_PROP_FRAME_COUNT), rate, name)
        width, height = (int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        check_size(name, width, height, max_pixels)
        grabbed = given = 0
        for place in sampling.places(count, rate):
            while grabbed <= place and _quietly(capture.grab):
                grabbed += 1
            if grabbed <= place:
                break
            given += 1
            if wanted(place / rate):
                there, array = _quietly(capture.retrieve)
                if not there:
                    raise refused(Status.DECODE_FAILED, name, f"frame {place} cannot be decoded; check the file")
                yield Frame(place / rate, from_array(array, "bgr", max_pixels=max_pixels))
        else:
            return
        if not given or grabbed < _WHOLE * count:
            found = f"ends after {grabbed} of {count} frames; the file is cut short or damaged; copy it again"
            raise refused(Status.DECODE_FAILED, name, found)
    finally:
        capture.release()


def _opened(name: str) -> Any:
    if not Path(name).exists():
        raise refused(Status.FILE_NOT_FOUND, name, "no such file; check the path")
    if not Path(name).is_file():
        raise refused(Status.DECODE_FAILED, name, "no regular file; expected a video file")
    if cv2.CAP_FFMPEG not in cv2.videoio_registry.getBackends():
        found = "this OpenCV was built without FFmpeg, which reads videos; install opencv-python-headless of PyPI"
        raise refused(Status.DECODE_FAILED, name, found)
    # An absolute path is never taken for an address.
    capture, said = caught(lambda: cv2.VideoCapture(str(Path(name).absolute()), cv2.CAP_FFMPEG), alone=True)
    if not capture.isOpened():
        said = re.sub(r"\[[^]]* @ 0x[0-9a-f]+] ", "", said)  # an address of FFmpeg's
        words = f" ({said})" if said else ""
        found = f"no video that can be read{words}; expected mp4, mov, mkv, webm or avi, whole, with a picture track"
        raise refused(Status.DECODE_FAILED, name, found)
    return capture


def _count(promised: float, rate: float, name: str) -> int:
    """How many frames a clip's header promises."""
    if not (math.isfinite(rate) and rate > 0):
        raise refused(Status.DECODE_FAILED, name, f"{rate} frames a second; expected a rate above 0; encode it again")
    if not (math.isfinite(promised) and promised >= 1):
        told = f"promises {promised:.0f} frames" if promised == 0 else "does not say how many frames it has"
        raise refused(Status.DECODE_FAILED, name, f"its header {told}; expected 1 or more; encode it again")
    return int(promised)


def _quietly(decode: Callable[[], Any]) -> Any:
    """What a decoder gives; what it writes to stderr is kept off the terminal."""
    return caught(decode, alone=True)[0]
