"""Makes videos and animations, and damages them."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

RATE = 10  # frames a second
GREYS = (20, 60, 100, 140, 180, 220)
ANIMATIONS = (".gif", ".webp", ".png")


def write_clip(path: Path, count: int = 40, codec: str = "MJPG") -> Path:
    """A clip of `count` frames [96,128], whose noise changes from frame to frame, at `RATE` a second."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), RATE, (128, 96))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {codec}")
    noise = np.random.default_rng(0)
    for number in range(count):
        frame = noise.integers(0, 256, (96, 128, 3), np.uint8)
        writer.write(cv2.GaussianBlur(frame, (0, 0), 0.5 + number % 20 / 10))
    writer.release()
    return path


def write_animation(path: Path, duration: int | list[int] = 200) -> Path:
    """Six frames [48,64], each of one grey; duration: milliseconds that each is shown. Skips without Pillow."""
    image = pytest.importorskip("PIL.Image")
    first, *rest = (image.fromarray(np.full((48, 64, 3), grey, np.uint8)) for grey in GREYS)
    first.save(path, save_all=True, append_images=rest, duration=duration, lossless=True)
    return path


def cut_short(path: Path, whole: Path) -> Path:
    """The first half of a file."""
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return path


def change_size(path: Path, whole: Path) -> Path:
    """A clip of 40 frames of MJPG whose second half has frames of a smaller size [48,64]."""
    data, small = bytearray(whole.read_bytes()), cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    frames = [one.start() for one in re.finditer(rb"00dc.{4}\xff\xd8", data, re.DOTALL)]
    assert len(frames) == 40
    for place in frames[20:]:
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        data[place + 8 : place + 8 + size] = small.ljust(size, b"\0")
    path.write_bytes(data)
    return path


def without_rate(path: Path, whole: Path) -> Path:
    """An AVI file whose headers give no rate and no duration of a frame."""
    data = bytearray(whole.read_bytes())
    main, stream = data.index(b"avih") + 8, data.index(b"strh") + 8
    data[main : main + 4] = bytes(4)
    data[stream + 20 : stream + 28] = bytes(8)
    path.write_bytes(data)
    return path
