"""The pictures on the page, as data URIs, and the digest of an image's pixels."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..runtime import map_picture
from ..runtime.image import load
from ..runtime.quality_map import QualityMap
from ..runtime.samplings import Pixels

_QUALITY = 70  # of WebP; thumbnails are looked at, not measured


def look(path: str, side: int, max_pixels: int) -> tuple[str, bytes]:
    """The digest of an image's pixels, and its thumbnail.

    side: the thumbnail's longer side in pixels; 0 for none.

    Raises:
        PscrError: the image cannot be read, as `pscr.runtime.image.load`.
    """
    pixels = load(path, max_pixels=max_pixels)
    return digest(pixels), from_rgb(pixels, side) if side else b""


def digest(pixels: Pixels) -> str:
    """BLAKE2b, 128 bits, of the size and the decoded upright RGB pixels [H,W,3]: the same for copies in any file."""
    hashed = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    hashed.update(np.ascontiguousarray(pixels).data)
    return hashed.hexdigest()


def webp(bgr: Pixels, side: int) -> bytes:
    """A picture [H,W,3], scaled down so that its longer side is at most `side`, as a WebP file."""
    height, width = bgr.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return bytes(encoded.tobytes())


def from_rgb(pixels: Pixels, side: int) -> bytes:
    """`webp` of a picture [H,W,3] in RGB."""
    return webp(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), np.uint8), side)


def uri(picture: bytes) -> str:
    """A WebP file as a data URI."""
    return "data:image/webp;base64," + base64.b64encode(picture).decode("ascii")


def sides(picture: bytes) -> tuple[int, int]:
    """Width and height in pixels of a WebP file, for the page to keep its room before it is shown."""
    height, width = np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)).shape
    return width, height


def large(path: str, side: int, max_pixels: int) -> bytes:
    """A larger picture of an image. Errors as `look`."""
    return from_rgb(load(path, max_pixels=max_pixels), side)


def limits(maps: Sequence[QualityMap]) -> tuple[float, float]:
    """The scores at the ends of a scale of colours for all the maps, one score unit apart or more."""
    low = min((float(one.values.min()) for one in maps), default=0.0)
    high = max((float(one.values.max()) for one in maps), default=1.0)
    more = max(map_picture.NARROWEST - (high - low), 0) / 2
    return low - more, high + more


def mapped(found: QualityMap, scale: tuple[float, float], side: int) -> bytes:
    """A quality map over its image, as a picture. scale: the scores at the ends of the colours."""
    return webp(map_picture.overlay(found.preview, found, scale), side)


def colours(count: int = 9) -> list[str]:
    """The maps' colours from the lowest score to the highest, as CSS writes them."""
    shades = np.linspace(0, 255, count).round().astype(np.uint8)[None]
    bgr = np.asarray(cv2.applyColorMap(shades, map_picture.COLOURS), np.uint8)[0]
    return [f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in bgr.tolist()]


def in_words(found: QualityMap, sign: int = 1) -> str:
    """Where a map is best and worst, such as `worst at the upper left (1.20), best in the middle (2.41)`."""
    values = sign * found.values
    if values.size < 2 or np.ptp(values) == 0:
        return "the same everywhere"
    worst, best = (np.unravel_index(place, values.shape) for place in (values.argmin(), values.argmax()))
    words = []
    for name, (row, column) in (("worst", worst), ("best", best)):
        y, x = _along(found.corners_y, int(row)), _along(found.corners_x, int(column))
        words.append(f"{name} {_place(y, x)} ({found.values[row, column]:.2f})")
    return ", ".join(words)


def _along(corners: NDArray[np.int64], place: int) -> float:
    """Where a window stands between the first and the last on its axis, 0 to 1; the middle where there is one only."""
    room = int(corners[-1])
    return float(corners[place] / room) if room else 0.5


def _place(y: float, x: float) -> str:
    """A place in an image, 0 to 1 down and across, in words."""
    vertical = "upper" if y < 1 / 3 else "lower" if y > 2 / 3 else ""
    horizontal = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    if vertical and horizontal:
        return f"at the {vertical} {horizontal}"
    if vertical:
        return f"in the {vertical} middle"
    return f"at the {horizontal}" if horizontal else "in the middle"
